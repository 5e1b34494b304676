//! The [`Workload`] trait: data and a model, with their loss, metrics and hyperparameters.

use crate::data::Data;
use crate::hyperparameters::{Hyperparameters, shared};
use crate::net::Net;
use tch::{Kind, Reduction, Tensor};
use tunebook_study::{Direction, Objective, ObjectiveValue, Value, WorkloadDescription, WorkloadHyperparameter};

/// The meaning of a model's outputs and targets. It sets the default loss, metrics and objective of a [`Workload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The outputs are logits \[batch, …, classes\]; the targets are class indices \[batch, …\] (i64, from 0). The loss
    /// is the cross entropy in nats. The metric `error` is the fraction of wrong predictions, and the objective is to
    /// minimize `valid/error`.
    Classification,
    /// The outputs and the targets are numbers of one and the same shape, \[batch, …\].
    /// The loss is the mean squared error, and the objective is to minimize `valid/loss`.
    Regression,
}

/// A metric that is computed beside the loss at each evaluation.
///
/// ```
/// # use tunebook_training::prelude::*;
/// fn absolute(outputs: &Tensor, targets: &Tensor) -> Tensor { (outputs - targets).abs().mean(Kind::Float) }
/// let metric = Metric { name: "absolute_error", of: absolute }; // reported as `valid/absolute_error`
/// ```
#[derive(Clone, Copy)]
pub struct Metric {
    /// The name without the prefix `valid/`.
    pub name: &'static str,
    /// Computes the metric, a scalar tensor, from all outputs and all targets of an evaluation. In
    /// [`Workload::mean_metrics`] it gets a part of them at a time.
    pub of: fn(&Tensor, &Tensor) -> Tensor,
}

impl Metric {
    /// `error`: the fraction (0–1) of targets whose class is not the one with the highest logit.
    pub const ERROR: Metric = Metric { name: "error", of: error };
}

#[track_caller]
fn error(outputs: &Tensor, targets: &Tensor) -> Tensor {
    let classes = outputs.size();
    let expected = classes.split_last().map_or(&[][..], |(_, rest)| rest);
    assert!(
        targets.size() == expected,
        "the outputs have the shape {classes:?}, so the metric `error` needs targets {expected:?}, but they have the shape \
         {:?}",
        targets.size()
    );
    outputs.argmax(-1, false).not_equal_tensor(targets).to_kind(Kind::Float).mean(Kind::Float)
}

/// Data and a model: all that a user has to write. The training pipeline adds the optimizer, the learning-rate
/// schedule, evaluations, checkpoints and more, each with hyperparameters that a study can set.
///
/// The forward pass declares its layers where it uses them (see [`Net`]). The parameters are kept outside of it, so
/// that the same forward pass could run with the stacked parameters of many trials. It must not draw random numbers of
/// its own.
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
    /// Loads the training and validation examples and, optionally, the test examples.
    ///
    /// The worker keeps the data for its next trials. It loads them again only if a hyperparameter that this function
    /// has read with `hp.get` has another value, so read only those that the data depend on. Relative paths start in
    /// the kernel's folder. An error ends the trial as failed, with the error's message as the reason.
    fn data(&self, hp: &Hyperparameters) -> anyhow::Result<Data>;

    /// Computes the outputs of the model for a batch of inputs \[batch, …\]. [`task`](Self::task) says which shape the
    /// outputs must have.
    ///
    /// It runs once on a few training examples to create the parameters, then in every training step and evaluation.
    /// Every call must declare the same layers. Where the gradient needs a tensor, write `x = &x + y`: the shorter
    /// `x += y` would change that tensor in place.
    fn forward(&self, net: &Net, inputs: &Tensor) -> Tensor;

    /// Returns the hyperparameters that this workload adds to the shared ones; by default none. A hyperparameter with
    /// the name of a shared one replaces it.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// let units = Hyperparameter::whole("hidden_units", 1..=4096, 32).shapes().doc("Units of the hidden layer");
    /// ```
    fn hyperparameters(&self) -> Vec<WorkloadHyperparameter> {
        vec![]
    }

    /// Returns other default values for shared hyperparameters; by default none. A name that no hyperparameter has is
    /// an error of the cell.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// let defaults: Vec<(&str, Value)> = vec![("lr", 0.03.into()), ("steps", 3000.into())];
    /// ```
    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![]
    }

    /// Returns the meaning of the outputs; by default [`Task::Classification`].
    fn task(&self) -> Task {
        Task::Classification
    }

    /// Returns the loss of a batch: a scalar tensor, the mean over the examples.
    ///
    /// The default is the task's: the cross entropy in nats, in training with the hyperparameter `label_smoothing`; or
    /// the mean squared error.
    fn loss(&self, net: &Net, outputs: &Tensor, targets: &Tensor) -> Tensor {
        match self.task() {
            Task::Classification => {
                let smoothing = if net.is_training() { net.get("label_smoothing") } else { 0.0 };
                cross_entropy(outputs, targets, smoothing)
            }
            Task::Regression => mean_squared_error(outputs, targets),
        }
    }

    /// Returns the metrics that each evaluation reports beside the loss, as `valid/NAME`, by default none. Each gets
    /// the outputs and targets of all examples, which are kept in memory until the evaluation ends. So an F1 score or a
    /// rank correlation is that of the whole validation part.
    fn metrics(&self) -> Vec<Metric> {
        vec![]
    }

    /// Returns metrics that are means over examples. They are computed part by part, weighted by the number of
    /// examples, so that outputs that are too large to be kept need not be. The default is the task's:
    /// [`Metric::ERROR`] for classification, none for regression.
    fn mean_metrics(&self) -> Vec<Metric> {
        match self.task() {
            Task::Classification => vec![Metric::ERROR],
            Task::Regression => vec![],
        }
    }

    /// Returns the objective by which trials are compared unless a study names another one. The default is the task's
    /// (`valid/error` or `valid/loss`), minimized, at the best value of the trial.
    fn objective(&self) -> Objective {
        let metric = match self.task() {
            Task::Classification => "valid/error",
            Task::Regression => "valid/loss",
        };
        Objective { metric: metric.into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
    }

    /// Returns the inputs of a training step after random augmentation, for example with [`Net::random_shift`]; by
    /// default unchanged. Evaluations never call it.
    fn augment(&self, net: &Net, inputs: &Tensor) -> Tensor {
        let _ = net;
        inputs.shallow_clone()
    }

    /// Returns a sentence for `%workloads`: the model, and the data with their source and licence; by default empty.
    fn doc(&self) -> String {
        String::new()
    }

    /// Returns the number of training examples, which is the upper bound of `batch_size`; None (the default) if it is
    /// not known before the data are loaded.
    fn examples(&self) -> Option<i64> {
        None
    }

    /// Returns the objective of a model that has learned nothing, such as the error of always predicting the most
    /// frequent class; None (the default) if it is not known. The analysis flags trials that are worse.
    fn chance(&self) -> Option<f64> {
        None
    }
}

