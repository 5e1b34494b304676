//! How long a piece of code takes, from samples of several loops each (the method of criterion.rs).

use crate::resampling::{RESAMPLES, Resampler, median, middle};
use serde::Serialize;

/// What samples say of the time of one loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Of one loop: the slope of the regression of times on loops, which a constant cost of measuring does not move much.
    pub seconds: f64,
    /// 95 % interval of it by bootstrap; none of a single sample.
    pub interval: Option<[f64; 2]>,
    /// Mean of the samples' times of a loop.
    pub mean: f64,
    /// Their median.
    pub median: f64,
    /// Their standard deviation; none of a single sample.
    pub standard_deviation: Option<f64>,
    /// How many samples there are.
    pub samples: usize,
    /// Loops of all samples.
    pub loops: u64,
    /// Samples far from the others.
    pub outliers: Outliers,
}

/// Samples outside of Tukey's fences: mild ones beyond 1.5 times the distance of the quartiles, severe ones beyond 3 times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outliers {
    /// Far too fast.
    pub low_severe: usize,
    /// Too fast.
    pub low_mild: usize,
    /// Too slow.
    pub high_mild: usize,
    /// Far too slow.
    pub high_severe: usize,
}

impl Outliers {
    /// All of them.
    pub fn count(&self) -> usize {
        self.low_severe + self.low_mild + self.high_mild + self.high_severe
    }
}

/// Samples as (loops, seconds of all of them). `None`: there are none.
pub fn timing(samples: &[(u64, f64)]) -> Option<Timing> {
    let samples: Vec<(f64, f64)> = samples.iter().filter(|(n, _)| *n > 0).map(|(n, s)| (*n as f64, *s)).collect();
    let count = samples.len();
    if count == 0 {
        return None;
    }
    let mut each: Vec<f64> = samples.iter().map(|(n, seconds)| seconds / n).collect();
    each.sort_by(f64::total_cmp);
    let mean = each.iter().sum::<f64>() / count as f64;
    let several = count > 1;
    Some(Timing {
        seconds: slope(samples.iter()),
        interval: several.then(|| interval(&samples)),
        mean,
        median: median(each.clone()),
        standard_deviation: several
            .then(|| (each.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1) as f64).sqrt()),
        samples: count,
        loops: samples.iter().map(|(n, _)| *n as u64).sum(),
        outliers: outliers(&each),
    })
}

/// Of the line through the origin that fits best.
fn slope<'a>(samples: impl Iterator<Item = &'a (f64, f64)>) -> f64 {
    let (products, squares) = samples.fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + x * y, xx + x * x));
    products / squares
}

fn interval(samples: &[(f64, f64)]) -> [f64; 2] {
    let mut resampler = Resampler::new(0);
    let mut slopes: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<(f64, f64)> = samples.iter().map(|_| samples[resampler.below(samples.len())]).collect();
            slope(drawn.iter())
        })
        .collect();
    slopes.sort_by(f64::total_cmp);
    middle(&slopes)
}

fn outliers(sorted: &[f64]) -> Outliers {
    let quantile = |share: f64| {
        let at = share * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        low + (high - low) * at.fract()
    };
    let (first, third) = (quantile(0.25), quantile(0.75));
    // Less than that is rounding.
    let distance = (third - first).max(1e-9 * third.abs());
    let mut found = Outliers::default();
    for x in sorted {
        match *x {
            x if x < first - 3.0 * distance => found.low_severe += 1,
            x if x < first - 1.5 * distance => found.low_mild += 1,
            x if x > third + 3.0 * distance => found.high_severe += 1,
            x if x > third + 1.5 * distance => found.high_mild += 1,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linear sampling of code that takes 2 ms, with a cost of measuring and some noise.
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
        assert_eq!((found.samples, found.loops), (50, 1275));
    }

    #[test]
    fn what_is_far_from_the_rest_is_counted() {
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
