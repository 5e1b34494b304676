//! The gradient noise scale, estimated from the norms of gradients at two batch sizes (McCandlish et al. 2018).
//!
//! The simple noise scale is B_simple = tr(Σ)/|G|², with the true gradient G and the covariance Σ of the gradient of
//! one example. It is a batch size, in examples: gradients of much smaller batches are mostly noise, and much larger
//! batches waste examples. Both parts are estimated without bias from pairs of norms ([`NormPair::estimate`]). The
//! ratio of two estimates is biased, so that numerator and denominator are averaged first and divided last.

use crate::resampling::{RESAMPLES, Resampler, median, percentile_interval};
use serde::Serialize;
use tunebook_study::probe::NormPair;

/// As many steps of the first half of a run are measured at most, besides step 0.
const STEPS_OF_FIRST_HALF: u32 = 4;
/// As many steps of the second half of a run are measured at most. The number is odd, so that one of them is the
/// median.
const STEPS_OF_SECOND_HALF: u64 = 7;
/// The optimizers that follow the gradient itself, which is what the theory of the noise scale assumes.
const GRADIENT_DESCENT: [&str; 3] = ["sgd", "momentum", "nesterov"];

/// The noise scale at one step of training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoisePoint {
    /// The number of training steps before the measurement.
    pub step: u64,
    /// B_simple = tr(Σ)/|G|², in examples. None if the interval of |G|² reaches 0: the noise scale is then not
    /// resolvable.
    #[serde(rename = "noise_scale")]
    pub b_simple: Option<f64>,
    /// The 95 % interval of B_simple, by the bootstrap over pairs. Its upper end is None where the noise scale is not
    /// resolvable: then it is at least the lower end.
    pub interval: Option<[Option<f64>; 2]>,
    /// |G|², the squared norm of the true gradient. The estimate may be negative.
    #[serde(rename = "squared_gradient")]
    pub g_squared: f64,
    /// tr(Σ), the sum of the variances of all coordinates of the gradient of one example.
    #[serde(rename = "variance")]
    pub tr_sigma: f64,
    /// B_simple in each sample of the bootstrap, infinite where |G|² is not above 0. It is not part of the JSON.
    #[serde(skip)]
    pub draws: Vec<f64>,
}

/// The noise scale of a run as one number: the median over the measured steps of the second half of training. It does
/// not weight steps by the size of their gradients, which would let the first of them decide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunNoise {
    /// The median. None if it is at a step that is not resolvable.
    pub critical_batch_size: Option<f64>,
    /// The 95 % interval of the median. Its upper end is None if it is not known: the noise scale is then at least the
    /// lower end.
    pub interval: Option<[Option<f64>; 2]>,
    /// The first step that the median is over, and the last.
    pub steps: Option<[u64; 2]>,
    /// At how many steps it was measured.
    pub measured: usize,
    /// At how many of these it is not resolvable.
    pub unresolved: usize,
}

/// Estimates the noise scale at one step from pairs of norms. The batch sizes are in examples.
pub fn noise_point(step: u64, pairs: &[NormPair], small_batch: f64, large_batch: f64) -> NoisePoint {
    let estimates: Vec<(f64, f64)> = pairs.iter().map(|pair| pair.estimate(small_batch, large_batch)).collect();
    let mean = |chosen: &mut dyn Iterator<Item = (f64, f64)>| {
        let (mut g_squared, mut tr_sigma, mut count) = (0.0, 0.0, 0.0_f64);
        for (g, v) in chosen {
            (g_squared, tr_sigma, count) = (g_squared + g, tr_sigma + v, count + 1.0);
        }
        (g_squared / count.max(1.0), tr_sigma / count.max(1.0))
    };
    let (g_squared, tr_sigma) = mean(&mut estimates.iter().copied());
    let mut resampler = Resampler::new(step);
    let draws: Vec<f64> = (0..RESAMPLES)
        .filter(|_| estimates.len() > 1)
        .map(|_| mean(&mut (0..estimates.len()).map(|_| estimates[resampler.index_below(estimates.len())])))
        .map(|(g_squared, tr_sigma)| if g_squared > 0.0 { tr_sigma / g_squared } else { f64::INFINITY })
        .collect();
    let interval = open_interval(&draws).filter(|_| tr_sigma > 0.0);
    let is_resolved = matches!(interval, Some([Some(_), Some(_)]));
    NoisePoint { step, b_simple: is_resolved.then(|| tr_sigma / g_squared), interval, g_squared, tr_sigma, draws }
}

