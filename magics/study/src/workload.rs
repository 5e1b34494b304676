//! What a workload says of itself, so that a sweep can be checked before anything trains.

use crate::{Distribution, Objective, Value};
use serde::{Deserialize, Serialize};

/// The type of a hyperparameter's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HyperparameterType {
    /// A 64-bit float; an int is accepted where one is asked for.
    Float,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// One of a list of words.
    Text,
}

/// Which values make sense.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HyperparameterDomain {
    /// One of these.
    Choices { choices: Vec<Value> },
    /// A range; an open end is exclusive, a missing bound is none.
    Range {
        /// Lower bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low: Option<f64>,
        /// Upper bound.
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

/// One hyperparameter that a workload understands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadHyperparameter {
    /// Its name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: HyperparameterType,
    /// The values that make sense.
    pub domain: HyperparameterDomain,
    /// Its value where a study does not declare it. `null`: derived (`seed`).
    pub default: Value,
    /// Whether it changes the shapes of tensors, so that trials that differ in it cannot share a step.
    pub changes_shapes: bool,
    /// The range that is worth searching, where the workload knows one: what `%scaling` and its kin tune over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Distribution>,
    /// What it means, in a sentence; the Playbook's ID where one asks for it.
    pub doc: String,
    /// Whether every workload that the training pipeline trains has it.
    #[serde(default)]
    pub shared: bool,
}

/// A workload as its worker describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadDescription {
    /// Its name.
    pub name: String,
    /// `builtin` or `rust`.
    pub kind: String,
    /// What it trains on what, in a sentence or two, with the data's source and licence.
    pub doc: String,
    /// Its hyperparameters.
    pub hyperparameters: Vec<WorkloadHyperparameter>,
    /// The metrics that it reports.
    pub metrics: Vec<String>,
    /// What it is judged by unless a study says otherwise.
    pub objective: Objective,
    /// What the objective is for a model that has learned nothing (for classification the error of always naming the
    /// most frequent class), where known.
    #[serde(default)]
    pub chance: Option<f64>,
}

/// A value that a workload cannot take.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// The wrong type.
    #[error("`{name}` is {expected}, and {value} is not")]
    Type { name: String, value: String, expected: &'static str },
    /// The right type out of its domain.
    #[error("{value} is no value for `{name}`: it is {domain}")]
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

/// How a workload declares its hyperparameters: a constructor for each type, and what is to be said beside it.
impl WorkloadHyperparameter {
    fn new(name: &str, kind: HyperparameterType, domain: HyperparameterDomain, default: impl Into<Value>) -> Self {
        let (name, default, doc) = (name.into(), default.into(), String::new());
        Self { name, kind, domain, default, changes_shapes: false, search: None, doc, shared: false }
    }

    /// A float within bounds, both ends included.
    pub fn real(name: &str, range: std::ops::RangeInclusive<f64>, default: f64) -> Self {
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let (low, high) = (finite(*range.start()), finite(*range.end()));
        let domain = HyperparameterDomain::Range { low, high, open_low: false, open_high: false };
        Self::new(name, HyperparameterType::Float, domain, default)
    }

    /// A whole number within bounds, both ends included.
    pub fn whole(name: &str, range: std::ops::RangeInclusive<i64>, default: i64) -> Self {
        let finite = |x: i64, none: i64| Some(x as f64).filter(|_| x != none);
        let (low, high) = (finite(*range.start(), i64::MIN), finite(*range.end(), i64::MAX));
        let domain = HyperparameterDomain::Range { low, high, open_low: false, open_high: false };
        Self::new(name, HyperparameterType::Int, domain, default)
    }

    /// One of some words; the first is the default.
    pub fn choice(name: &str, words: &[&str]) -> Self {
        let choices = words.iter().map(|word| Value::from(*word)).collect();
        let default = words.first().copied().unwrap_or_default();
        Self::new(name, HyperparameterType::Text, HyperparameterDomain::Choices { choices }, default)
    }

    /// Any text: a path, a name.
    pub fn text(name: &str, default: &str) -> Self {
        let domain = HyperparameterDomain::Range { low: None, high: None, open_low: false, open_high: false };
        Self::new(name, HyperparameterType::Text, domain, default)
    }

    /// `true` or `false`.
    pub fn flag(name: &str, default: bool) -> Self {
        let choices = vec![Value::Bool(false), Value::Bool(true)];
        Self::new(name, HyperparameterType::Bool, HyperparameterDomain::Choices { choices }, default)
    }

    /// The lower bound itself is excluded.
    pub fn above(mut self) -> Self {
        if let HyperparameterDomain::Range { open_low, .. } = &mut self.domain {
            *open_low = true;
        }
        self
    }

    /// The upper bound itself is excluded.
    pub fn below(mut self) -> Self {
        if let HyperparameterDomain::Range { open_high, .. } = &mut self.domain {
            *open_high = true;
        }
        self
    }

    /// It changes the shapes of tensors.
    pub fn shapes(mut self) -> Self {
        self.changes_shapes = true;
        self
    }

    /// The range that is worth searching.
    pub fn search(mut self, distribution: Distribution) -> Self {
        self.search = Some(distribution);
        self
    }

    /// What it means, in a sentence.
    pub fn doc(mut self, doc: &str) -> Self {
        self.doc = doc.into();
        self
    }

    /// The value in this hyperparameter's type (`1` becomes `1.0` for a float), or why it cannot be.
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
                // Words have no order: on them a range is none.
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
    /// The hyperparameters that other workloads do not have.
    pub fn own(&self) -> impl Iterator<Item = &WorkloadHyperparameter> {
        self.hyperparameters.iter().filter(|h| !h.shared)
    }

    /// The hyperparameter of a name.
    pub fn hyperparameter(&self, name: &str) -> Option<&WorkloadHyperparameter> {
        self.hyperparameters.iter().find(|h| h.name == name)
    }
}
