//! The gradient noise scale, estimated from the norms of gradients at two batch sizes (McCandlish et al. 2018).
//!
//! The simple noise scale is B_simple = tr(Σ)/|G|², with the true gradient G and the covariance Σ of the gradient of
//! one example. It is a batch size, in examples: gradients of much smaller batches are mostly noise, and much larger
//! batches waste examples. Both parts are estimated without bias from pairs of norms ([`NormPair::estimate`]). The
//! ratio of two estimates is biased, so that numerator and denominator are averaged first and divided last.

use crate::resampling::{RESAMPLES, Resampler, percentile_interval};
use serde::Serialize;
use tunebook_study::probe::NormPair;

/// As many steps of a run are measured at most.
const MEASURED_STEPS: u32 = 10;
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
    /// The 95 % interval of B_simple, by the bootstrap over pairs.
    pub interval: Option<[f64; 2]>,
    /// |G|², the squared norm of the true gradient. The estimate may be negative.
    #[serde(rename = "squared_gradient")]
    pub g_squared: f64,
    /// tr(Σ), the sum of the variances of all coordinates of the gradient of one example.
    #[serde(rename = "variance")]
    pub tr_sigma: f64,
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
    let draws: Vec<(f64, f64)> = (0..RESAMPLES)
        .filter(|_| estimates.len() > 1)
        .map(|_| mean(&mut (0..estimates.len()).map(|_| estimates[resampler.index_below(estimates.len())])))
        .collect();
    let mut gradients: Vec<f64> = draws.iter().map(|(g_squared, _)| *g_squared).collect();
    gradients.sort_by(f64::total_cmp);
    let resolved = !gradients.is_empty() && percentile_interval(&gradients)[0] > 0.0 && tr_sigma > 0.0;
    let mut ratios: Vec<f64> = draws.iter().map(|(g_squared, tr_sigma)| tr_sigma / g_squared).collect();
    ratios.sort_by(f64::total_cmp);
    NoisePoint {
        step,
        b_simple: resolved.then(|| tr_sigma / g_squared),
        interval: resolved.then(|| percentile_interval(&ratios)),
        g_squared,
        tr_sigma,
    }
}

/// Returns the noise scale over a run, in examples: Σ tr(Σ) / Σ |G|² over the points at which it is resolvable.
///
/// Returns None if it is resolvable at none of them.
pub fn mean_noise_scale(points: &[NoisePoint]) -> Option<f64> {
    let resolved = points.iter().filter(|point| point.b_simple.is_some());
    let (g_squared, tr_sigma) =
        resolved.fold((0.0, 0.0), |(g_squared, tr_sigma), p| (g_squared + p.g_squared, tr_sigma + p.tr_sigma));
    (g_squared > 0.0).then(|| tr_sigma / g_squared)
}

/// Returns the steps of a run of `last` steps at which the noise scale is measured: step 0, and then steps with about
/// equal ratios from 1 to the last, because the noise scale changes most in the first steps.
pub fn steps_to_measure(last: u64) -> Vec<u64> {
    let ratios = MEASURED_STEPS - 2;
    let mut steps = vec![0];
    steps.extend((0..=ratios).map(|i| (last as f64).powf(f64::from(i) / f64::from(ratios)).round() as u64));
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
        let (truth, [low, high]) = (108.67, point.interval.unwrap());
        assert!((point.b_simple.unwrap() / truth - 1.0).abs() < 0.1, "{point:?}");
        assert!(low < truth && truth < high && high < 1.3 * truth, "{point:?}");
        assert!((point.tr_sigma / 54.337 - 1.0).abs() < 0.05 && (point.g_squared / 0.5 - 1.0).abs() < 0.1);
    }

    #[test]
    fn the_noise_scale_is_not_resolvable_if_the_gradient_drowns_in_noise() {
        let point = noise_point(0, &pairs(200, 8, 256, 0.0), 8.0, 256.0);
        assert_eq!((point.b_simple, point.interval), (None, None), "{point:?}");
        assert_eq!(noise_point(0, &pairs(1, 8, 256, 0.1), 8.0, 256.0).b_simple, None, "one pair says nothing");
        assert_eq!(noise_point(0, &[], 8.0, 256.0).b_simple, None);
    }

    #[test]
    fn the_mean_divides_the_sums_of_the_resolvable_points() {
        let point = |g_squared, tr_sigma, resolved: bool| NoisePoint {
            step: 0,
            b_simple: resolved.then(|| tr_sigma / g_squared),
            interval: None,
            g_squared,
            tr_sigma,
        };
        assert_eq!(mean_noise_scale(&[point(1.0, 10.0, true), point(3.0, 10.0, true)]), Some(5.0));
        assert_eq!(mean_noise_scale(&[point(1.0, 10.0, true), point(-1.0, 10.0, false)]), Some(10.0));
        assert_eq!(mean_noise_scale(&[]), None);
    }

    #[test]
    fn the_steps_to_measure_begin_at_0_and_end_at_the_last() {
        assert_eq!(steps_to_measure(1000), [0, 1, 2, 6, 13, 32, 75, 178, 422, 1000]);
        assert_eq!(steps_to_measure(1), [0, 1]);
        assert!(steps_to_measure(4).is_sorted());
    }

    #[test]
    fn the_json_has_the_names_of_the_reference() {
        let json = serde_json::to_value(noise_point(3, &pairs(200, 8, 256, 0.1), 8.0, 256.0)).unwrap();
        let mut names: Vec<&String> = json.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["interval", "noise_scale", "squared_gradient", "step", "variance"]);
    }
}