/// Returns the interval of the values of a bootstrap. An infinite upper end is open. None without values, or if not
/// even the lower end is known.
fn open_interval(draws: &[f64]) -> Option<[Option<f64>; 2]> {
    if draws.is_empty() {
        return None;
    }
    let mut sorted = draws.to_vec();
    sorted.sort_by(f64::total_cmp);
    let [low, high] = percentile_interval(&sorted).map(|end| Some(end).filter(|end| end.is_finite()));
    low.map(|low| [Some(low), high])
}

/// Returns the noise scale of a run from its points, in the order of their steps.
pub fn run_noise(points: &[NoisePoint]) -> RunNoise {
    let Some(last) = points.last() else { return RunNoise::default() };
    let late: Vec<&NoisePoint> = points.iter().filter(|point| 2 * point.step >= last.step).collect();
    let unresolved = late.iter().filter(|point| point.b_simple.is_none()).count();
    let middle = median(late.iter().map(|point| point.b_simple.unwrap_or(f64::INFINITY)).collect());
    let samples = late.iter().map(|point| point.draws.len()).min().unwrap_or(0);
    let draws: Vec<f64> = (0..samples).map(|i| median(late.iter().map(|point| point.draws[i]).collect())).collect();
    RunNoise {
        critical_batch_size: Some(middle).filter(|middle| middle.is_finite()),
        interval: open_interval(&draws),
        steps: Some([late[0].step, last.step]),
        measured: late.len(),
        unresolved,
    }
}

/// Returns the steps of a run of `last` steps at which the noise scale is measured: step 0, steps with about equal
/// ratios in the first half, because the noise scale changes most in the first steps, and steps at equal distances in
/// the second half.
pub fn steps_to_measure(last: u64) -> Vec<u64> {
    let half = last.div_ceil(2);
    let ratio = |i: u32| (half as f64).powf(f64::from(i) / f64::from(STEPS_OF_FIRST_HALF)).round() as u64;
    let mut steps = vec![0];
    steps.extend((0..STEPS_OF_FIRST_HALF).map(ratio));
    steps.extend((0..STEPS_OF_SECOND_HALF).map(|i| half + (last - half) * i / (STEPS_OF_SECOND_HALF - 1)));
    steps.dedup();
    steps
}