/// Returns the mean squared error of outputs and targets of one and the same shape: a scalar tensor.
///
/// It panics if their shapes differ. libtorch would otherwise repeat both until their shapes agree, and compare each
/// output with each target.
#[track_caller]
pub fn mean_squared_error(outputs: &Tensor, targets: &Tensor) -> Tensor {
    let (found, wanted) = (outputs.size(), targets.size());
    if found != wanted {
        let help = match (found.as_slice(), wanted.as_slice()) {
            ([rows, 1], [count]) if rows == count => {
                "; write `targets.unsqueeze(1)` in `data`, or `.squeeze_dim(1)` after the last layer"
            }
            ([rows], [count, 1]) if rows == count => "; write `.unsqueeze(1)` after the last layer",
            _ => "",
        };
        panic!(
            "the outputs have the shape {found:?} and the targets {wanted:?}, but a regression needs the same shape{help}"
        );
    }
    outputs.mse_loss(targets, Reduction::Mean)
}

/// Returns the cross entropy in nats of logits \[batch, …, classes\] and class indices \[batch, …\] (i64): a scalar
/// tensor, the mean over all targets except those that are −100, which are ignored.
///
/// `label_smoothing` is the share (0–1) of each label that is spread evenly over all classes (Szegedy et al. 2016).
///
/// Targets of the shape and kind of the logits are probabilities of the classes. It panics if the targets are neither.
#[track_caller]
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, label_smoothing: f64) -> Tensor {
    check_classes_of(logits, targets);
    let (logits, targets) = match logits.dim() {
        2 => (logits.shallow_clone(), targets.shallow_clone()),
        _ => (logits.flatten(0, -2), targets.flatten(0, -1)),
    };
    logits.cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Mean, -100, label_smoothing)
}

/// Panics if targets are no class indices of the examples of these logits, and no probabilities of the classes.
/// libtorch flattens what has as many numbers, and speaks of its own kinds and dimensions about the rest.
#[track_caller]
fn check_classes_of(logits: &Tensor, targets: &Tensor) {
    let (found, classes) = (targets.size(), logits.size());
    let wanted = match classes.split_last() {
        Some((_, rest)) if !rest.is_empty() => rest,
        _ => panic!(
            "the outputs have the shape {classes:?}, but a classification needs [batch, …, classes]: leave out the \
             `squeeze` after the last layer, or declare `Task::Regression`"
        ),
    };
    let is_column = found.split_last().is_some_and(|(last, rest)| *last == 1 && rest == wanted);
    if logits.dim() == 2 && found == classes && targets.is_floating_point() && !is_column {
        return;
    }
    let fits = found == wanted || (is_column && logits.dim() > 2);
    let is_index = matches!(targets.kind(), Kind::Int64 | Kind::Uint8);
    if fits && is_index {
        return;
    }
    let squeeze = if !fits && is_column { ".squeeze_dim(-1)" } else { "" };
    let to_kind = if is_index { "" } else { ".to_kind(Kind::Int64)" };
    let help = match fits || is_column {
        true => format!("; write `targets{squeeze}{to_kind}` in `data`"),
        false => String::new(),
    };
    panic!(
        "the outputs have the shape {classes:?}, so a classification needs class indices of the shape {wanted:?} and the \
         kind Int64, but the targets have the shape {found:?} and the kind {:?}{help}",
        targets.kind()
    );
}

/// Returns the description of a workload: its shared and own hyperparameters, its metrics and its objective. `kind` is
/// `builtin` or `rust`.
pub fn describe(name: &str, kind: &str, workload: &dyn Workload) -> WorkloadDescription {
    let mut hyperparameters = shared(workload.examples());
    for own in workload.hyperparameters() {
        match hyperparameters.iter_mut().find(|shared| shared.name == own.name) {
            Some(shared) => *shared = own,
            None => hyperparameters.push(own),
        }
    }
    for (name, value) in workload.defaults() {
        if let Some(hyperparameter) = hyperparameters.iter_mut().find(|h| h.name == name) {
            hyperparameter.default = value;
        }
    }
    let mut metrics: Vec<String> = vec!["train/loss".into(), "valid/loss".into()];
    for metric in workload.mean_metrics().iter().chain(&workload.metrics()) {
        let name = format!("valid/{}", metric.name);
        if !metrics.contains(&name) {
            metrics.push(name);
        }
    }
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
