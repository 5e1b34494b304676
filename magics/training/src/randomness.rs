//! Random numbers by key: each is a function of (seed, stream, a, b), so that a trial's randomness depends neither on
//! what ran before nor on the order in which it is asked for. Streams are apart (Playbook F2): the same initialization
//! can be trained on another order of the data.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tch::{Device, Tensor};

/// What randomness is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Initial parameters; keyed by layer.
    Initialization = 1,
    /// Order of the training examples; keyed by epoch.
    Shuffling = 2,
}

/// The randomness of one trial.
#[derive(Clone, Copy, Debug)]
pub struct Randomness {
    seed: u64,
}

impl Randomness {
    /// That of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The generator of a key.
    pub fn generator(&self, stream: Stream, a: u64, b: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([self.seed, stream as u64, a, b]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }

    /// A tensor uniform over [−bound, bound], for the parameters of a layer.
    pub fn uniform(&self, layer: u64, shape: &[i64], bound: f64, device: Device) -> Tensor {
        let mut generator = self.generator(Stream::Initialization, layer, 0);
        let count = shape.iter().product::<i64>() as usize;
        let unit = |bits: u32| f64::from(bits >> 8) / f64::from(1 << 24);
        let values: Vec<f32> = (0..count).map(|_| ((2.0 * unit(generator.next_u32()) - 1.0) * bound) as f32).collect();
        Tensor::from_slice(&values).reshape(shape).to_device(device)
    }

    /// The order of `n` training examples in an epoch.
    pub fn permutation(&self, epoch: u64, n: usize) -> Vec<i64> {
        let mut generator = self.generator(Stream::Shuffling, epoch, 0);
        let mut order: Vec<i64> = (0..n as i64).collect();
        for last in (1..n).rev() {
            let other = (u128::from(generator.next_u64()) * (last as u128 + 1)) >> 64;
            order.swap(last, other as usize);
        }
        order
    }
}
