//! The hyperparameters that every training workload shares, and typed access to all of them.

use crate::optimizer::Rule;
use crate::schedule::{Schedule, Shape};
use tunebook_study::workload::ValueError;
use tunebook_study::{
    HyperparameterDomain, HyperparameterType, Params, Value, WorkloadDescription, WorkloadHyperparameter,
};

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HyperparameterError {
    /// The workload has none of this name.
    #[error("`{workload}` has no hyperparameter `{name}`")]
    Unknown { workload: String, name: String },
    /// The wrong type or out of its domain.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Two settings that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

/// A workload's hyperparameters with the values of one trial; those that the trial does not set have their defaults.
#[derive(Clone, Debug)]
pub struct Hyperparameters {
    values: Params,
}

impl Hyperparameters {
    /// Checks the values of a trial against what the workload declares.
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
        let checked = Self { values };
        if checked.whole("warmup_steps") > checked.whole("steps") {
            let message = format!(
                "warmup_steps ({}) is more than steps ({}), which includes it",
                checked.whole("warmup_steps"),
                checked.whole("steps")
            );
            return Err(HyperparameterError::Conflict(message));
        }
        Ok(checked)
    }

    /// A declared float.
    pub fn real(&self, name: &str) -> f64 {
        self.values.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// A declared whole number.
    pub fn whole(&self, name: &str) -> i64 {
        self.values.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    /// A declared word.
    pub fn word(&self, name: &str) -> &str {
        self.values.get(name).and_then(Value::as_str).unwrap_or("")
    }

    /// The update rule of the trial.
    pub fn rule(&self) -> Rule {
        let gamma = self.real("momentum");
        match self.word("optimizer") {
            "sgd" => Rule::Sgd,
            "momentum" => Rule::Momentum { gamma },
            "adam" => {
                let (beta1, beta2) = (self.real("beta1"), self.real("beta2"));
                Rule::Adam { beta1, beta2, epsilon: self.real("epsilon") }
            }
            _ => Rule::Nesterov { gamma },
        }
    }

    /// The learning-rate schedule of the trial.
    pub fn schedule(&self) -> Schedule {
        let shape = match self.word("schedule") {
            "linear" => Shape::Linear,
            "cosine" => Shape::Cosine,
            _ => Shape::Constant,
        };
        let (warmup_steps, steps) = (self.whole("warmup_steps") as u64, self.whole("steps") as u64);
        Schedule { shape, base: self.real("lr"), warmup_steps, steps }
    }
}

fn hyperparameter(
    name: &str,
    kind: HyperparameterType,
    domain: HyperparameterDomain,
    default: impl Into<Value>,
    doc: &str,
) -> WorkloadHyperparameter {
    let (name, doc) = (name.into(), doc.into());
    WorkloadHyperparameter { name, kind, domain, default: default.into(), changes_shapes: false, doc }
}

fn range(low: Option<f64>, high: Option<f64>, open_low: bool, open_high: bool) -> HyperparameterDomain {
    HyperparameterDomain::Range { low, high, open_low, open_high }
}

/// A float of at least, or above, `low`.
pub fn real(name: &str, low: f64, open: bool, default: f64, doc: &str) -> WorkloadHyperparameter {
    hyperparameter(name, HyperparameterType::Float, range(Some(low), None, open, false), default, doc)
}

/// A float in [0, 1).
pub fn fraction(name: &str, default: f64, doc: &str) -> WorkloadHyperparameter {
    hyperparameter(name, HyperparameterType::Float, range(Some(0.0), Some(1.0), false, true), default, doc)
}

/// A whole number in low..=high.
pub fn whole(name: &str, low: i64, high: i64, default: i64, doc: &str) -> WorkloadHyperparameter {
    let domain = range(Some(low as f64), Some(high as f64), false, false);
    hyperparameter(name, HyperparameterType::Int, domain, default, doc)
}

/// One of some words; the first is the default.
pub fn choice(name: &str, words: &[&str], doc: &str) -> WorkloadHyperparameter {
    let choices = HyperparameterDomain::Choices { choices: words.iter().map(|w| Value::from(*w)).collect() };
    hyperparameter(name, HyperparameterType::Text, choices, words[0], doc)
}

/// Marks a hyperparameter that changes the shapes of tensors.
pub fn shaping(hyperparameter: WorkloadHyperparameter) -> WorkloadHyperparameter {
    WorkloadHyperparameter { changes_shapes: true, ..hyperparameter }
}

/// Those of every workload of this crate, for `examples` training examples.
pub fn shared(examples: i64) -> Vec<WorkloadHyperparameter> {
    let seed_domain = range(Some(0.0), None, false, false);
    let mut seed = hyperparameter(
        "seed",
        HyperparameterType::Int,
        seed_domain,
        0,
        "Seed of all randomness; derived from the study's seed and the trial's number unless declared (Playbook F2)",
    );
    seed.default = Value::Null;
    vec![
        choice(
            "optimizer",
            &["nesterov", "sgd", "momentum", "adam"],
            "Update rule, as the Playbook writes it (A3, I15); Adam's epsilon stands in the ε-hat form",
        ),
        real("lr", 0.0, true, 0.1, "Learning rate that the warm-up reaches (I8)"),
        fraction("momentum", 0.9, "γ of momentum and nesterov (A3)"),
        fraction("beta1", 0.9, "β₁ of adam (A3, I2)"),
        fraction("beta2", 0.999, "β₂ of adam (A3, I2)"),
        real("epsilon", 0.0, true, 1e-8, "ε of adam (A3, I2)"),
        choice("schedule", &["constant", "linear", "cosine"], "Shape of the learning rate after the warm-up (C3, I1)"),
        whole("warmup_steps", 0, 10_000_000, 0, "Steps in which the learning rate rises from 0 (I12)"),
        whole("batch_size", 1, examples, 64, "Examples a step (B1–B14)"),
        whole("steps", 1, 100_000_000, 1000, "Training steps, warm-up included; not to be tuned (G2)"),
        whole("eval_every", 1, 100_000_000, 100, "Steps between evaluations (H3)"),
        seed,
    ]
}
