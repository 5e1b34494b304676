//! The hyperparameters of one trial, read by name and type.

mod shared;
mod value;

pub use shared::shared;
pub use value::FromValue;

use crate::libtorch::Precision;
use crate::optimizer::Rule;
use crate::schedule::{Schedule, Shape};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tunebook_study::workload::ValueError;
use tunebook_study::{Params, Value, WorkloadDescription};

/// Why the values of a trial cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HyperparameterError {
    /// The workload declares no hyperparameter of this name.
    #[error("`{workload}` has no hyperparameter `{name}`")]
    Unknown { workload: String, name: String },
    /// The value has the wrong type or lies outside of the domain.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Two values exclude each other.
    #[error("{0}")]
    Conflict(String),
}

/// The hyperparameters of one trial. A hyperparameter that the study does not declare has its default value.
///
/// ```
/// # use tunebook_training::prelude::*;
/// # fn data(hp: &Hyperparameters) {
/// let classes: i64 = hp.get("classes");
/// let folder: String = hp.get("data");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Hyperparameters {
    values: Params,
    /// The names that `get` and `find` were asked for, also on clones. Those that `Workload::data` reads are what the
    /// data depend on.
    reads: Arc<Mutex<BTreeSet<String>>>,
}

impl Hyperparameters {
    /// Completes the values of a trial with the defaults of a workload.
    ///
    /// It fails if a name is unknown, if a value has the wrong type or lies outside of its domain, or if values
    /// conflict: `warmup_steps` above `steps`, or a batch that is not a multiple of its micro-batch.
    pub fn new(description: &WorkloadDescription, params: &Params) -> Result<Self, HyperparameterError> {
        let mut values: Params =
            description.hyperparameters.iter().map(|h| (h.name.clone(), h.default.clone())).collect();
        for (name, value) in params {
            let Some(known) = description.hyperparameter(name) else {
                let (workload, name) = (description.name.clone(), name.clone());
                return Err(HyperparameterError::Unknown { workload, name });
            };
            values.insert(name.clone(), known.accept(value)?);
        }
        let hyperparameters = Self { values, reads: Arc::default() };
        hyperparameters.check_conflicts()?;
        Ok(hyperparameters)
    }

    /// Checks the shared hyperparameters against each other. A training function may declare only some of them.
    fn check_conflicts(&self) -> Result<(), HyperparameterError> {
        let number = |name: &str| self.values.get(name).and_then(Value::as_i64);
        if let (Some(warmup), Some(steps)) = (number("warmup_steps"), number("steps"))
            && warmup > steps
        {
            let message = format!("warmup_steps ({warmup}) is more than steps ({steps}), which includes the warm-up");
            return Err(HyperparameterError::Conflict(message));
        }
        let batch = number("batch_size").unwrap_or(0);
        let micro = number("micro_batch_size").filter(|n| *n > 0).unwrap_or(batch);
        if micro > 0 && micro < batch && batch % micro != 0 {
            let message = format!("batch_size ({batch}) is not a multiple of micro_batch_size ({micro})");
            return Err(HyperparameterError::Conflict(message));
        }
        Ok(())
    }

    /// Returns the value of a hyperparameter in the type that is asked for: a float, an integer, `bool` or `String`.
    ///
    /// It panics if the workload declares no hyperparameter of this name, or if the value does not fit the type. The
    /// panic ends the trial as failed; `%%workload` finds such a mistake when it tries the workload for two steps.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(hp: &Hyperparameters) {
    /// let units: i64 = hp.get("hidden_units");
    /// # }
    /// ```
    #[track_caller]
    pub fn get<T: FromValue>(&self, name: &str) -> T {
        let Some(value) = self.read(name) else {
            let names: Vec<&str> = self.values.keys().map(String::as_str).collect();
            panic!("there is no hyperparameter `{name}`; the workload declares {}", names.join(", "));
        };
        T::from_value(value).unwrap_or_else(|| panic!("the hyperparameter `{name}` is {value}, not {}", T::TYPE))
    }

