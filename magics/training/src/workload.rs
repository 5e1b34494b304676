//! What can be trained.

use crate::hyperparameters::Hyperparameters;
use crate::randomness::Randomness;
use tch::{Device, Tensor};
use tunebook_study::WorkloadDescription;

/// Examples with their labels.
pub struct Batch {
    /// One example a row of the first dimension, f32.
    pub inputs: Tensor,
    /// Class of each, i64.
    pub labels: Tensor,
}

/// The data of a workload, on the device. There is no test set in it: only an explicit final evaluation may load that.
pub struct Split {
    /// To train on.
    pub train: Batch,
    /// To be judged by.
    pub valid: Batch,
}

/// A classifier and its data.
///
/// The parameters are apart from the forward: they are made by one function and handed to the other, so that the same
/// forward can be called with the stacked parameters of many trials. A forward draws no randomness of its own.
pub trait Workload: Sync {
    /// What it says of itself.
    fn description(&self) -> WorkloadDescription;

    /// Its data on a device.
    fn data(&self, device: Device) -> Result<Split, String>;

    /// Freshly initialized parameters by name, in the order in which `forward` takes them.
    fn parameters(&self, hp: &Hyperparameters, randomness: &Randomness, device: Device) -> Vec<(String, Tensor)>;

    /// Logits \[batch, classes\] of inputs \[batch, …\].
    fn forward(&self, hp: &Hyperparameters, parameters: &[Tensor], inputs: &Tensor) -> Tensor;
}
