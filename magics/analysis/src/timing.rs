//! How long a piece of code takes, from samples of several loops each (the method of criterion.rs).
//!
//! A sample i runs the code nᵢ times and takes tᵢ seconds. The time of one loop is the slope of the line through the
//! origin that fits the samples best, Σ nᵢtᵢ / Σ nᵢ². A constant cost of measuring a sample moves it less than it moves
//! the mean.

use crate::resampling::{RESAMPLES, Resampler, median, percentile_interval};
use serde::Serialize;

/// The time of one loop. All times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// The time of one loop: the slope of the samples' times on their loops.
    pub seconds: f64,
    /// The 95 % interval of the slope, by the bootstrap over samples. None if there is only one sample.
    pub interval: Option<[f64; 2]>,
    /// The mean of tᵢ/nᵢ over the samples.
    pub mean: f64,
    /// The median of tᵢ/nᵢ over the samples.
    pub median: f64,
    /// The standard deviation of tᵢ/nᵢ over the samples. None if there is only one sample.
    pub standard_deviation: Option<f64>,
    /// The number of samples.
    pub samples: usize,
    /// The number of loops of all samples together.
    pub loops: u64,
    /// The smallest and the largest number of loops of a sample. It is not part of the JSON.
    #[serde(skip)]
    pub loops_of_a_sample: [u64; 2],
    /// The samples that are far from the others.
    pub outliers: Outliers,
}

/// The number of samples outside of Tukey's fences.
///
/// With the quartiles Q₁ and Q₃ of tᵢ/nᵢ and their distance IQR = Q₃ − Q₁, a sample is a mild outlier below Q₁ −
/// 1.5·IQR or above Q₃ + 1.5·IQR, and a severe one below Q₁ − 3·IQR or above Q₃ + 3·IQR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outliers {
    /// Severe outliers that were too fast.
    pub low_severe: usize,
    /// Mild outliers that were too fast.
    pub low_mild: usize,
    /// Mild outliers that were too slow.
    pub high_mild: usize,
    /// Severe outliers that were too slow.
    pub high_severe: usize,
}

impl Outliers {
    /// The number of all outliers.
    pub fn count(&self) -> usize {
        self.low_severe + self.low_mild + self.high_mild + self.high_severe
    }
}

/// Concludes from samples, which are pairs (loops, seconds of all loops). Samples without loops are ignored. Returns
/// None if no sample is left.
pub fn timing(samples: &[(u64, f64)]) -> Option<Timing> {
    let samples: Vec<(f64, f64)> = samples.iter().filter(|(n, _)| *n > 0).map(|(n, t)| (*n as f64, *t)).collect();
    let count = samples.len();
    if count == 0 {
        return None;
    }
    let mut each: Vec<f64> = samples.iter().map(|(n, t)| t / n).collect();
    each.sort_by(f64::total_cmp);
    let mean = each.iter().sum::<f64>() / count as f64;
    let is_several = count > 1;
    let loops = || samples.iter().map(|(n, _)| *n as u64);
    Some(Timing {
        seconds: slope(samples.iter()),
        interval: is_several.then(|| interval(&samples)),
        mean,
        median: median(each.clone()),
        standard_deviation: is_several
            .then(|| (each.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1) as f64).sqrt()),
        samples: count,
        loops: loops().sum(),
        loops_of_a_sample: [loops().min().unwrap_or(0), loops().max().unwrap_or(0)],
        outliers: outliers(&each),
    })
}

/// Returns Σ nᵢtᵢ / Σ nᵢ², the slope of the least-squares line through the origin.
fn slope<'a>(samples: impl Iterator<Item = &'a (f64, f64)>) -> f64 {
    let (sum_nt, sum_nn) = samples.fold((0.0, 0.0), |(nt, nn), (n, t)| (nt + n * t, nn + n * n));
    sum_nt / sum_nn
}

fn interval(samples: &[(f64, f64)]) -> [f64; 2] {
    let mut resampler = Resampler::new(0);
    let mut slopes: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<(f64, f64)> =
                samples.iter().map(|_| samples[resampler.index_below(samples.len())]).collect();
            slope(drawn.iter())
        })
        .collect();
    slopes.sort_by(f64::total_cmp);
    percentile_interval(&slopes)
}

fn outliers(sorted: &[f64]) -> Outliers {
    let quantile = |share: f64| {
        let at = share * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        low + (high - low) * at.fract()
    };
    let (q1, q3) = (quantile(0.25), quantile(0.75));
    // Differences of less than a billionth are rounding errors.
    let iqr = (q3 - q1).max(1e-9 * q3.abs());
    let mut found = Outliers::default();
    for x in sorted {
        match *x {
            x if x < q1 - 3.0 * iqr => found.low_severe += 1,
            x if x < q1 - 1.5 * iqr => found.low_mild += 1,
            x if x > q3 + 3.0 * iqr => found.high_severe += 1,
            x if x > q3 + 1.5 * iqr => found.high_mild += 1,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of 1 to 50 loops of code that takes 2 ms, with a constant cost of measuring and some noise.
    fn samples() -> Vec<(u64, f64)> {
        (1..=50).map(|i| (i, 2e-3 * i as f64 + 1e-5 + 2e-5 * ((i * 7919) % 13) as f64 / 13.0)).collect()
    }

    #[test]
    fn the_slope_is_the_time_of_a_loop() {
        let found = timing(&samples()).unwrap();
        assert!((found.seconds / 2e-3 - 1.0).abs() < 2e-3, "{found:?}");
        let [low, high] = found.interval.unwrap();
        assert!(low < found.seconds && found.seconds < high && high / low < 1.002, "{found:?}");
        assert!(found.mean > found.seconds, "the cost of measuring weighs most in short samples");
        assert_eq!((found.samples, found.loops, found.loops_of_a_sample), (50, 1275, [1, 50]));
    }

    #[test]
    fn samples_far_from_the_others_are_counted() {
        let mut samples: Vec<(u64, f64)> = (0..20).map(|i| (1, 1.0 + 0.01 * f64::from(i))).collect();
        samples.extend([(1, 1.38), (1, 3.0), (1, 0.1)]);
        let found = timing(&samples).unwrap();
        assert_eq!(found.outliers, Outliers { low_severe: 1, low_mild: 0, high_mild: 1, high_severe: 1 });
        assert!(found.seconds > found.median, "{found:?}");
    }

    #[test]
    fn one_sample_has_no_spread() {
        let found = timing(&[(4, 2.0)]).unwrap();
        assert_eq!((found.seconds, found.interval, found.standard_deviation), (0.5, None, None));
        assert_eq!(timing(&[]), None);
    }
}
