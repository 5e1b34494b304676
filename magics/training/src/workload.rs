//! What can be trained.

use crate::data::Data;
use crate::hyperparameters::{Hyperparameters, shared};
use crate::net::Net;
use tch::{Kind, Reduction, Tensor};
use tunebook_study::{Direction, Judged, Objective, Value, WorkloadDescription, WorkloadHyperparameter};

/// What the outputs of a model mean. It decides the loss, the metrics and the objective unless the workload says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Outputs are logits \[batch, …, classes\], targets class indices \[batch, …\]. Loss: cross entropy in nats; metric:
    /// `error`, the fraction that is wrong; objective: `valid/error`.
    Classification,
    /// Outputs and targets are numbers of one shape. Loss: mean squared error; objective: `valid/loss`.
    Regression,
}

/// A metric beside the loss, as a mean over the examples of a batch.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Its name, without `valid/`.
    pub name: &'static str,
    /// The scalar tensor of outputs and targets.
    pub of: fn(&Tensor, &Tensor) -> Tensor,
}

impl Metric {
    /// The fraction of examples whose highest logit is not that of their class.
    pub const ERROR: Metric = Metric { name: "error", of: error };
}

fn error(outputs: &Tensor, targets: &Tensor) -> Tensor {
    outputs.argmax(-1, false).not_equal_tensor(targets).to_kind(Kind::Float).mean(Kind::Float)
}

/// A model with its data: all that a user has to write. The training pipeline brings optimizer, schedule, evaluation,
/// checkpoints and the rest, with hyperparameters of their own.
///
/// The forward declares its layers where it uses them ([`Net`]); their parameters are kept apart from it and handed to it,
/// so that the same forward can be called with the stacked parameters of many trials. It draws no randomness of its own.
///
/// ```
/// use tunebook_training::prelude::*;
///
/// pub struct Wine;
///
/// impl Workload for Wine {
///     fn data(&self, _: &Hyperparameters) -> Result<Data> {
///         Ok(Table::read("wine.csv")?.classify("class")?.split(0.7, 0.15, 0)?.standardized())
///     }
///
///     fn hyperparameters(&self) -> Vec<Hyperparameter> {
///         vec![Hyperparameter::whole("hidden_units", 1..=4096, 32).shapes()]
///     }
///
///     fn forward(&self, net: &Net, x: &Tensor) -> Tensor {
///         let x = net.linear("hidden", x, net.get("hidden_units")).relu();
///         net.linear("logits", &net.dropout(&x), 3)
///     }
/// }
/// ```
pub trait Workload: Send + Sync {
    /// Training, validation and test examples. What this asks of the hyperparameters decides when data are loaded anew.
    fn data(&self, hp: &Hyperparameters) -> anyhow::Result<Data>;

    /// Outputs of a batch of inputs \[batch, …\].
    fn forward(&self, net: &Net, inputs: &Tensor) -> Tensor;

    /// Hyperparameters of its own. One that bears the name of a shared one replaces it.
    fn hyperparameters(&self) -> Vec<WorkloadHyperparameter> {
        vec![]
    }

    /// Other defaults for shared hyperparameters.
    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![]
    }

    /// What the outputs mean.
    fn task(&self) -> Task {
        Task::Classification
    }

    /// The loss of a batch: a scalar, the mean over its examples.
    fn loss(&self, net: &Net, outputs: &Tensor, targets: &Tensor) -> Tensor {
        match self.task() {
            Task::Classification => {
                let smoothing = if net.is_training() { net.get("label_smoothing") } else { 0.0 };
                cross_entropy(outputs, targets, smoothing)
            }
            Task::Regression => outputs.mse_loss(targets, Reduction::Mean),
        }
    }

    /// Metrics beside the loss; each is reported as `valid/NAME`.
    fn metrics(&self) -> Vec<Metric> {
        match self.task() {
            Task::Classification => vec![Metric::ERROR],
            Task::Regression => vec![],
        }
    }

    /// What it is judged by unless a study says otherwise.
    fn objective(&self) -> Objective {
        let metric = match self.task() {
            Task::Classification => "valid/error",
            Task::Regression => "valid/loss",
        };
        Objective { metric: metric.into(), direction: Direction::Minimize, judged: Judged::Best }
    }

    /// Inputs as they are trained on: a varied copy of them. Evaluations see them as they are.
    fn augment(&self, net: &Net, inputs: &Tensor) -> Tensor {
        let _ = net;
        inputs.shallow_clone()
    }

    /// What it trains on what, in a sentence, with the data's source and licence.
    fn doc(&self) -> String {
        String::new()
    }

    /// How many examples there are to train on, where that is known without loading them.
    fn examples(&self) -> Option<i64> {
        None
    }

    /// The objective of a model that has learned nothing, where known.
    fn chance(&self) -> Option<f64> {
        None
    }
}

/// Cross entropy of logits \[batch, …, classes\] in nats, the mean over all targets.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, label_smoothing: f64) -> Tensor {
    let (logits, targets) = match logits.dim() {
        2 => (logits.shallow_clone(), targets.shallow_clone()),
        _ => (logits.flatten(0, -2), targets.flatten(0, -1)),
    };
    logits.cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Mean, -100, label_smoothing)
}

/// What a workload says of itself under a name.
pub fn describe(name: &str, kind: &str, workload: &dyn Workload) -> WorkloadDescription {
    let mut hyperparameters = shared(workload.examples());
    for own in workload.hyperparameters() {
        match hyperparameters.iter_mut().find(|shared| shared.name == own.name) {
            Some(shared) => *shared = own,
            None => hyperparameters.push(own),
        }
    }
    for (name, value) in workload.defaults() {
        if let Some(shared) = hyperparameters.iter_mut().find(|h| h.name == name) {
            shared.default = value;
        }
    }
    let mut metrics: Vec<String> = vec!["train/loss".into(), "valid/loss".into()];
    metrics.extend(workload.metrics().iter().map(|metric| format!("valid/{}", metric.name)));
    metrics.extend(["gradient_norm", "clipped", "noise_scale", "lr"].map(String::from));
    WorkloadDescription {
        name: name.into(),
        kind: kind.into(),
        doc: workload.doc(),
        hyperparameters,
        metrics,
        objective: workload.objective(),
        chance: workload.chance(),
    }
}
