//! The messages between the pool and a slot, and between a slot and its worker: one JSON object a line.
//!
//! ```text
//! pool ── Request ──► slot (`tunebook slot`) ── Request ──► worker
//!      ◄── Event ───                         ◄── Event ───
//! ```
//!
//! A slot forwards requests for built-in workloads to a worker that it keeps warm, and runs programs itself. It
//! prints [`Event::Hello`] first; what comes before that line (banners of `ssh` and the like) is skipped.

use crate::{Direction, Measurement, Params, TrialState, WorkloadReference};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Version of this protocol; a slot that speaks another one is refused.
pub const VERSION: u32 = 1;

/// Which trial a message is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrialId {
    /// Name of the study.
    pub study: String,
    /// Number of the trial in it, from 1.
    pub number: u32,
}

/// All that a trial needs to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// Which trial this is.
    pub trial: TrialId,
    /// What to train.
    pub workload: WorkloadReference,
    /// The active hyperparameters; a program's placeholders are filled from them.
    pub params: Params,
    /// Seed of all randomness.
    pub seed: u64,
    /// The metric that must be there at the end.
    pub objective: String,
    /// Which way it is better: the best checkpoint is the best by it.
    pub direction: Direction,
    /// A folder of the trial's own for checkpoints, series and the log; absolute. Made by the slot.
    pub directory: PathBuf,
    /// Seconds after which the trial is ended as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// The worker that has the workload, where it is not the slot's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<PathBuf>,
    /// Where it is trained to reach a target and no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// Steps between two estimates of the gradient noise scale, reported as `noise_scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_every: Option<u64>,
}

/// When a trial ends that is trained to see how many steps it needs for a target of its objective. It is evaluated often enough
/// to know that to 2 % ([`Until::next`]), and keeps no checkpoints: the question is when, not what.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Until {
    /// The value of the objective that is enough.
    pub target: f64,
    /// The first step that is worth an evaluation.
    pub from: u64,
    /// The step after which it gives up and ends as stopped.
    pub at_most: u64,
}

impl Until {
    /// The step of the evaluation that follows one at `step`.
    pub fn next(&self, step: u64) -> u64 {
        (step + (step / 50).max(1)).max(self.from).min(self.at_most.max(step + 1))
    }

    /// What a value of the objective at a step means: `Some(true)` the target is reached, `Some(false)` it gives up.
    pub fn verdict(&self, direction: Direction, objective: f64, step: u64) -> Option<bool> {
        let reached = direction.minimized(objective) <= direction.minimized(self.target);
        (reached || step >= self.at_most).then_some(reached)
    }

    /// Why a trial was stopped.
    pub fn reason(&self, metric: &str) -> String {
        format!("`{metric}` did not reach {} within {} steps", self.target, self.at_most)
    }
}

/// A file that a workload read, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// Where it lies.
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// From the pool to a slot, and from a slot to its worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Run these trials (today one at a time).
    Run {
        /// The trials.
        trials: Vec<TrialRequest>,
    },
    /// End one trial now; it answers [`Event::Ended`] as cancelled.
    Cancel {
        /// Which.
        trial: TrialId,
    },
}

/// From a slot (or worker) upwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first line: the slot is ready.
    Hello {
        /// [`VERSION`].
        protocol: u32,
        /// Process id of the sender.
        pid: u32,
    },
    /// The trial begins; sent by whatever trains it.
    Started {
        /// Which.
        trial: TrialId,
    },
    /// The files that its data came from; sent before the first measurement, where there are any.
    Loaded {
        /// Which trial.
        trial: TrialId,
        /// The files.
        data: Vec<DataSource>,
    },
    /// Metrics at a step.
    Measured {
        /// Which trial.
        trial: TrialId,
        /// What it reported.
        #[serde(flatten)]
        measurement: Measurement,
    },
    /// The trial is over; nothing about it follows.
    Ended {
        /// Which.
        trial: TrialId,
        /// Complete, infeasible, failed or cancelled.
        state: TrialState,
        /// Why, in one line, where it is not complete.
        #[serde(default)]
        reason: Option<String>,
        /// Seconds it took.
        seconds: f64,
    },
}
