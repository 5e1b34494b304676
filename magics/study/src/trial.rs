//! Trials: one training run each, with one configuration of the hyperparameters, and what it reported.

use crate::Params;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// The trial runs now.
    Running,
    /// The trial ended and reported its objective.
    Complete,
    /// The objective or the training loss became non-finite, the training diverged, or memory ran out. This is a
    /// result: it says that the hyperparameters cannot be used. It is decided from the trial alone, without comparison
    /// to others.
    Infeasible,
    /// A stopping rule ended the trial before it was complete.
    Stopped,
    /// The trial crashed, exited with an error, took too long, or ended without reporting its objective.
    Failed,
    /// The trial was cut off, by the user, at the end of its run of the study, or because its kernel ended. It runs
    /// again under its number when the study is resumed.
    Cancelled,
}

impl TrialState {
    /// The name of the state in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            TrialState::Running => "running",
            TrialState::Complete => "complete",
            TrialState::Infeasible => "infeasible",
            TrialState::Stopped => "stopped",
            TrialState::Failed => "failed",
            TrialState::Cancelled => "cancelled",
        }
    }

    /// The state of a name, if there is one: the reverse of [`TrialState::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Complete, Self::Infeasible, Self::Stopped, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Whether a resumed study runs the trial again.
    pub fn runs_again(self) -> bool {
        matches!(self, TrialState::Running | TrialState::Cancelled)
    }
}

impl fmt::Display for TrialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The metrics that a trial reported at one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The number of training steps done.
    pub step: u64,
    /// Seconds since the trial started.
    pub seconds: f64,
    /// Values by the name of the metric; None for a value that is not finite.
    pub metrics: IndexMap<String, Option<f64>>,
}

/// The extremes and the last value of one metric over a trial, each with its step. Only finite values count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// The smallest value, and the step at which it was first reached.
    pub min: (f64, u64),
    /// The largest value, and the step at which it was first reached.
    pub max: (f64, u64),
    /// The last value, and its step.
    pub last: (f64, u64),
}

impl MetricSummary {
    /// Adds a value to a summary, which is None before the first one.
    pub fn extend(summary: &mut Option<Self>, value: f64, step: u64) {
        let point = (value, step);
        match summary {
            None => *summary = Some(Self { min: point, max: point, last: point }),
            Some(s) => {
                if value < s.min.0 {
                    s.min = point;
                }
                if value > s.max.0 {
                    s.max = point;
                }
                s.last = point;
            }
        }
    }
}

/// A trial as the store records it. Its measurements are read separately, because most questions need only the
/// summaries.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The number of the trial, from 1, in the order in which trials were proposed.
    pub number: u32,
    /// The index of the configuration, from 0. Trials that repeat a configuration with another seed share it.
    pub configuration: u32,
    /// The hyperparameters that are active in this trial, including the fixed ones.
    pub params: Params,
    /// The seed of all randomness in the trial.
    pub seed: u64,
    pub state: TrialState,
    /// Why the trial is in this state, in one line. For a complete trial, what of it was not recorded or kept, if
    /// anything.
    pub reason: Option<String>,
    /// The summary of each metric that the trial reported.
    pub summaries: IndexMap<String, MetricSummary>,
    /// How long the trial took, in seconds.
    pub seconds: f64,
    /// When the trial started, in Unix seconds.
    pub started: f64,
}

/// The metric that says on how many examples the metrics `valid/…` are computed. Workloads report it with their first
/// evaluation, and a program may.
pub const VALIDATION_EXAMPLES: &str = "valid/examples";

/// How many examples of one class a model gets right (Playbook H9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The name of the class.
    pub class: String,
    /// The number of its examples.
    pub examples: u64,
    /// The number of those that the model assigns to it.
    pub correct: u64,
}
