//! The gradient noise scale from norms of gradients at two batch sizes (McCandlish et al. 2018).

use crate::resampling::{RESAMPLES, Resampler, middle};
use serde::Serialize;
use tunebook_study::probe::NormPair;

/// The noise scale at one step of training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoisePoint {
    /// Steps taken.
    pub step: u64,
    /// tr Σ / |G|² in examples; `None` where |G|² does not stand out of the noise.
    pub noise_scale: Option<f64>,
    /// 95 % of it, by the bootstrap over pairs.
    pub interval: Option<[f64; 2]>,
    /// |G|², the squared norm of the true gradient, estimated without bias.
    pub squared_gradient: f64,
    /// tr Σ, the variance of the gradient of one example.
    pub variance: f64,
}

/// The estimate of one step: means of numerator and denominator over the pairs, and then their ratio.
pub fn noise_point(step: u64, pairs: &[NormPair], small_batch: f64, large_batch: f64) -> NoisePoint {
    let estimates: Vec<(f64, f64)> = pairs.iter().map(|pair| pair.estimate(small_batch, large_batch)).collect();
    let mean = |chosen: &mut dyn Iterator<Item = (f64, f64)>| {
        let (mut gradient, mut variance, mut count) = (0.0, 0.0, 0.0_f64);
        for (g, v) in chosen {
            (gradient, variance, count) = (gradient + g, variance + v, count + 1.0);
        }
        (gradient / count.max(1.0), variance / count.max(1.0))
    };
    let (squared_gradient, variance) = mean(&mut estimates.iter().copied());
    let mut resampler = Resampler::new(step);
    let draws: Vec<(f64, f64)> = (0..RESAMPLES)
        .filter(|_| estimates.len() > 1)
        .map(|_| mean(&mut (0..estimates.len()).map(|_| estimates[resampler.below(estimates.len())])))
        .collect();
    let mut gradients: Vec<f64> = draws.iter().map(|(gradient, _)| *gradient).collect();
    gradients.sort_by(f64::total_cmp);
    let resolved = !gradients.is_empty() && middle(&gradients)[0] > 0.0 && variance > 0.0;
    let mut ratios: Vec<f64> = draws.iter().map(|(gradient, variance)| variance / gradient).collect();
    ratios.sort_by(f64::total_cmp);
    NoisePoint {
        step,
        noise_scale: resolved.then(|| variance / squared_gradient),
        interval: resolved.then(|| middle(&ratios)),
        squared_gradient,
        variance,
    }
}

/// The noise scale over a run: the mean numerator over the mean denominator of the points that can be resolved, in examples.
pub fn mean_noise_scale(points: &[NoisePoint]) -> Option<f64> {
    let resolved = points.iter().filter(|point| point.noise_scale.is_some());
    let (gradient, variance) = resolved
        .fold((0.0, 0.0), |(gradient, variance), point| (gradient + point.squared_gradient, variance + point.variance));
    (gradient > 0.0).then(|| variance / gradient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Gradients with 50 coordinates of mean 0.1 and standard deviations from 0.5 to 1.5: |G|² = 0.5, tr Σ = 54.34.
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
        assert!((point.noise_scale.unwrap() / truth - 1.0).abs() < 0.1, "{point:?}");
        assert!(low < truth && truth < high && high < 1.3 * truth, "{point:?}");
        assert!((point.variance / 54.337 - 1.0).abs() < 0.05 && (point.squared_gradient / 0.5 - 1.0).abs() < 0.1);
    }

    #[test]
    fn a_gradient_that_drowns_in_noise_is_not_resolvable() {
        let point = noise_point(0, &pairs(200, 8, 256, 0.0), 8.0, 256.0);
        assert_eq!((point.noise_scale, point.interval), (None, None), "{point:?}");
        assert_eq!(noise_point(0, &pairs(1, 8, 256, 0.1), 8.0, 256.0).noise_scale, None, "one pair says nothing");
        assert_eq!(noise_point(0, &[], 8.0, 256.0).noise_scale, None);
    }

    #[test]
    fn numerators_and_denominators_are_averaged_apart() {
        let point = |gradient, variance, resolved: bool| NoisePoint {
            step: 0,
            noise_scale: resolved.then(|| variance / gradient),
            interval: None,
            squared_gradient: gradient,
            variance,
        };
        assert_eq!(mean_noise_scale(&[point(1.0, 10.0, true), point(3.0, 10.0, true)]), Some(5.0));
        assert_eq!(mean_noise_scale(&[point(1.0, 10.0, true), point(-1.0, 10.0, false)]), Some(10.0));
        assert_eq!(mean_noise_scale(&[]), None);
    }
}
