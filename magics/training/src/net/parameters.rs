//! The parameters of a model, and how each of them is initialized.

use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;
use tch::Tensor;

/// The distribution from which the initial values of a parameter are drawn.
///
/// ```
/// # use tunebook_training::prelude::*;
/// # fn scale(net: &Net, x: &Tensor) -> Tensor {
/// let scale = net.parameter("scale", &[64], Init::Constant(1.0));
/// x * scale
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All values are this number.
    Constant(f64),
    /// Uniform in \[−b, b\] with b = √(6 / fan-in), the initialization for ReLU (He et al. 2015).
    He {
        /// The number of inputs that each output sums over.
        fan_in: i64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        deviation: f64,
    },
}

/// The parameters of a model by name, in the order in which its forward pass declares them, and its buffers: tensors
/// that are saved but not trained, such as the running statistics of a batch norm.
#[derive(Default)]
pub struct Parameters {
    pub(crate) names: Vec<String>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) buffers: Vec<(String, Tensor)>,
    pub(super) index: HashMap<String, usize>,
    pub(super) modules: HashMap<String, Rc<dyn Any>>,
}

impl Parameters {
    /// Returns the parameters without the buffers.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns how many numbers the parameters hold, without the buffers.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(Tensor::numel).sum()
    }

    /// Iterates over the parameters and then the buffers, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let parameters = self.names.iter().map(String::as_str).zip(&self.tensors);
        parameters.chain(self.buffers.iter().map(|(name, buffer)| (name.as_str(), buffer)))
    }

    /// Adds a parameter. It panics if the name is taken.
    pub(super) fn declare(&mut self, name: &str, tensor: Tensor) {
        if self.index.contains_key(name) {
            panic!("two layers have the name `{name}`; give each layer its own name");
        }
        self.index.insert(name.into(), self.tensors.len());
        self.names.push(name.into());
        self.tensors.push(tensor.set_requires_grad(true));
    }
}
