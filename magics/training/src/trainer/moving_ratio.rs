//! A moving average of a ratio whose numerator and denominator are measured with noise, and its interval.

use serde::{Deserialize, Serialize};

/// The weight of earlier pairs falls by this factor with each pair, so that about the last hundred count.
const DECAY: f64 = 0.98;
/// The 97.5 % quantile of the normal distribution, a little larger because the variances are estimated.
const QUANTILE: f64 = 2.1;
/// The least number of pairs that tell a variance.
const LEAST_PAIRS: f64 = 10.0;

/// Sums over pairs (denominator x, numerator y), in which a pair of some age has the weight 0.98^age.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MovingRatio {
    weight: f64,
    squared_weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl MovingRatio {
    /// Adds a pair of measurements.
    pub fn add(&mut self, x: f64, y: f64) {
        self.weight = DECAY * self.weight + 1.0;
        self.squared_weight = DECAY * DECAY * self.squared_weight + 1.0;
        let sums =
            [(&mut self.x, x), (&mut self.y, y), (&mut self.xx, x * x), (&mut self.xy, x * y), (&mut self.yy, y * y)];
        for (sum, value) in sums {
            *sum = DECAY * *sum + value;
        }
    }

    /// Returns the mean of y over the mean of x, and its 95 % interval by Fieller's theorem. None if x cannot be told
    /// from 0, or with fewer than ten pairs.
    pub fn value(&self) -> Option<(f64, [f64; 2])> {
        let pairs = self.weight * self.weight / self.squared_weight;
        // Without a pair it is NaN.
        if pairs.is_nan() || pairs < LEAST_PAIRS {
            return None;
        }
        let (x, y) = (self.x / self.weight, self.y / self.weight);
        // The covariances of the means.
        let covariance = |sum: f64, product: f64| (sum / self.weight - product) / (pairs - 1.0) * QUANTILE * QUANTILE;
        let a = x * x - covariance(self.xx, x * x);
        let b = x * y - covariance(self.xy, x * y);
        let c = y * y - covariance(self.yy, y * y);
        if x <= 0.0 || a <= 0.0 {
            return None;
        }
        let root = (b * b - a * c).max(0.0).sqrt();
        Some((y / x, [(b - root) / a, (b + root) / a]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    #[test]
    fn the_interval_covers_the_ratio() {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut unit = move || (f64::from(generator.next_u32()) + 0.5) / 4_294_967_296.0;
        let mut normal = move || (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos();
        for (pairs, noise) in [(12, 0.3), (40, 1.0), (400, 2.0)] {
            let (mut inside, mut known) = (0, 0);
            for _ in 0..2000 {
                let mut ratio = MovingRatio::default();
                (0..pairs).for_each(|_| ratio.add(1.0 + noise * normal(), 50.0 + 20.0 * normal()));
                if let Some((_, [low, high])) = ratio.value() {
                    known += 1;
                    inside += u32::from((low..=high).contains(&50.0));
                }
            }
            let share = f64::from(inside) / f64::from(known);
            assert!((0.92..0.98).contains(&share), "{pairs} pairs: {share} of {known}");
        }
    }

    #[test]
    fn a_denominator_that_drowns_in_noise_gives_no_ratio() {
        let mut ratio = MovingRatio::default();
        (0..50).for_each(|i| ratio.add(if i % 2 == 0 { 1.0 } else { -0.9 }, 3.0));
        assert!(ratio.value().is_none());
        let mut few = MovingRatio::default();
        (0..5).for_each(|_| few.add(1.0, 3.0));
        assert!(few.value().is_none());
    }
}
