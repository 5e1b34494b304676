//! The percentile bootstrap (Efron 1979) that the intervals of this crate share.
//!
//! A statistic is computed for [`RESAMPLES`] samples that are drawn with replacement from the data; its 95 % interval
//! lies between the 2.5th and the 97.5th percentile of these values. The seed is fixed, so the same data give the same
//! interval.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The number of samples that a bootstrap draws.
pub(crate) const RESAMPLES: usize = 1000;

/// A source of random indices for drawing with replacement.
pub(crate) struct Resampler(ChaCha8Rng);

impl Resampler {
    /// A source whose indices depend on the seed alone.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns an index below `n`, each with the same probability.
    pub fn index_below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Returns the items in a random order.
    pub fn shuffled<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        let mut shuffled = items.to_vec();
        for i in 0..items.len() {
            shuffled.swap(i, i + self.index_below(items.len() - i));
        }
        shuffled
    }
}

/// Returns the median: the middle value, or the mean of the two middle values. NaN if there are no values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

/// Returns the 2.5th and the 97.5th percentile of the values of a bootstrap. `sorted` must not be empty.
pub(crate) fn percentile_interval(sorted: &[f64]) -> [f64; 2] {
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    [at(0.025), at(0.975)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn the_interval_leaves_out_a_fortieth_on_each_side() {
        let sorted: Vec<f64> = (0..=1000).map(f64::from).collect();
        assert_eq!(percentile_interval(&sorted), [25.0, 975.0]);
        assert_eq!(percentile_interval(&[7.0]), [7.0, 7.0]);
    }

    #[test]
    fn indices_depend_on_the_seed_alone_and_reach_every_place() {
        let draw = |seed| {
            let mut resampler = Resampler::new(seed);
            (0..200).map(|_| resampler.index_below(5)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..5).all(|i| draw(1).contains(&i)) && draw(1).iter().all(|i| *i < 5));
    }
}
