//! Data sets: examples, their parts, and loaders of the usual files.

pub mod cifar;
pub mod digits;
pub mod fashion;
pub mod idx;
mod numpy;
mod source;
mod table;
pub mod text;

pub use numpy::{npy, npz, safetensors};
pub(crate) use source::{begin_to_record, recorded};
pub use source::{missing, read};
pub use table::Table;

use crate::randomness::{Randomness, Stream, permutation};
use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};

/// Examples with what a model should say of them: one a row of the first dimension of each tensor.
#[derive(Debug)]
pub struct Examples {
    /// What a model is given.
    pub inputs: Tensor,
    /// What it should answer: classes (i64) or numbers.
    pub targets: Tensor,
}

impl Examples {
    /// Inputs with as many targets.
    pub fn new(inputs: Tensor, targets: Tensor) -> Result<Self> {
        let count = |t: &Tensor| t.size().first().copied().unwrap_or(0);
        ensure!(
            count(&inputs) == count(&targets),
            "there are {} inputs {:?} and {} targets {:?}; each input needs one",
            count(&inputs),
            inputs.size(),
            count(&targets),
            targets.size()
        );
        Ok(Self { inputs, targets })
    }

    /// How many.
    pub fn count(&self) -> i64 {
        self.targets.size().first().copied().unwrap_or(0)
    }

    /// Those of these indices.
    pub fn select(&self, indices: &Tensor) -> Self {
        Self { inputs: self.inputs.index_select(0, indices), targets: self.targets.index_select(0, indices) }
    }

    /// `length` of them from `start` on, without a copy.
    pub fn narrow(&self, start: i64, length: i64) -> Self {
        Self { inputs: self.inputs.narrow(0, start, length), targets: self.targets.narrow(0, start, length) }
    }

    /// The first `count`, or all where there are fewer.
    pub fn first(&self, count: i64) -> Self {
        self.narrow(0, count.clamp(0, self.count()))
    }

    /// The same on a device.
    pub fn to_device(&self, device: Device) -> Self {
        Self { inputs: self.inputs.to_device(device), targets: self.targets.to_device(device) }
    }

    /// The same in memory that can be copied to a GPU while it computes.
    pub(crate) fn pinned(&self, device: Device) -> Self {
        if !device.is_cuda() {
            return Self { inputs: self.inputs.shallow_clone(), targets: self.targets.shallow_clone() };
        }
        Self { inputs: self.inputs.pin_memory(device), targets: self.targets.pin_memory(device) }
    }

    /// The same on a device; the copy may still be under way.
    pub(crate) fn begin_copy(&self, device: Device) -> Self {
        let copy = |t: &Tensor| t.to_device_(device, t.kind(), true, false);
        Self { inputs: copy(&self.inputs), targets: copy(&self.targets) }
    }

    /// Parts to train on, to validate with (fractions of the whole), and the rest to test, drawn by a seed of its own: the
    /// parts do not depend on a trial's seed.
    pub fn split(self, train: f64, valid: f64, seed: u64) -> Result<Data> {
        ensure!(
            train > 0.0 && valid > 0.0 && train + valid <= 1.0,
            "the parts {train} to train on and {valid} to validate with must be above 0 and together at most 1"
        );
        let count = self.count();
        let generator = Randomness::new(seed).generator(Stream::Splitting, 0, 0);
        let order = Tensor::from_slice(&permutation(generator, count as usize));
        let end = |share: f64| ((count as f64 * share).round() as i64).min(count);
        let (first, second) = (end(train), end(train + valid));
        ensure!(first > 0 && second > first, "{count} examples are too few to be split into {train} and {valid}");
        let part = |start: i64, end: i64| self.select(&order.narrow(0, start, end - start));
        let data = Data::new(part(0, first), part(first, second));
        Ok(if second < count { data.with_test(part(second, count)) } else { data })
    }
}

/// The parts of a data set. The test part can be given, and is out of reach of training: only a final evaluation, which
/// is logged, may look at it (Playbook F8).
#[derive(Debug)]
pub struct Data {
    /// To train on.
    pub train: Examples,
    /// To be judged by.
    pub valid: Examples,
    test: Option<Examples>,
}

impl Data {
    /// Parts to train on and to validate with.
    pub fn new(train: Examples, valid: Examples) -> Self {
        Self { train, valid, test: None }
    }

    /// With a part for the final evaluation.
    pub fn with_test(self, test: Examples) -> Self {
        Self { test: Some(test), ..self }
    }

    /// The part for the final evaluation, for the one who logs its use.
    pub(crate) fn test(&self) -> Option<&Examples> {
        self.test.as_ref()
    }

    /// Each input feature less its mean, over its standard deviation, both of the training part.
    pub fn standardized(self) -> Self {
        let (deviation, mean) = {
            let train = self.train.inputs.to_kind(Kind::Float);
            let (variance, mean) = train.var_mean_dim(0, false, true);
            (variance.sqrt().clamp_min(1e-8), mean)
        };
        let scale = |examples: Examples| Examples {
            inputs: (examples.inputs.to_kind(Kind::Float) - &mean) / &deviation,
            targets: examples.targets,
        };
        Self { train: scale(self.train), valid: scale(self.valid), test: self.test.map(scale) }
    }

    /// Training with the first `count` examples alone.
    pub fn first(self, count: i64) -> Self {
        Self { train: self.train.first(count), ..self }
    }

    /// What training would stumble over is named now: numbers that are not finite, classes below 0, empty parts.
    pub(crate) fn checked(self) -> Result<Self> {
        for (name, part) in [("training", &self.train), ("validation", &self.valid)] {
            if part.count() == 0 {
                bail!("the {name} part of the data is empty");
            }
            for (what, tensor) in [("inputs", &part.inputs), ("targets", &part.targets)] {
                let numbers = matches!(tensor.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16);
                if numbers && bool::try_from(tensor.isfinite().all()).is_ok_and(|finite| !finite) {
                    let bad = tensor.isfinite().logical_not();
                    let count = i64::try_from(bad.sum(Kind::Int64)).unwrap_or(0);
                    let first = i64::try_from(bad.flatten(0, -1).to_kind(Kind::Int64).argmax(None, false)).unwrap_or(0);
                    let row = first / (tensor.numel() as i64 / part.count()).max(1);
                    bail!("{count} numbers of the {name} {what} are NaN or infinite, the first in example {row}");
                }
            }
            if part.targets.kind() == Kind::Int64 {
                let least = i64::try_from(part.targets.min()).context("classes")?;
                ensure!(least >= 0, "a class of the {name} part is {least}; classes count from 0");
            }
        }
        Ok(self)
    }

    /// A class that the model has no output for.
    pub(crate) fn classes_fit(&self, outputs: i64) -> Result<()> {
        for (name, part) in [("training", &self.train), ("validation", &self.valid)] {
            let most = i64::try_from(part.targets.max()).unwrap_or(0);
            ensure!(
                most < outputs,
                "the {name} part has class {most}, and the model has {outputs} outputs (classes 0 to {})",
                outputs - 1
            );
        }
        Ok(())
    }

    pub(crate) fn to_device(&self, device: Device) -> Self {
        // The test part stays where it is until it is asked for.
        let test = self.test.as_ref().map(|test| test.narrow(0, test.count()));
        Self { train: self.train.to_device(device), valid: self.valid.to_device(device), test }
    }
}

/// Pixels 0–255 as numbers 0–1.
pub fn scaled(pixels: &Tensor) -> Tensor {
    pixels.to_kind(Kind::Float) / 255.0
}
