//! The argument of a forward pass: parameters by name, the trial's hyperparameters, and random numbers by key.
//!
//! A layer is declared where it is used, as in Flax's compact modules. The first call of a forward pass creates the
//! parameters that it names; every later call looks them up. One function thus defines the initialization, the forward
//! pass and the list of parameters.

mod layers;
mod parameters;

pub use layers::Convolution;
pub use parameters::{Init, Parameters};

use crate::hyperparameters::{FromValue, Hyperparameters};
use crate::randomness::{Randomness, Stream, layer_key};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tch::{Device, Kind, Tensor, nn};

/// The purpose of one forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Create the parameters.
    Initialize,
    /// Compute the loss of a training step.
    Train {
        /// The number of the step, from 1.
        step: u64,
    },
    /// Evaluate the model.
    Evaluate,
}

/// The argument of a forward pass, which declares its layers and parameters on it and reads hyperparameters from it.
///
/// ```
/// # use tunebook_training::prelude::*;
/// # fn forward(net: &Net, x: &Tensor) -> Tensor {
/// let x = net.linear("hidden", x, net.get("hidden_units")).relu();
/// net.linear("logits", &net.dropout(&x), 10)
/// # }
/// ```
///
/// Each layer needs a name of its own, and each call must declare the same layers.
pub struct Net<'a> {
    hp: &'a Hyperparameters,
    parameters: &'a RefCell<Parameters>,
    randomness: Randomness,
    device: Device,
    phase: Phase,
    /// The index of the parameter that the forward pass most likely asks for next.
    next: Cell<usize>,
    /// How many layers have drawn random numbers in this call.
    drawn: Cell<u64>,
    /// The number of the micro-batch within its step, from 0.
    micro_batch: u64,
}

impl<'a> Net<'a> {
    /// Prepares one forward pass on these parameters.
    pub fn new(
        hp: &'a Hyperparameters,
        parameters: &'a RefCell<Parameters>,
        randomness: Randomness,
        device: Device,
        phase: Phase,
    ) -> Self {
        Self { hp, parameters, randomness, device, phase, next: Cell::new(0), drawn: Cell::new(0), micro_batch: 0 }
    }

    /// Gives the forward pass of another micro-batch random numbers of its own. The number counts from 0 in each step.
    pub(crate) fn micro_batch(mut self, number: u64) -> Self {
        self.micro_batch = number;
        self
    }

    /// Returns the value of a hyperparameter in the type that is asked for: a float, an integer, `bool` or `String`.
    /// Use it for hyperparameters that decide shapes or code.
    ///
    /// It panics if the workload declares no hyperparameter of this name, or if the value does not fit the type.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(net: &Net) {
    /// let units: i64 = net.get("hidden_units");
    /// # }
    /// ```
    #[track_caller]
    pub fn get<T: FromValue>(&self, name: &str) -> T {
        self.hp.get(name)
    }

    /// Returns the value of a numeric hyperparameter as a scalar tensor (float32). Use it for hyperparameters that
    /// enter the arithmetic, so that trials which differ in them could share one step.
    ///
    /// It panics if the workload declares no hyperparameter of this name, or if its value is not a number.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(net: &Net, x: &Tensor) -> Tensor {
    /// x * net.value("temperature")
    /// # }
    /// ```
    #[track_caller]
    pub fn value(&self, name: &str) -> Tensor {
        Tensor::from(self.hp.get::<f64>(name)).to_kind(Kind::Float).to_device(self.device)
    }

    /// Returns the device on which the model computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns whether this is the forward pass of a training step, in which dropout is on and a batch norm uses the
    /// statistics of its batch.
    pub fn is_training(&self) -> bool {
        matches!(self.phase, Phase::Train { .. })
    }

    /// Returns the purpose of this forward pass.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns a trainable parameter (float32) of the given shape. The first forward pass creates it from `init`.
    ///
    /// It panics if another parameter has this name, or if it was not declared in the first forward pass. Layers name
    /// their parameters `LAYER.weight` and `LAYER.bias`.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(net: &Net, x: &Tensor) -> Tensor {
    /// let mixing = net.parameter("mixing", &[16, 16], Init::He { fan_in: 16 });
    /// x.matmul(&mixing)
    /// # }
    /// ```
    pub fn parameter(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        if self.phase == Phase::Initialize {
            let key = layer_key(name);
            let tensor = match init {
                Init::Constant(value) => Tensor::full(shape, value, (Kind::Float, self.device)),
                Init::He { fan_in } => {
                    self.randomness.uniform(key, shape, (6.0 / fan_in.max(1) as f64).sqrt(), self.device)
                }
                Init::Normal { deviation } => self.randomness.normal(key, shape, deviation, self.device),
            };
            self.parameters.borrow_mut().declare(name, tensor);
        }
        self.find(name)
    }

