//! Data sets: their training, validation and test parts, and functions that read the usual file formats.

pub mod cifar;
pub mod digits;
mod examples;
pub mod fashion;
pub mod idx;
mod numpy;
mod source;
mod table;
pub mod text;

pub use examples::Examples;
pub use numpy::{npy, npz, safetensors};
pub use source::{missing, read};
pub(crate) use source::{recorded, start_recording};
pub use table::Table;

use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};

/// The parts of a data set: training, validation and, optionally, test examples.
///
/// Training cannot reach the test part. Only `%final` evaluates a model on it, and records each use (Playbook F8).
///
/// ```
/// # use tunebook_training::prelude::*;
/// # fn data() -> Result<Data> {
/// let (train, test) = mnist_folder("fashion-mnist")?;
/// Ok(Data::new(train.first(54_000), train.narrow(54_000, 6_000)).with_test(test))
/// # }
/// ```
#[derive(Debug)]
pub struct Data {
    /// The training examples.
    pub train: Examples,
    /// The validation examples, on which the metrics `valid/…` are computed.
    pub valid: Examples,
    test: Option<Examples>,
}

impl Data {
    /// Combines training and validation examples, without a test part.
    pub fn new(train: Examples, valid: Examples) -> Self {
        Self { train, valid, test: None }
    }

    /// Adds a test part, which only `%final` can use.
    pub fn with_test(self, test: Examples) -> Self {
        Self { test: Some(test), ..self }
    }

    /// Returns the test part. Its only caller is the final evaluation, each use of which is recorded.
    pub(crate) fn test(&self) -> Option<&Examples> {
        self.test.as_ref()
    }

    /// Standardizes the inputs of all parts: x ← (x − mean) / deviation. Mean and standard deviation of each feature
    /// are those of the training part; a deviation below 10⁻⁸ counts as 10⁻⁸. The inputs become float32.
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

    /// Keeps only the first `count` training examples. The other parts stay whole.
    pub fn first(self, count: i64) -> Self {
        Self { train: self.train.first(count), ..self }
    }

    /// Checks the training and validation parts, so that training does not stumble over them later. It fails if a part
    /// is empty, if a number is NaN or infinite, or if a class index is below 0.
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
                let least = i64::try_from(part.targets.min()).context("the classes cannot be read")?;
                ensure!(least >= 0, "a class of the {name} part is {least}; classes count from 0");
            }
        }
        Ok(self)
    }

    /// Checks that a model with this number of outputs has one for each class.
    pub(crate) fn check_classes(&self, outputs: i64) -> Result<()> {
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

    /// Copies the training and validation parts to a device. The test part stays where it is.
    pub(crate) fn to_device(&self, device: Device) -> Self {
        let test = self.test.as_ref().map(|test| test.narrow(0, test.count()));
        Self { train: self.train.to_device(device), valid: self.valid.to_device(device), test }
    }
}

/// Converts pixels 0–255 of any type to float32 numbers 0–1.
pub fn scaled(pixels: &Tensor) -> Tensor {
    pixels.to_kind(Kind::Float) / 255.0
}
