//! The description of a workload: its hyperparameters and metrics. With it, a sweep is checked before anything is
//! trained.

use crate::{Distribution, Objective, Value};
use serde::{Deserialize, Serialize};

/// The type of a hyperparameter's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HyperparameterType {
    /// A 64-bit float. Whole numbers are accepted too.
    Float,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// One of a list of words.
    Text,
}

/// The values that a hyperparameter can have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HyperparameterDomain {
    /// One of a list.
    Choices { choices: Vec<Value> },
    /// The numbers between two bounds. A bound that is None does not limit them.
    Range {
        /// The lower bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low: Option<f64>,
        /// The upper bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        high: Option<f64>,
        /// Whether `low` itself is excluded.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open_low: bool,
        /// Whether `high` itself is excluded.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open_high: bool,
    },
}

/// A hyperparameter of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadHyperparameter {
    /// The name, by which a study declares it.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: HyperparameterType,
    /// The values that it can have.
    pub domain: HyperparameterDomain,
    /// The value in studies that do not declare it. [`Value::Null`] for `seed`, which then differs from trial to trial.
    pub default: Value,
    /// Whether the shapes of tensors depend on it. Trials that differ in such a hyperparameter cannot share a training
    /// step.
    pub changes_shapes: bool,
    /// The range that is worth searching, if the workload knows one. `%scaling` tunes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Distribution>,
    /// Its meaning in a sentence, with the ID of the Playbook's advice about it if there is one.
    pub doc: String,
    /// Whether all workloads have it, because the training pipeline brings it.
    #[serde(default)]
    pub shared: bool,
}

/// The description of a workload, as its worker prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadDescription {
    /// The name of the workload.
    pub name: String,
    /// `builtin` or `rust`.
    pub kind: String,
    /// What is trained on which data, in a sentence or two, with the source and the licence of the data.
    pub doc: String,
    pub hyperparameters: Vec<WorkloadHyperparameter>,
    /// The names of the metrics that a trial reports.
    pub metrics: Vec<String>,
    /// The objective of studies that do not declare one.
    pub objective: Objective,
    /// The value of the objective for a model that has learned nothing, if it is known. For classification this is the
    /// error of a model that always predicts the most frequent class.
    #[serde(default)]
    pub chance: Option<f64>,
}

/// Why a hyperparameter cannot have a value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// The value has the wrong type.
    #[error("`{name}` is {expected}, and {value} is not")]
    Type { name: String, value: String, expected: &'static str },
    /// The value has the right type but is not in the domain.
    #[error("{value} is no value for `{name}`, which must be {domain}")]
    Domain { name: String, value: String, domain: String },
}

impl std::fmt::Display for HyperparameterDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Choices { choices } => {
                let words: Vec<String> = choices.iter().map(Value::to_string).collect();
                write!(f, "one of {}", words.join(", "))
            }
            Self::Range { low: None, high: None, .. } => f.write_str("any"),
            Self::Range { low: Some(low), high: None, open_low, .. } => {
                write!(f, "{} {low}", if *open_low { "above" } else { "at least" })
            }
            Self::Range { low: None, high: Some(high), open_high, .. } => {
                write!(f, "{} {high}", if *open_high { "below" } else { "at most" })
            }
            Self::Range { low: Some(low), high: Some(high), open_low, open_high } => {
                let (left, right) = (if *open_low { '(' } else { '[' }, if *open_high { ')' } else { ']' });
                write!(f, "in {left}{low}, {high}{right}")
            }
        }
    }
}

/// Workloads declare their hyperparameters with these functions: one that names the type, and others that add to it, as
/// in `WorkloadHyperparameter::real("lr", 0.0..=10.0, 0.1).above().doc("Learning rate.")`.
impl WorkloadHyperparameter {
    fn new(name: &str, kind: HyperparameterType, domain: HyperparameterDomain, default: impl Into<Value>) -> Self {
        let (name, default, doc) = (name.into(), default.into(), String::new());
        Self { name, kind, domain, default, changes_shapes: false, search: None, doc, shared: false }
    }

    /// A float between bounds, which are possible values. An infinite bound does not limit it.
    pub fn real(name: &str, range: std::ops::RangeInclusive<f64>, default: f64) -> Self {
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let (low, high) = (finite(*range.start()), finite(*range.end()));
        let domain = HyperparameterDomain::Range { low, high, open_low: false, open_high: false };
        Self::new(name, HyperparameterType::Float, domain, default)
    }

