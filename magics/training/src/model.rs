//! A workload's model with its parameters: what the trainer trains, and what a checkpoint gives back.

use crate::checkpoint;
use crate::hyperparameters::Hyperparameters;
use crate::net::{Net, Parameters, Phase};
use crate::randomness::Randomness;
use crate::workload::Workload;
use anyhow::Result;
use std::cell::RefCell;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A model.
pub struct Model<'w> {
    workload: &'w dyn Workload,
    hp: Hyperparameters,
    parameters: RefCell<Parameters>,
    randomness: Randomness,
    device: Device,
}

impl<'w> Model<'w> {
    /// A model with fresh parameters. `sample`: a few inputs, whose shape the layers adapt to.
    pub fn new(
        workload: &'w dyn Workload,
        hp: Hyperparameters,
        randomness: Randomness,
        device: Device,
        sample: &Tensor,
    ) -> Self {
        let model = Self { workload, hp, parameters: RefCell::default(), randomness, device };
        let _ = tch::no_grad(|| model.forward(&model.net(Phase::Initialize), sample));
        model
    }

    /// One call of its forward.
    pub fn net(&self, phase: Phase) -> Net<'_> {
        Net::new(&self.hp, &self.parameters, self.randomness, self.device, phase)
    }

    /// Outputs in float32, whatever they were computed in.
    pub fn forward(&self, net: &Net, inputs: &Tensor) -> Tensor {
        match net.is_training() {
            true => self.forward_as_it_is(net, &self.workload.augment(net, inputs)),
            false => self.forward_as_it_is(net, inputs),
        }
    }

    /// The same without augmentation.
    pub(crate) fn forward_as_it_is(&self, net: &Net, inputs: &Tensor) -> Tensor {
        let outputs = self.workload.forward(net, inputs);
        match outputs.kind() {
            Kind::BFloat16 | Kind::Half => outputs.to_kind(Kind::Float),
            _ => outputs,
        }
    }

    /// Outputs for inputs, as in an evaluation: no dropout, no gradients.
    pub fn predict(&self, inputs: &Tensor) -> Tensor {
        tch::no_grad(|| self.forward(&self.net(Phase::Evaluate), &inputs.to_device(self.device)))
    }

    /// Puts the parameters and buffers of a checkpoint into it.
    pub fn load(&self, path: &Path) -> Result<()> {
        let parameters = self.parameters.borrow();
        checkpoint::restore(&checkpoint::read(path)?, parameters.named(), &path.display().to_string())
    }

    /// Its hyperparameters.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hp
    }

    /// Its parameters.
    pub fn parameters(&self) -> std::cell::Ref<'_, Parameters> {
        self.parameters.borrow()
    }
}
