//! What a forward is handed: its parameters by name, the trial's hyperparameters, and randomness by key.
//!
//! A layer is declared where it is used, as in Flax's compact modules: the first call of a forward makes the parameters that
//! it names, every later one looks them up. So one function gives initialization, forward and the list of parameters.

mod layers;

pub use layers::Convolution;

use crate::hyperparameters::{FromValue, Hyperparameters};
use crate::randomness::{Randomness, Stream, layer_key};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tch::{Device, Kind, Tensor, nn};

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f64),
    /// Uniform over ±√(6 / fan-in) (He et al. 2015).
    He {
        /// Inputs that each output sums over.
        fan_in: i64,
    },
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        deviation: f64,
    },
}

/// The parameters of a model by name, in the order in which its forward declares them, and its buffers: what it keeps
/// beside them, such as the running statistics of a batch norm.
#[derive(Default)]
pub struct Parameters {
    pub(crate) names: Vec<String>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) buffers: Vec<(String, Tensor)>,
    index: HashMap<String, usize>,
    modules: HashMap<String, Rc<dyn Any>>,
}

impl Parameters {
    /// The parameters.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// How many numbers they hold.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(Tensor::numel).sum()
    }

    /// Parameters and buffers by name.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let parameters = self.names.iter().map(String::as_str).zip(&self.tensors);
        parameters.chain(self.buffers.iter().map(|(name, buffer)| (name.as_str(), buffer)))
    }

    fn declare(&mut self, name: &str, tensor: Tensor) {
        if self.index.contains_key(name) {
            panic!("two layers bear the name `{name}`; give each a name of its own");
        }
        self.index.insert(name.into(), self.tensors.len());
        self.names.push(name.into());
        self.tensors.push(tensor.set_requires_grad(true));
    }
}

/// What a forward is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To make its parameters.
    Initialize,
    /// To be trained; the step counts from 1.
    Train {
        /// The step.
        step: u64,
    },
    /// To be evaluated.
    Evaluate,
}

/// One call of a forward.
pub struct Net<'a> {
    hp: &'a Hyperparameters,
    parameters: &'a RefCell<Parameters>,
    randomness: Randomness,
    device: Device,
    phase: Phase,
    /// Which parameter the forward most likely asks for next.
    next: Cell<usize>,
    /// Layers that drew randomness so far.
    drawn: Cell<u64>,
    /// Which part of a batch this call has, where a step takes several.
    part: u64,
}

impl<'a> Net<'a> {
    /// A call with these parameters.
    pub fn new(
        hp: &'a Hyperparameters,
        parameters: &'a RefCell<Parameters>,
        randomness: Randomness,
        device: Device,
        phase: Phase,
    ) -> Self {
        Self { hp, parameters, randomness, device, phase, next: Cell::new(0), drawn: Cell::new(0), part: 0 }
    }

    /// The same for a part of a step's batch.
    pub(crate) fn part(mut self, part: u64) -> Self {
        self.part = part;
        self
    }

    /// The value of a hyperparameter that decides shapes or code: `let units: i64 = net.get("hidden_units");`.
    #[track_caller]
    pub fn get<T: FromValue>(&self, name: &str) -> T {
        self.hp.get(name)
    }

    /// The value of a hyperparameter that enters the arithmetic, as a scalar tensor: trials that differ in it can share a
    /// step.
    #[track_caller]
    pub fn value(&self, name: &str) -> Tensor {
        Tensor::from(self.hp.get::<f64>(name)).to_kind(Kind::Float).to_device(self.device)
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether dropout, augmentation and the statistics of batches are on.
    pub fn is_training(&self) -> bool {
        matches!(self.phase, Phase::Train { .. })
    }

    /// What the forward is called for.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// A parameter of a shape. The parts of a name are joined by points: `hidden.weight`.
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
                panic!("the layer `{name}` was not there when the model was made; a forward must always use the same layers")
            })
        };
        self.next.set(index + 1);
        parameters.tensors[index].shallow_clone()
    }

    /// A tensor that is kept beside the parameters and saved with them, but not trained.
    pub fn buffer(&self, name: &str, shape: &[i64], value: f64) -> Tensor {
        let mut parameters = self.parameters.borrow_mut();
        if let Some((_, buffer)) = parameters.buffers.iter().find(|(known, _)| known == name) {
            return buffer.shallow_clone();
        }
        let buffer = Tensor::full(shape, value, (Kind::Float, self.device));
        parameters.buffers.push((name.into(), buffer.shallow_clone()));
        buffer
    }

    /// Any module of `tch::nn`, made once: `net.module("block", |vs| nn::linear(vs, 64, 10, Default::default()))`. Its
    /// variables are trained and saved with the others. Such a model cannot share a step with other trials.
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
        module
            .and_then(|module| module.downcast().ok())
            .unwrap_or_else(|| panic!("the module `{name}` was not there, or of another type, when the model was made"))
    }

    /// The generators of libtorch, seeded for what this layer draws next.
    fn seed(&self, stream: Stream) {
        let drawn = self.drawn.get();
        self.drawn.set(drawn + 1);
        let step = if let Phase::Train { step } = self.phase { step } else { 0 };
        self.randomness.seed_device(stream, step, drawn << 32 | self.part);
    }
}