    /// Returns the value of a hyperparameter, or None if the workload does not declare it or the value does not fit the
    /// type.
    pub fn find<T: FromValue>(&self, name: &str) -> Option<T> {
        self.read(name).and_then(T::from_value)
    }

    /// Returns a value, which counts as read.
    fn read(&self, name: &str) -> Option<&Value> {
        let value = self.values.get(name)?;
        let mut reads = self.reads();
        if !reads.contains(name) {
            reads.insert(name.into());
        }
        Some(value)
    }

    /// Returns all values by name. All of them count as read.
    pub fn values(&self) -> &Params {
        self.reads().extend(self.values.keys().cloned());
        &self.values
    }

    /// Returns all values by name, for code that does not depend on them.
    pub(crate) fn known(&self) -> &Params {
        &self.values
    }

    /// Forgets which hyperparameters were read.
    pub(crate) fn forget_reads(&self) {
        self.reads().clear();
    }

    /// Returns the hyperparameters that were read since [`forget_reads`](Self::forget_reads), with their values.
    pub(crate) fn read_values(&self) -> Params {
        self.reads()
            .iter()
            .filter_map(|name| self.values.get_key_value(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Locks the set of names. No panic can leave it half changed, so a poisoned lock is used like any other.
    fn reads(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the update rule that `optimizer` names, with its hyperparameters.
    pub fn rule(&self) -> Rule {
        // A value counts as used once it is read, so only those of the rule are read.
        let gamma = || self.get("momentum");
        let (beta1, beta2, epsilon) = (|| self.get("beta1"), || self.get("beta2"), || self.get("epsilon"));
        match self.get::<String>("optimizer").as_str() {
            "sgd" => Rule::Sgd,
            "momentum" => Rule::Momentum { gamma: gamma() },
            "rmsprop" => Rule::RmsProp { rho: self.get("rho"), gamma: gamma(), epsilon: epsilon() },
            "adam" => Rule::Adam { beta1: beta1(), beta2: beta2(), epsilon: epsilon() },
            "adamw" => Rule::AdamW { beta1: beta1(), beta2: beta2(), epsilon: epsilon() },
            "nadam" => Rule::NAdam { beta1: beta1(), beta2: beta2(), epsilon: epsilon() },
            _ => Rule::Nesterov { gamma: gamma() },
        }
    }

    /// Returns the learning-rate schedule that `schedule` names. With `decay_steps` = 0 a linear decay takes all steps
    /// after the warm-up, and a step schedule changes the rate after each third of them.
    pub fn schedule(&self) -> Schedule {
        let (warmup_steps, steps): (u64, u64) = (self.get("warmup_steps"), self.get("steps"));
        let decay_steps = || Some(self.get::<u64>("decay_steps")).filter(|steps| *steps > 0);
        let shape = match self.get::<String>("schedule").as_str() {
            "linear" => Shape::Linear { decay_steps: decay_steps().unwrap_or(u64::MAX) },
            "cosine" => Shape::Cosine,
            "step" => {
                let third = (steps.saturating_sub(warmup_steps) / 3).max(1);
                Shape::Step { every: decay_steps().unwrap_or(third), factor: self.get("decay_factor") }
            }
            "inverse_sqrt" => Shape::InverseSqrt,
            _ => Shape::Constant,
        };
        Schedule { shape, base: self.get("lr"), warmup_steps, steps }
    }

    /// Returns the number format of matrix products and convolutions that `precision` names.
    pub fn precision(&self) -> Precision {
        match self.get::<String>("precision").as_str() {
            "tf32" => Precision::Tf32,
            "bf16" => Precision::Bf16,
            _ => Precision::Fp32,
        }
    }

    /// Returns how many examples one forward and backward pass takes: the micro-batch size, or the batch size where
    /// there are no micro-batches.
    pub(crate) fn micro_batch_size(&self, batch_size: i64) -> i64 {
        Some(self.get::<i64>("micro_batch_size")).filter(|size| *size > 0).unwrap_or(batch_size)
    }
}
