//! What a study is: the workload, the space, and how a trial is judged.

use crate::{SearchSpace, Trial};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which way the objective is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Smaller is better.
    Minimize,
    /// Larger is better.
    Maximize,
}

impl Direction {
    /// Whether `a` is strictly better than `b`.
    pub fn better(self, a: f64, b: f64) -> bool {
        match self {
            Direction::Minimize => a < b,
            Direction::Maximize => a > b,
        }
    }

    /// The value with the sign that makes smaller better.
    pub fn minimized(self, value: f64) -> f64 {
        match self {
            Direction::Minimize => value,
            Direction::Maximize => -value,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Minimize => "minimize",
            Direction::Maximize => "maximize",
        })
    }
}

/// Which of a trial's measurements counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// The best over training: retrospective selection (Playbook E5, H10).
    #[default]
    Best,
    /// The last.
    Final,
}

/// What a study optimizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// A metric of the workload.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// Best or last value over training.
    #[serde(default)]
    pub judged: Judged,
}

impl Objective {
    /// A trial's objective in the metric's own sign, and its step; `None` where it reported no finite value.
    pub fn of(&self, trial: &Trial) -> Option<(f64, u64)> {
        let summary = trial.summaries.get(&self.metric)?;
        Some(match (self.judged, self.direction) {
            (Judged::Final, _) => summary.last,
            (Judged::Best, Direction::Minimize) => summary.min,
            (Judged::Best, Direction::Maximize) => summary.max,
        })
    }
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkloadReference {
    /// A workload of the worker, by name.
    Builtin { name: String },
    /// A `%%workload` of the user's.
    Rust {
        /// The name it was given.
        name: String,
        /// Hash of its source and of what it is built with: another source is another workload.
        source: String,
    },
    /// Any program; words as a POSIX shell would split them, `{name}` not yet filled in.
    Command { words: Vec<String> },
}

impl fmt::Display for WorkloadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkloadReference::Builtin { name } => f.write_str(name),
            WorkloadReference::Rust { name, source } => write!(f, "{name} ({})", source.get(..8).unwrap_or(source)),
            WorkloadReference::Command { words } => write!(f, "command {}", words.join(" ")),
        }
    }
}

/// Everything that makes two runs of a study the same study: the body of its cell, and the seed, sampler and
/// repeats. How many trials are asked for, and how they are run, is not part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyDefinition {
    /// What is trained.
    pub workload: WorkloadReference,
    /// The hyperparameters with their roles.
    pub space: SearchSpace,
    /// How a trial is judged.
    pub objective: Objective,
    /// Which sampler proposes.
    pub sampler: crate::sampler::SamplerKind,
    /// Seed of the proposals and, with the trial's number, of each trial.
    pub seed: u64,
    /// Trials of each configuration, each with a seed of its own.
    pub repeats: u32,
    /// What the study is to answer (Playbook D5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}
