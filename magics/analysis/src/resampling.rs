//! What the bootstraps of this crate share. Their randomness is fixed: the same trials give the same interval.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Resamples of a bootstrap.
pub(crate) const RESAMPLES: usize = 1000;

/// Draws with replacement.
pub(crate) struct Resampler(ChaCha8Rng);

impl Resampler {
    /// One of a number.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A place below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }
}

/// The median; the mean of the two middle ones of an even number.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

/// The middle 95 % of sorted values.
pub(crate) fn middle(sorted: &[f64]) -> [f64; 2] {
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    [at(0.025), at(0.975)]
}
