//! The noise scale of a run whose gradient decays.

use crate::surfaces::Random;
use tunebook_analysis::{NoisePoint, noise_point, run_noise, steps_to_measure};
use tunebook_study::probe::NormPair;

const COORDINATES: usize = 50;
const STEPS: u64 = 1000;

/// A run whose squared gradient falls by e^`decay`, with variances of 1: the noise scale at a step is 1 over the
/// squared gradient of a coordinate.
fn run(decay: f64, pairs: usize, random: &mut Random) -> Vec<NoisePoint> {
    let squared_norm = |mean: f64, batch: f64, random: &mut Random| -> f64 {
        (0..COORDINATES).map(|_| (mean + random.normal() / batch.sqrt()).powi(2)).sum()
    };
    let point = |step: u64| {
        let mean = (-0.5 * decay * step as f64 / STEPS as f64).exp() * 0.3;
        let pairs: Vec<NormPair> = (0..pairs)
            .map(|_| NormPair { small: squared_norm(mean, 32.0, random), large: squared_norm(mean, 512.0, random) })
            .collect();
        noise_point(step, &pairs, 32.0, 512.0)
    };
    steps_to_measure(STEPS).into_iter().map(point).collect()
}

/// The median over the steps of the second half.
fn truth(decay: f64) -> f64 {
    (decay * 0.75).exp() / 0.09
}

#[test]
fn one_number_describes_a_run_whose_gradient_decays() {
    let mut random = Random::new(4);
    for decay in [0.0, 2.0, 4.0] {
        let (mut inside, runs) = (0, 60);
        for _ in 0..runs {
            let points = run(decay, 150, &mut random);
            let found = run_noise(&points);
            let [low, high] = found.interval.unwrap();
            inside += u32::from(low.unwrap() <= truth(decay) && high.is_none_or(|high| high >= truth(decay)));
        }
        println!("the gradient falls by e^{decay}: {inside} of {runs} cover {:.0}", truth(decay));
        assert!(inside >= 54, "{decay}: {inside} of {runs}");
    }
}

#[test]
fn a_gradient_that_drowns_in_noise_gives_a_bound_that_holds() {
    let mut random = Random::new(5);
    for _ in 0..10 {
        let points = run(12.0, 150, &mut random);
        let found = run_noise(&points);
        assert!(found.unresolved > 0 && found.critical_batch_size.is_none(), "{found:?}");
        let low = found.interval.unwrap()[0].unwrap();
        assert!(low > 100.0 && low < truth(12.0), "{low}, truly {}", truth(12.0));
    }
}
