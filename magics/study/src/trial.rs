//! One training run with one setting of the hyperparameters, and what it reported.

use crate::Params;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// In a slot now (or was, when its kernel died).
    Running,
    /// Ended with an objective.
    Complete,
    /// Its objective or training loss became non-finite, it diverged, or it ran out of memory: a result about the
    /// hyperparameters, decided from the trial alone.
    Infeasible,
    /// Ended early by the study's stopping rule.
    Stopped,
    /// Crash, non-zero exit, time-out, or an end without the objective.
    Failed,
    /// Interrupted; it runs again under its number on resume.
    Cancelled,
}

impl TrialState {
    /// The name in JSON and in the store.
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

    /// The reverse of [`TrialState::as_str`].
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

/// Metrics at one step; what was not finite is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Training steps done.
    pub step: u64,
    /// Seconds since the trial started.
    pub seconds: f64,
    /// Value by metric name.
    pub metrics: IndexMap<String, Option<f64>>,
}

/// Extremes and end of one metric over a trial; only finite values count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Smallest value and the step where it was first reached.
    pub min: (f64, u64),
    /// Largest value and the step where it was first reached.
    pub max: (f64, u64),
    /// Last value and its step.
    pub last: (f64, u64),
}

impl MetricSummary {
    /// Takes in one more value.
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

/// A trial as the store remembers it. Its measurements are read apart: most questions need only the summaries.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// From 1, in the order of proposal.
    pub number: u32,
    /// Which setting of the hyperparameters, from 0; trials that repeat one with another seed share it.
    pub configuration: u32,
    /// Active hyperparameters by plain name, the fixed ones included.
    pub params: Params,
    /// Seed of all its randomness.
    pub seed: u64,
    /// How it stands.
    pub state: TrialState,
    /// Why it stands so, in one line; empty for a complete one.
    pub reason: Option<String>,
    /// Summary of each metric that it reported.
    pub summaries: IndexMap<String, MetricSummary>,
    /// Seconds it took.
    pub seconds: f64,
    /// When it started (Unix seconds).
    pub started: f64,
}
