//! Data sets: their training, validation and test parts, and functions that read the usual file formats.

pub mod cifar;
pub mod digits;
mod examples;
pub mod fashion;
pub mod idx;
mod kept;
mod numpy;
mod rows;
mod scale;
mod source;
mod table;
pub mod text;

pub use examples::Examples;
pub use numpy::{npy, npz, safetensors};
pub use rows::Predictions;
pub(crate) use scale::Scale;
pub(crate) use source::{FileState, read_recorded, recorded, recorded_states, start_recording};
pub use source::{missing, read};
pub use table::{ColumnNames, Fill, Table};
pub(crate) use table::{Encoding, Target};

use self::scale::short;
use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};

/// What to do about targets that are far from the outputs of a new model.
const ADVICE: &str = "`.standardized_targets()` on the data has the model learn them with mean 0 and deviation 1, and reports metrics in \
     their unit";

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
    /// How the inputs were standardized.
    standardization: Option<Scale>,
    /// How the targets were standardized.
    target_scale: Option<Scale>,
    /// What was done to the data, in sentences.
    notes: Vec<String>,
}

impl Data {
    /// Combines training and validation examples, without a test part.
    pub fn new(train: Examples, valid: Examples) -> Self {
        Self { train, valid, test: None, standardization: None, target_scale: None, notes: vec![] }
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
    /// are those of the training part. A feature that is constant there is divided by 1, and the cell that defines the
    /// workload names it. The inputs become float32.
    pub fn standardized(mut self) -> Self {
        let scale = Scale::of(&self.train.inputs);
        let constant = constant_features(&self.train);
        if !constant.is_empty() {
            self.notes.push(format!("Constant in the training part, so they teach nothing: {}.", shortened(&constant)));
        }
        let scaled = |examples: &Examples| examples.map(|inputs| scale.apply(inputs), Tensor::shallow_clone);
        let (train, valid, test) = (scaled(&self.train), scaled(&self.valid), self.test.as_ref().map(scaled));
        Self { train, valid, test, standardization: Some(scale), ..self }
    }

    /// Standardizes the targets of a regression: y ← (y − mean) / deviation, with mean and standard deviation of the
    /// training part. The model learns the standardized targets, and `train/loss` is theirs. The metrics `valid/…` and
    /// `test/…`, their loss included, are computed in the original unit. The targets become float32.
    pub fn standardized_targets(self) -> Self {
        let scale = Scale::of(&self.train.targets);
        let scaled = |examples: &Examples| examples.map(Tensor::shallow_clone, |targets| scale.apply(targets));
        let (train, valid, test) = (scaled(&self.train), scaled(&self.valid), self.test.as_ref().map(scaled));
        Self { train, valid, test, target_scale: Some(scale), ..self }
    }

    /// How the inputs were standardized.
    pub(crate) fn standardization(&self) -> Option<&Scale> {
        self.standardization.as_ref()
    }

    /// How the targets were standardized.
    pub(crate) fn target_scale(&self) -> Option<&Scale> {
        self.target_scale.as_ref()
    }

    /// What the cell that defines the workload says about the data, in sentences.
    pub(crate) fn description(&self) -> Vec<String> {
        let table = self.train.encoding().map(|encoding| encoding.description.clone()).unwrap_or_default();
        table.into_iter().chain(self.notes.iter().cloned()).chain(self.about_targets()).collect()
    }

    /// Says which mean and deviation the targets of a regression have, and what to do if a model with small outputs is
    /// far from them. None for classification.
    fn about_targets(&self) -> Option<String> {
        let (mean, deviation) = self.mean_of_targets()?;
        let is = format!("The training targets have the mean {} and the deviation {}", short(mean), short(deviation));
        Some(match self.is_far() {
            _ if self.target_scale.is_some() => format!("{is}; they are trained on as 0 and 1."),
            true => format!("{is}; {ADVICE}."),
            false => format!("{is}."),
        })
    }

    /// What to do about targets with which the loss of a regression explodes. None for classification, and for targets
    /// that a model can start from.
    pub(crate) fn advice_on_targets(&self) -> Option<String> {
        self.is_far().then(|| self.about_targets()).flatten()
    }

    /// Whether the outputs of a new model, which are about 1, are far from the targets.
    fn is_far(&self) -> bool {
        let far = |(mean, deviation): (f64, f64)| mean.abs() > 10.0 || deviation > 10.0;
        self.target_scale.is_none() && self.mean_of_targets().is_some_and(far)
    }

    /// Mean and deviation of the training targets in their original unit. None for classification.
    fn mean_of_targets(&self) -> Option<(f64, f64)> {
        let targets = &self.train.targets;
        if !targets.is_floating_point() || targets.numel() == 0 {
            return None;
        }
        let targets = self.target_scale.as_ref().map_or(targets.shallow_clone(), |scale| scale.undo(targets));
        let (deviation, mean) = targets.to_kind(Kind::Double).std_mean(false);
        Some((f64::try_from(mean).ok()?, f64::try_from(deviation).ok()?))
    }

    /// Keeps only the first `count` training examples. The other parts stay whole.
    pub fn first(self, count: i64) -> Self {
        Self { train: self.train.first(count), ..self }
    }

    /// Keeps only the first `count` training and validation examples, and no test part.
    pub fn few(&self, count: i64) -> Self {
        let scale = |scale: &Option<Scale>| scale.as_ref().map(|scale| scale.to_device(Device::Cpu));
        Self {
            train: self.train.first(count),
            valid: self.valid.first(count),
            test: None,
            standardization: scale(&self.standardization),
            target_scale: scale(&self.target_scale),
            notes: vec![],
        }
    }

    /// Checks the training and validation parts, so that training does not stumble over them later. It fails if a part
    /// is empty, if a number is NaN or infinite, if a class index is below 0, or if classes were standardized.
    pub(crate) fn checked(self) -> Result<Self> {
        let is_classes = self.train.encoding().is_some_and(|encoding| matches!(encoding.target, Target::Classes(_)));
        ensure!(
            !(is_classes && self.target_scale.is_some()),
            "the targets are classes, which have no mean and deviation; leave out `.standardized_targets()`, or read the \
             target with `.regress(…)`"
        );
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
        let scale = |scale: &Option<Scale>| scale.as_ref().map(|scale| scale.to_device(device));
        Self {
            train: self.train.to_device(device),
            valid: self.valid.to_device(device),
            test,
            standardization: scale(&self.standardization),
            target_scale: scale(&self.target_scale),
            notes: self.notes.clone(),
        }
    }
}

/// The names of the features that have one value in all examples: of a table's columns, otherwise `feature 3`, counted
/// from 0.
fn constant_features(examples: &Examples) -> Vec<String> {
    let inputs = examples.inputs.flatten(1, -1);
    let constant = inputs.amax(0, false).eq_tensor(&inputs.amin(0, false));
    let marks = Vec::<bool>::try_from(constant).unwrap_or_default();
    let names = examples.encoding().map(Encoding::feature_names).unwrap_or_default();
    let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| format!("feature {i}"));
    (0..marks.len()).filter(|i| marks[*i]).map(name).collect()
}

/// A list of names, cut after ten.
fn shortened(names: &[String]) -> String {
    match names.len() {
        n if n > 10 => format!("{} and {} more", names[..10].join(", "), n - 10),
        _ => names.join(", "),
    }
}

/// Converts pixels 0–255 of any type to float32 numbers 0–1.
pub fn scaled(pixels: &Tensor) -> Tensor {
    pixels.to_kind(Kind::Float) / 255.0
}
