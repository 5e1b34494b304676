//! Random numbers that are addressed, not drawn in turn: each is a function of its key.
//!
//! ChaCha8 is the generator because its stream is specified; the shuffles are written out because those of a
//! library may change with its version, and with them every proposal.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a generator is for; two purposes never share numbers.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Digit permutations of the Halton points.
    Digits = 1,
    /// The order in which a list is dealt out.
    Deal = 2,
    /// Independent draws.
    Draw = 3,
    /// Seeds of trials.
    Trial = 4,
}

/// The generator of a key.
pub(super) fn generator(purpose: Purpose, seed: u64, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&a.to_le_bytes());
    key[24..].copy_from_slice(&b.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A uniform permutation of 0..n (Fisher–Yates; the bias of the multiplication is below 2⁻⁵⁰ for any n here).
pub(super) fn permutation(mut generator: ChaCha8Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        let other = (u128::from(generator.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

/// The place in a list of `count` values that the trial at `index` gets: each block of `count` trials deals out every
/// value once, in an order of its own.
pub(super) fn dealt(seed: u64, node: usize, index: u64, count: usize) -> usize {
    let block = index / count as u64;
    permutation(generator(Purpose::Deal, seed, node as u64, block), count)[(index % count as u64) as usize]
}

/// A number in [0, 1) with 53 random bits.
pub(super) fn uniform(seed: u64, node: usize, index: u64) -> f64 {
    let bits = generator(Purpose::Draw, seed, node as u64, index).next_u64() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

pub(super) fn seed_of_trial(seed: u64, trial: u32) -> u64 {
    generator(Purpose::Trial, seed, u64::from(trial), 0).next_u64() >> 33
}
