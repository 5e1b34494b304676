//! Random numbers by key. Each is a function of (seed, stream, step, layer), so that a trial's random numbers depend
//! neither on what ran before in the process nor on the order in which they are drawn. The streams are independent
//! (Playbook F2), so that the same initial parameters can be trained on another order of the data.

use crate::hyperparameters::Hyperparameters;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tch::{Device, Tensor};

/// The purpose of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Initial parameters. The key holds the layer.
    Initialization = 1,
    /// The order of the training examples. The key holds the epoch in place of the step.
    Shuffling = 2,
    /// Dropout. The key holds the step and the layer.
    Dropout = 3,
    /// Augmentation of the inputs. The key holds the step and the layer.
    Augmentation = 4,
    /// Random choices of examples, such as the split of a data set.
    Splitting = 5,
    /// What the code of a workload draws from libtorch itself. The key holds the step.
    Own = 6,
}

/// The hyperparameters that give a stream a seed of its own, so that the streams can be varied apart.
const OWN_SEEDS: [(Stream, &str); 4] = [
    (Stream::Initialization, "init_seed"),
    (Stream::Shuffling, "order_seed"),
    (Stream::Dropout, "dropout_seed"),
    (Stream::Augmentation, "augment_seed"),
];

/// The source of all random numbers of one trial: its seed, and those of streams that have one of their own.
#[derive(Clone, Copy, Debug)]
pub struct Randomness {
    seed: u64,
    /// In the order of [`OWN_SEEDS`].
    own: [Option<u64>; 4],
}

impl Randomness {
    /// All streams follow from one seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, own: [None; 4] }
    }

    /// The streams of a trial. Those whose hyperparameter has a value follow from that, the others from `seed`.
    pub fn of(seed: u64, hp: &Hyperparameters) -> Self {
        let own = |(_, name): (Stream, &str)| hp.find::<i64>(name).map(|own| own as u64);
        Self { seed, own: OWN_SEEDS.map(own) }
    }

    fn seed_of(&self, stream: Stream) -> u64 {
        let own = OWN_SEEDS.iter().zip(self.own).find(|((of, _), _)| *of == stream);
        own.and_then(|(_, seed)| seed).unwrap_or(self.seed)
    }

    /// Returns the generator of the key (seed, stream, step, layer).
    pub fn generator(&self, stream: Stream, step: u64, layer: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([self.seed_of(stream), stream as u64, step, layer]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }

    /// Seeds libtorch's generators with the key (seed, stream, step, layer), for random numbers that are drawn right
    /// after it on the device. Large dropout masks would take too long to be drawn on the host and copied.
    pub fn seed_device(&self, stream: Stream, step: u64, layer: u64) {
        tch::manual_seed(self.generator(stream, step, layer).next_u64() as i64);
    }

    /// Returns a tensor (float32) of numbers uniform in \[−bound, bound\], for the initial parameters of a layer.
    pub fn uniform(&self, layer: u64, shape: &[i64], bound: f64, device: Device) -> Tensor {
        let mut generator = self.generator(Stream::Initialization, 0, layer);
        let count = shape.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..count).map(|_| ((2.0 * unit(&mut generator) - 1.0) * bound) as f32).collect();
        Tensor::from_slice(&values).reshape(shape).to_device(device)
    }

    /// Returns a tensor (float32) of normal numbers with mean 0 and a standard deviation, for the initial parameters of
    /// a layer.
    pub fn normal(&self, layer: u64, shape: &[i64], deviation: f64, device: Device) -> Tensor {
        let mut generator = self.generator(Stream::Initialization, 0, layer);
        let count = shape.iter().product::<i64>() as usize;
        let mut values: Vec<f32> = Vec::with_capacity(count + 1);
        while values.len() < count {
            // The transform of Box and Muller (1958). 1 − u is above 0, which keeps the logarithm finite.
            let radius = deviation * (-2.0 * (1.0 - unit(&mut generator)).ln()).sqrt();
            let angle = std::f64::consts::TAU * unit(&mut generator);
            values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
        }
        Tensor::from_slice(&values[..count]).reshape(shape).to_device(device)
    }

    /// Returns the order of `n` training examples in an epoch: a permutation of 0 to n − 1.
    pub fn permutation(&self, epoch: u64, n: usize) -> Vec<i64> {
        permutation(self.generator(Stream::Shuffling, epoch, 0), n)
    }
}

/// Draws a number uniform in [0, 1), a multiple of 2⁻²⁴.
fn unit(generator: &mut ChaCha8Rng) -> f64 {
    f64::from(generator.next_u32() >> 8) / f64::from(1 << 24)
}

/// Draws a uniform permutation of 0 to n − 1 (Fisher and Yates). The multiplication has a bias, but it is below 2⁻⁴⁰
/// for any n that fits into memory.
pub(crate) fn permutation(mut generator: ChaCha8Rng, n: usize) -> Vec<i64> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    for last in (1..n).rev() {
        let other = (u128::from(generator.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

/// Returns the key of a layer: the FNV-1a hash of its name. A layer keeps its random numbers when other layers are
/// added or removed.
pub(crate) fn layer_key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
