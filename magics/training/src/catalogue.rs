//! The workloads and training functions that a worker can train, by name.

use crate::trial::Trial;
use crate::workload::{Workload, describe};
use tunebook_study::{Direction, Objective, ObjectiveValue, WorkloadDescription, WorkloadHyperparameter};

/// A training function: a training loop of the user's own, for training that the pipeline does not fit.
///
/// In a `%%workload` cell, write two functions; a third one, `fn objective() -> Objective`, is optional.
///
/// ```
/// # use tunebook_training::prelude::*;
/// fn hyperparameters() -> Vec<Hyperparameter> { vec![Hyperparameter::real("lr", 0.0..=2.0, 0.1)] }
/// fn train(trial: &mut Trial) -> Result<()> { trial.report(1, &[("valid/error", trial.get("lr"))]) }
/// ```
#[derive(Clone, Copy)]
pub struct Function {
    /// Trains, and reports metrics with [`Trial::report`]. An error ends the trial as failed.
    pub train: fn(&mut Trial) -> anyhow::Result<()>,
    /// Returns all hyperparameters that the function reads. `seed` is added if it is not among them.
    pub hyperparameters: fn() -> Vec<WorkloadHyperparameter>,
    /// Returns the objective by which trials are compared unless a study names another one.
    pub objective: fn() -> Objective,
}

impl Function {
    /// Returns the objective of a training function that defines none: to minimize the best `valid/error`.
    pub fn default_objective() -> Objective {
        Objective { metric: "valid/error".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
    }
}

/// Something that a worker can train.
pub enum Trainable {
    /// A workload, which the training pipeline trains.
    Workload(Box<dyn Workload>),
    /// A training function, which trains by itself.
    Function(Function),
}

/// The workloads and training functions of one worker.
pub struct Catalogue {
    kind: &'static str,
    entries: Vec<(String, Trainable)>,
}

impl Catalogue {
    /// Creates an empty catalogue. `kind` is the kind of workload in its descriptions: `builtin` or `rust`.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, entries: vec![] }
    }

    pub fn add(&mut self, name: &str, trainable: Trainable) {
        self.entries.push((name.into(), trainable));
    }

    /// Returns the workload or training function of a name, or None if there is none.
    pub fn find(&self, name: &str) -> Option<&Trainable> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, trainable)| trainable)
    }

    /// Returns the description of a workload or training function, or None if there is none of this name.
    pub fn describe(&self, name: &str) -> Option<WorkloadDescription> {
        Some(match self.find(name)? {
            Trainable::Workload(workload) => describe(name, self.kind, workload.as_ref()),
            Trainable::Function(function) => {
                let mut hyperparameters = (function.hyperparameters)();
                if !hyperparameters.iter().any(|h| h.name == "seed") {
                    let seed = crate::hyperparameters::shared(None).into_iter().filter(|h| h.name == "seed");
                    hyperparameters.extend(seed);
                }
                let objective = (function.objective)();
                // Other metrics are not known before a trial has reported them.
                let metrics = vec![objective.metric.clone()];
                let doc = "A training function with its own loop".into();
                let (name, kind) = (name.into(), self.kind.into());
                WorkloadDescription { name, kind, doc, hyperparameters, metrics, objective, chance: None }
            }
        })
    }

    /// Returns the descriptions of all workloads and training functions, in the order in which they were added.
    pub fn descriptions(&self) -> Vec<WorkloadDescription> {
        self.entries.iter().filter_map(|(name, _)| self.describe(name)).collect()
    }
}
