//! The model of a workload: its forward pass together with its parameters.

use crate::checkpoint;
use crate::hyperparameters::Hyperparameters;
use crate::net::{Net, Parameters, Phase};
use crate::randomness::Randomness;
use crate::workload::Workload;
use anyhow::Result;
use std::cell::RefCell;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A workload's forward pass with the parameters that it has created.
pub struct Model<'w> {
    workload: &'w dyn Workload,
    hp: Hyperparameters,
    parameters: RefCell<Parameters>,
    randomness: Randomness,
    device: Device,
}

impl<'w> Model<'w> {
    /// Creates a model with initial parameters. `sample` holds a few inputs \[count, …\] on `device`, to whose shape
    /// the layers adapt.
    pub fn new(
        workload: &'w dyn Workload,
        hp: Hyperparameters,
        randomness: Randomness,
        device: Device,
        sample: &Tensor,
    ) -> Self {
        let model = Self { workload, hp, parameters: RefCell::default(), randomness, device };
        // A guard, because a panic would leave gradients off for the next trial.
        let _no_gradients = tch::no_grad_guard();
        let _ = model.forward(&model.net(Phase::Initialize), sample);
        model
    }

    /// Prepares one forward pass on the parameters of this model.
    pub fn net(&self, phase: Phase) -> Net<'_> {
        Net::new(&self.hp, &self.parameters, self.randomness, self.device, phase)
    }

    /// Computes the outputs for inputs on the model's device, in training after augmentation. Outputs in bfloat16 or
    /// float16 are converted to float32.
    pub fn forward(&self, net: &Net, inputs: &Tensor) -> Tensor {
        match net.is_training() {
            true => self.forward_without_augmentation(net, &self.workload.augment(net, inputs)),
            false => self.forward_without_augmentation(net, inputs),
        }
    }

    pub(crate) fn forward_without_augmentation(&self, net: &Net, inputs: &Tensor) -> Tensor {
        let outputs = self.workload.forward(net, inputs);
        match outputs.kind() {
            Kind::BFloat16 | Kind::Half => outputs.to_kind(Kind::Float),
            _ => outputs,
        }
    }

    /// Returns the outputs for a batch of inputs on any device, computed as in an evaluation: without dropout,
    /// augmentation or gradients.
    pub fn predict(&self, inputs: &Tensor) -> Tensor {
        let _no_gradients = tch::no_grad_guard();
        self.forward(&self.net(Phase::Evaluate), &inputs.to_device(self.device))
    }

    /// Replaces the values of all parameters and buffers by those of a checkpoint. It fails if the checkpoint cannot be
    /// read, or lacks one of them in its shape.
    pub fn load(&self, path: &Path) -> Result<()> {
        let parameters = self.parameters.borrow();
        checkpoint::restore(&checkpoint::read(path)?, parameters.named(), &path.display().to_string())
    }

    /// Returns the hyperparameters of the model.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hp
    }

    /// Returns the parameters and buffers of the model.
    pub fn parameters(&self) -> std::cell::Ref<'_, Parameters> {
        self.parameters.borrow()
    }
}