    /// A whole number between bounds, which are possible values. The bounds `i64::MIN` and `i64::MAX` do not limit it.
    pub fn whole(name: &str, range: std::ops::RangeInclusive<i64>, default: i64) -> Self {
        let finite = |x: i64, none: i64| Some(x as f64).filter(|_| x != none);
        let (low, high) = (finite(*range.start(), i64::MIN), finite(*range.end(), i64::MAX));
        let domain = HyperparameterDomain::Range { low, high, open_low: false, open_high: false };
        Self::new(name, HyperparameterType::Int, domain, default)
    }

    /// One of some words. The first one is the default.
    pub fn choice(name: &str, words: &[&str]) -> Self {
        let choices = words.iter().map(|word| Value::from(*word)).collect();
        let default = words.first().copied().unwrap_or_default();
        Self::new(name, HyperparameterType::Text, HyperparameterDomain::Choices { choices }, default)
    }

    /// Any text, for example a path.
    pub fn text(name: &str, default: &str) -> Self {
        let domain = HyperparameterDomain::Range { low: None, high: None, open_low: false, open_high: false };
        Self::new(name, HyperparameterType::Text, domain, default)
    }

    /// `true` or `false`.
    pub fn flag(name: &str, default: bool) -> Self {
        let choices = vec![Value::Bool(false), Value::Bool(true)];
        Self::new(name, HyperparameterType::Bool, HyperparameterDomain::Choices { choices }, default)
    }

    /// Excludes the lower bound itself.
    pub fn above(mut self) -> Self {
        if let HyperparameterDomain::Range { open_low, .. } = &mut self.domain {
            *open_low = true;
        }
        self
    }

    /// Excludes the upper bound itself.
    pub fn below(mut self) -> Self {
        if let HyperparameterDomain::Range { open_high, .. } = &mut self.domain {
            *open_high = true;
        }
        self
    }

    /// Declares that the shapes of tensors depend on it.
    pub fn shapes(mut self) -> Self {
        self.changes_shapes = true;
        self
    }

    /// Sets the range that is worth searching.
    pub fn search(mut self, distribution: Distribution) -> Self {
        self.search = Some(distribution);
        self
    }

    /// Sets its meaning, in a sentence.
    pub fn doc(mut self, doc: &str) -> Self {
        self.doc = doc.into();
        self
    }

    /// Checks a value and returns it in the type of this hyperparameter: for a float, `1` becomes `1.0`.
    pub fn accept(&self, value: &Value) -> Result<Value, ValueError> {
        let wrong = |expected| ValueError::Type { name: self.name.clone(), value: value.to_string(), expected };
        let typed = match self.kind {
            HyperparameterType::Float => value.as_f64().map(Value::Float).ok_or_else(|| wrong("a number"))?,
            HyperparameterType::Int => value.as_i64().map(Value::Int).ok_or_else(|| wrong("a whole number"))?,
            HyperparameterType::Bool => match value {
                Value::Bool(_) => value.clone(),
                _ => return Err(wrong("true or false")),
            },
            HyperparameterType::Text => match value {
                Value::Text(_) => value.clone(),
                _ => return Err(wrong("a word")),
            },
        };
        let inside = match &self.domain {
            HyperparameterDomain::Choices { choices } => choices.iter().any(|c| c.same_as(&typed)),
            HyperparameterDomain::Range { low, high, open_low, open_high } => {
                // Texts have no order. Their range has no bounds, so that NaN passes.
                let x = typed.as_f64().unwrap_or(f64::NAN);
                low.is_none_or(|low| if *open_low { x > low } else { x >= low })
                    && high.is_none_or(|high| if *open_high { x < high } else { x <= high })
            }
        };
        if inside {
            Ok(typed)
        } else {
            Err(ValueError::Domain {
                name: self.name.clone(),
                value: value.to_string(),
                domain: self.domain.to_string(),
            })
        }
    }
}

impl WorkloadDescription {
    /// The metrics of the training examples, which a trial reports if it is asked to, beside
    /// [`metrics`](Self::metrics). A training function reports what it measures itself.
    pub fn training_metrics(&self) -> Vec<String> {
        let of_training = |metric: &String| match metric.strip_prefix("valid/")? {
            "loss" => Some("train/eval_loss".to_string()),
            name => Some(format!("train/{name}")),
        };
        let has_pipeline = self.hyperparameters.iter().any(|h| h.shared);
        self.metrics.iter().filter(|_| has_pipeline).filter_map(of_training).collect()
    }

    /// The hyperparameters that this workload declares itself, without those that all workloads have.
    pub fn own(&self) -> impl Iterator<Item = &WorkloadHyperparameter> {
        self.hyperparameters.iter().filter(|h| !h.shared)
    }

    /// The hyperparameter of a name.
    pub fn hyperparameter(&self, name: &str) -> Option<&WorkloadHyperparameter> {
        self.hyperparameters.iter().find(|h| h.name == name)
    }
}
