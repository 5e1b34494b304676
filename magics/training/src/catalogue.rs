//! What a worker can train.

use crate::trial::Trial;
use crate::workload::{Workload, describe};
use tunebook_study::{Direction, Judged, Objective, WorkloadDescription, WorkloadHyperparameter};

/// A training loop of its own, for what the pipeline does not fit.
#[derive(Clone, Copy)]
pub struct Function {
    /// Trains and reports.
    pub train: fn(&mut Trial) -> anyhow::Result<()>,
    /// All hyperparameters that it asks for; `seed` is added.
    pub hyperparameters: fn() -> Vec<WorkloadHyperparameter>,
    /// What it is judged by.
    pub objective: fn() -> Objective,
}

impl Function {
    /// The objective of a function that names none.
    pub fn default_objective() -> Objective {
        Objective { metric: "valid/error".into(), direction: Direction::Minimize, judged: Judged::Best }
    }
}

/// Something to train.
pub enum Trainable {
    /// By the pipeline.
    Workload(Box<dyn Workload>),
    /// By itself.
    Function(Function),
}

/// Named things to train.
pub struct Catalogue {
    kind: &'static str,
    entries: Vec<(String, Trainable)>,
}

impl Catalogue {
    /// An empty one; `kind` is `builtin` or `rust`.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, entries: vec![] }
    }

    /// Adds something.
    pub fn add(&mut self, name: &str, trainable: Trainable) {
        self.entries.push((name.into(), trainable));
    }

    /// What bears a name.
    pub fn find(&self, name: &str) -> Option<&Trainable> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, trainable)| trainable)
    }

    /// What something says of itself.
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
                // What else it reports is known only once it has.
                let metrics = vec![objective.metric.clone()];
                let doc = "a training function of its own".into();
                let (name, kind) = (name.into(), self.kind.into());
                WorkloadDescription { name, kind, doc, hyperparameters, metrics, objective, chance: None }
            }
        })
    }

    /// All of them.
    pub fn descriptions(&self) -> Vec<WorkloadDescription> {
        self.entries.iter().filter_map(|(name, _)| self.describe(name)).collect()
    }
}
