//! Optuna's studies, as its journals and its databases hold them.

pub mod distribution;
pub mod export;
pub mod import;
pub mod journal;
mod journal_lock;
mod journal_write;
pub mod rdb;
mod space;

pub use distribution::OptunaDistribution;
pub use import::{Choices, Imported, import};

use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Attributes by name.
pub type Attributes = Map<String, Value>;

/// Whether an objective is minimized or maximized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptunaDirection {
    /// The study was created without one. Optuna minimizes then.
    NotSet,
    Minimize,
    Maximize,
}

/// The state of a trial, by the numbers that a journal writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptunaState {
    Running = 0,
    Complete = 1,
    Pruned = 2,
    Fail = 3,
    Waiting = 4,
}

impl OptunaState {
    pub(crate) const ALL: [Self; 5] = [Self::Running, Self::Complete, Self::Pruned, Self::Fail, Self::Waiting];

    /// The name in Optuna and in its databases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Complete => "COMPLETE",
            Self::Pruned => "PRUNED",
            Self::Fail => "FAIL",
            Self::Waiting => "WAITING",
        }
    }

    /// Whether the trial has ended. Nothing changes it any more.
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Running | Self::Waiting)
    }
}

/// A study of Optuna.
#[derive(Clone, Debug, PartialEq)]
pub struct OptunaStudy {
    pub name: String,
    /// One for each objective.
    pub directions: Vec<OptunaDirection>,
    pub user_attributes: Attributes,
    pub system_attributes: Attributes,
    /// In the order of their numbers.
    pub trials: Vec<OptunaTrial>,
}

/// A trial of Optuna. Values may be infinite or NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct OptunaTrial {
    /// From 0.
    pub number: u32,
    pub state: OptunaState,
    /// One for each objective; none if there was no result.
    pub values: Vec<f64>,
    pub parameters: IndexMap<String, OptunaParameter>,
    /// What the trial reported, by step.
    pub intermediate: BTreeMap<i64, f64>,
    pub user_attributes: Attributes,
    pub system_attributes: Attributes,
    /// In Unix seconds.
    pub started: Option<f64>,
    pub completed: Option<f64>,
}

/// The value of a parameter in one trial, and the distribution that it was drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct OptunaParameter {
    /// The number itself, or the index of a choice.
    pub internal: f64,
    pub distribution: OptunaDistribution,
}

/// The studies of a file, and what is to be said about reading it.
#[derive(Clone, Debug)]
pub struct OptunaFile {
    /// `journal` or `sqlite`.
    pub format: &'static str,
    pub studies: Vec<OptunaStudy>,
    pub notes: Vec<String>,
}

/// Reads a journal or an SQLite database of Optuna, whatever its name. The file stays as it is.
pub fn read(path: &Path) -> crate::Result<OptunaFile> {
    let mut start = [0; 16];
    let mut file = File::open(path)?;
    let mut length = 0;
    while length < start.len() {
        match file.read(&mut start[length..])? {
            0 => break,
            more => length += more,
        }
    }
    match start == *b"SQLite format 3\0" {
        true => {
            drop(file);
            rdb::read(path)
        }
        false => journal::read(path),
    }
}

/// The values of a category, one for each objective, that names objectives in messages: `0: minimize loss`.
pub fn metric_names(study: &OptunaStudy) -> Vec<String> {
    let given = study.system_attributes.get("study:metric_names").and_then(Value::as_array);
    let several = study.directions.len() > 1;
    (0..study.directions.len().max(1))
        .map(|i| {
            let name = given.and_then(|names| names.get(i)?.as_str()).filter(|name| !name.is_empty());
            let plain = if several { format!("values_{i}") } else { "value".into() };
            name.map_or(plain, String::from)
        })
        .collect()
}