/// Whether the noise scale describes an optimizer well. It is derived for gradient descent, and only a rough guide for
/// optimizers that rescale the gradient, as Adam does.
pub fn describes_noise_of(optimizer: &str) -> bool {
    GRADIENT_DESCENT.contains(&optimizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Norms of Gaussian gradients with 50 coordinates and standard deviations from 0.5 to 1.5. With a mean of 0.1,
    /// |G|² is 0.5 and tr(Σ) is 54.34.
    fn pairs(count: usize, small: usize, large: usize, mean: f64) -> Vec<NormPair> {
        let mut generator = ChaCha8Rng::seed_from_u64(3);
        let mut unit = move || (f64::from(generator.next_u32()) + 0.5) / 4_294_967_296.0;
        let mut normal = move || (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos();
        let mut squared_norm = |batch: usize| -> f64 {
            let coordinate = |i: usize| 0.5 + i as f64 / 49.0;
            (0..50).map(|i| (mean + coordinate(i) / (batch as f64).sqrt() * normal()).powi(2)).sum()
        };
        (0..count).map(|_| NormPair { small: squared_norm(small), large: squared_norm(large) }).collect()
    }

    #[test]
    fn the_noise_scale_of_known_gradients_is_found() {
        let point = noise_point(0, &pairs(1000, 8, 256, 0.1), 8.0, 256.0);
        let (truth, [low, high]) = (108.67, point.interval.unwrap().map(Option::unwrap));
        assert!((point.b_simple.unwrap() / truth - 1.0).abs() < 0.1, "{point:?}");
        assert!(low < truth && truth < high && high < 1.3 * truth, "{point:?}");
        assert!((point.tr_sigma / 54.337 - 1.0).abs() < 0.05 && (point.g_squared / 0.5 - 1.0).abs() < 0.1);
    }

    #[test]
    fn the_noise_scale_is_not_resolvable_if_the_gradient_drowns_in_noise() {
        let point = noise_point(0, &pairs(200, 8, 256, 0.0), 8.0, 256.0);
        let [low, high] = point.interval.unwrap();
        assert!(low.unwrap() > 100.0, "a bound is known although the noise scale is not: {low:?}");
        assert_eq!((point.b_simple, high), (None, None));
        assert_eq!(noise_point(0, &pairs(1, 8, 256, 0.1), 8.0, 256.0).b_simple, None, "one pair says nothing");
        assert_eq!(noise_point(0, &[], 8.0, 256.0).b_simple, None);
    }

    #[test]
    fn the_noise_scale_of_a_run_is_the_median_of_its_second_half() {
        let point = |step: u64, b: f64, is_resolved: bool| NoisePoint {
            step,
            b_simple: is_resolved.then_some(b),
            interval: None,
            g_squared: 1.0,
            tr_sigma: b,
            draws: [0.9, 1.0, 1.1].map(|factor| if is_resolved { b * factor } else { f64::INFINITY }).to_vec(),
        };
        let early = [point(0, 1.0, true), point(10, 2.0, true)];
        let run = |late: &[NoisePoint]| run_noise(&[&early, late].concat());
        let found = run(&[point(50, 100.0, true), point(75, 300.0, true), point(100, 9000.0, true)]);
        assert_eq!((found.critical_batch_size, found.steps, found.measured), (Some(300.0), Some([50, 100]), 3));
        assert_eq!(
            found.interval.map(|[low, high]| (low.unwrap().round(), high.unwrap().round())),
            Some((270.0, 330.0))
        );
        // A step that is not resolvable has a large noise scale. It is not left out.
        let found = run(&[point(50, 100.0, true), point(75, 300.0, true), point(100, 0.0, false)]);
        assert_eq!((found.critical_batch_size, found.unresolved), (Some(300.0), 1));
        let found = run(&[point(50, 100.0, true), point(75, 0.0, false), point(100, 0.0, false)]);
        assert_eq!((found.critical_batch_size, found.unresolved), (None, 2));
        assert_eq!(run_noise(&[]), RunNoise::default());
    }

    #[test]
    fn the_steps_to_measure_begin_at_0_and_end_at_the_last() {
        assert_eq!(steps_to_measure(1000), [0, 1, 5, 22, 106, 500, 583, 666, 750, 833, 916, 1000]);
        assert_eq!(steps_to_measure(1), [0, 1]);
        for last in 1..200 {
            let steps = steps_to_measure(last);
            assert!(steps.is_sorted_by(|a, b| a < b) && steps.last() == Some(&last), "{last}: {steps:?}");
        }
    }

    #[test]
    fn the_json_has_the_names_of_the_reference() {
        let json = serde_json::to_value(noise_point(3, &pairs(200, 8, 256, 0.1), 8.0, 256.0)).unwrap();
        let mut names: Vec<&String> = json.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["interval", "noise_scale", "squared_gradient", "step", "variance"]);
    }
}
