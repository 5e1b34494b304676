//! Counter-based random numbers: each is a function of a key, so it does not matter which were drawn before.
//!
//! Proposals must be the same on every platform and with every version of a library. Therefore the generator is
//! ChaCha8, whose stream is specified, and shuffles are written here, because those of a library may change.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The use of a generator. Generators for different uses are independent.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// The permutations of digits in Halton points.
    Digits = 1,
    /// The order in which the values of a list are dealt out.
    Deal = 2,
    /// Independent random values of hyperparameters.
    Draw = 3,
    /// The seeds of trials.
    Trial = 4,
    /// The scrambling of Sobol points.
    Scramble = 5,
    /// The search for the best configuration of a model.
    Search = 6,
}

/// The generator for a key, which consists of all arguments.
pub(super) fn generator(purpose: Purpose, seed: u64, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&a.to_le_bytes());
    key[24..].copy_from_slice(&b.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A uniform permutation of 0..n, by Fisher and Yates. An index is the upper half of a product with 64 random bits,
/// whose bias is below 2⁻⁵⁰ for the n that occur here.
pub(super) fn permutation(mut generator: ChaCha8Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        let other = (u128::from(generator.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

/// Which value (from 0) of a list of `count` values the trial at `index` gets. In each block of `count` trials, each
/// value occurs once, in a random order.
pub(super) fn dealt(seed: u64, node: usize, index: u64, count: usize) -> usize {
    let block = index / count as u64;
    permutation(generator(Purpose::Deal, seed, node as u64, block), count)[(index % count as u64) as usize]
}

/// A uniform number in [0, 1) with 53 random bits.
pub(super) fn uniform(seed: u64, node: usize, index: u64) -> f64 {
    let bits = generator(Purpose::Draw, seed, node as u64, index).next_u64() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// A uniform number in [0, 1) for a coordinate of the point at `index` of a sequence.
pub(super) fn uniform_of(seed: u64, sequence: u64, coordinate: usize, index: u64) -> f64 {
    // Node numbers, which `uniform` takes, are below 2³².
    uniform(seed, ((sequence as usize + 1) << 32) | coordinate, index)
}

/// The seed of a trial, below 2³¹.
pub(super) fn seed_of_trial(seed: u64, trial: u32) -> u64 {
    generator(Purpose::Trial, seed, u64::from(trial), 0).next_u64() >> 33
}
