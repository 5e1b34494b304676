//! Random numbers by key: each is a function of (seed, stream, step, layer), so that a trial's randomness depends neither
//! on what ran before nor on the order in which it is asked for. Streams are apart (Playbook F2): the same initialization
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
    /// Which activations are dropped; keyed by step and layer.
    Dropout = 3,
    /// How inputs are varied; keyed by step and layer.
    Augmentation = 4,
    /// Which examples belong to which part of a data set.
    Splitting = 5,
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
    pub fn generator(&self, stream: Stream, step: u64, layer: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([self.seed, stream as u64, step, layer]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }

    /// Seeds libtorch's own generators by a key, for what is drawn on the device right after it: large masks would take
    /// too long to be drawn here.
    pub fn seed_device(&self, stream: Stream, step: u64, layer: u64) {
        tch::manual_seed(self.generator(stream, step, layer).next_u64() as i64);
    }

    /// A tensor uniform over [−bound, bound], for the parameters of a layer.
    pub fn uniform(&self, layer: u64, shape: &[i64], bound: f64, device: Device) -> Tensor {
        let mut generator = self.generator(Stream::Initialization, 0, layer);
        let count = shape.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..count).map(|_| ((2.0 * unit(&mut generator) - 1.0) * bound) as f32).collect();
        Tensor::from_slice(&values).reshape(shape).to_device(device)
    }

    /// A normal tensor with a standard deviation, for the parameters of a layer.
    pub fn normal(&self, layer: u64, shape: &[i64], deviation: f64, device: Device) -> Tensor {
        let mut generator = self.generator(Stream::Initialization, 0, layer);
        let count = shape.iter().product::<i64>() as usize;
        let mut values: Vec<f32> = Vec::with_capacity(count + 1);
        while values.len() < count {
            // Box and Muller 1958; 1 − u keeps the logarithm finite.
            let radius = deviation * (-2.0 * (1.0 - unit(&mut generator)).ln()).sqrt();
            let angle = std::f64::consts::TAU * unit(&mut generator);
            values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
        }
        Tensor::from_slice(&values[..count]).reshape(shape).to_device(device)
    }

    /// The order of `n` training examples in an epoch.
    pub fn permutation(&self, epoch: u64, n: usize) -> Vec<i64> {
        permutation(self.generator(Stream::Shuffling, epoch, 0), n)
    }
}

/// Uniform over [0, 1) in steps of 2⁻²⁴.
fn unit(generator: &mut ChaCha8Rng) -> f64 {
    f64::from(generator.next_u32() >> 8) / f64::from(1 << 24)
}

/// A uniform permutation of 0..n (Fisher and Yates; the bias of the multiplication is below 2⁻⁴⁰ for any n in memory).
pub(crate) fn permutation(mut generator: ChaCha8Rng, n: usize) -> Vec<i64> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    for last in (1..n).rev() {
        let other = (u128::from(generator.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

/// The key of a layer: a hash of its name (FNV-1a), so that a layer keeps its randomness when others come and go.
pub(crate) fn layer_key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