    fn find(&self, name: &str) -> Tensor {
        let parameters = self.parameters.borrow();
        let expected = self.next.get();
        let index = if parameters.names.get(expected).is_some_and(|next| next == name) {
            expected
        } else {
            *parameters.index.get(name).unwrap_or_else(|| {
                panic!("the first forward pass did not declare `{name}`; every call must declare the same layers")
            })
        };
        self.next.set(index + 1);
        parameters.tensors[index].shallow_clone()
    }

    /// Returns a buffer (float32): a tensor that is saved with the parameters but not trained. The first call creates
    /// it, filled with `value`; a forward pass may change it in place.
    pub fn buffer(&self, name: &str, shape: &[i64], value: f64) -> Tensor {
        let mut parameters = self.parameters.borrow_mut();
        if let Some((_, buffer)) = parameters.buffers.iter().find(|(known, _)| known == name) {
            return buffer.shallow_clone();
        }
        let buffer = Tensor::full(shape, value, (Kind::Float, self.device));
        parameters.buffers.push((name.into(), buffer.shallow_clone()));
        buffer
    }

    /// Returns a module of `tch::nn`, which `make` creates in the first forward pass. Its variables are trained and
    /// saved like other parameters, under `NAME.VARIABLE`.
    ///
    /// It panics if the first forward pass did not declare a module of this name and type.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(net: &Net, x: &Tensor) -> Tensor {
    /// let block = net.module("block", |vs| nn::linear(vs, 64, 10, Default::default()));
    /// x.apply(block.as_ref())
    /// # }
    /// ```
    pub fn module<M: 'static>(&self, name: &str, make: impl FnOnce(&nn::Path) -> M) -> Rc<M> {
        if self.phase == Phase::Initialize {
            self.randomness.seed_device(Stream::Initialization, 0, layer_key(name));
            let store = nn::VarStore::new(self.device);
            let module: Rc<M> = Rc::new(make(&store.root()));
            let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
            variables.sort_by(|a, b| a.0.cmp(&b.0));
            let mut parameters = self.parameters.borrow_mut();
            for (variable, tensor) in variables {
                let name = format!("{name}.{variable}");
                match tensor.requires_grad() {
                    true => parameters.declare(&name, tensor),
                    false => parameters.buffers.push((name, tensor)),
                }
            }
            parameters.modules.insert(name.into(), module);
        }
        let module = self.parameters.borrow().modules.get(name).cloned();
        module.and_then(|module| module.downcast().ok()).unwrap_or_else(|| {
            panic!(
                "the first forward pass declared no module `{name}` of this type; every call must declare the same \
                    modules"
            )
        })
    }

    /// Starts the training from weights of a safetensors file: the parameters and buffers that were declared before
    /// this call, and whose name the file has, get the values that stand there. Call it after the layers. It works in
    /// the first forward pass and does nothing in later ones. A relative path starts in the kernel's folder.
    ///
    /// It panics if the file cannot be read, if it has none of the names, or if a shape differs.
    ///
    /// ```no_run
    /// # use tunebook_training::prelude::*;
    /// # fn f(net: &Net, x: &Tensor) -> Tensor {
    /// let x = net.linear("encoder", x, 64).relu();
    /// net.load("pretrained.safetensors"); // it has `encoder.weight` and `encoder.bias`
    /// net.linear("logits", &x, 10)
    /// # }
    /// ```
    #[track_caller]
    pub fn load(&self, path: impl AsRef<std::path::Path>) {
        if self.phase != Phase::Initialize {
            return;
        }
        let path = path.as_ref();
        let found = crate::data::read_recorded(path).and_then(|_| crate::checkpoint::read(path));
        let found = found.unwrap_or_else(|error| panic!("{error:#}"));
        let parameters = self.parameters.borrow();
        let known: Vec<(&str, &Tensor)> = parameters.named().filter(|(name, _)| found.contains_key(*name)).collect();
        if known.is_empty() {
            let names = |all: &mut dyn Iterator<Item = &str>| all.take(8).collect::<Vec<_>>().join(", ");
            panic!(
                "{} has none of the parameters that were declared before this call ({}); it has {}",
                path.display(),
                names(&mut parameters.named().map(|(name, _)| name)),
                names(&mut found.keys().map(String::as_str))
            );
        }
        if let Err(error) = crate::checkpoint::restore(&found, known.into_iter(), &path.display().to_string()) {
            panic!("{error:#}");
        }
    }

    /// Seeds libtorch's generators for the random numbers that a layer draws next. The key is the stream, the step, the
    /// number of draws before this one in the forward pass, and the micro-batch.
    fn seed(&self, stream: Stream) {
        let drawn = self.drawn.get();
        self.drawn.set(drawn + 1);
        let step = if let Phase::Train { step } = self.phase { step } else { 0 };
        self.randomness.seed_device(stream, step, drawn << 32 | self.micro_batch);
    }
}
