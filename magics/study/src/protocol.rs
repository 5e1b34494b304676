//! The messages between the pool and a slot, and between a slot and its worker. Each message is a JSON object on a
//! line.
//!
//! ```text
//! pool ── Request ──► slot (`tunebook slot`) ── Request ──► worker
//!      ◄── Event ───                         ◄── Event ───
//! ```
//!
//! A slot forwards requests for workloads to its worker, and runs programs itself. It prints [`Event::Hello`] first.
//! Lines before that one, such as a banner of `ssh`, are skipped.

use crate::{Direction, Measurement, Params, TrialState, WorkloadReference};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version of this protocol. A slot or a worker with another one is refused.
pub const VERSION: u32 = 1;

/// Identifies a trial.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrialId {
    /// The name of the study.
    pub study: String,
    /// The number of the trial in the study, from 1.
    pub number: u32,
}

/// Everything that is needed to run a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// The trial.
    pub trial: TrialId,
    /// The workload that is trained.
    pub workload: WorkloadReference,
    /// The hyperparameters that are active in the trial. The command of a program gets those that its placeholders
    /// name.
    pub params: Params,
    /// The seed of all randomness in the trial.
    pub seed: u64,
    /// The metric that the trial must report to be complete.
    pub objective: String,
    /// Whether smaller or larger values of that metric are better. The best checkpoint is the one with the best value.
    pub direction: Direction,
    /// The absolute path of the trial's own folder, for checkpoints, series and the log. The slot creates it.
    pub directory: PathBuf,
    /// A limit of the time in seconds. A trial that takes longer is ended, as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// The program of the worker that has the workload. None is the built-in worker of the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<PathBuf>,
    /// When the trial ends, if it is trained only until it reaches a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<StoppingRule>,
    /// The number of steps between two estimates of the gradient noise scale, which are reported as `noise_scale`. None
    /// for no estimates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_every: Option<u64>,
    /// Whether each evaluation looks at the training examples too. Their metrics are reported as `train/error` and so
    /// on, and their loss as `train/eval_loss`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub training_metrics: bool,
    /// When the trial ends, if it is trained only until it fits the training examples. It then has `training_metrics`
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<FitRule>,
}

/// When a trial ends that measures how many training steps are needed to fit the training examples (Playbook G5, G6).
/// It is complete once a metric is small enough at [`FitRule::EVALUATIONS`] evaluations in a row, and also if that has
/// not happened at its last step. It keeps no checkpoints, since the trained model is not needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitRule {
    /// A metric of the training examples, such as `train/error`.
    pub metric: String,
    /// The trial fits where the metric is at most this.
    pub at_most: f64,
    /// The distance of two evaluations as a share of the steps before them, so that every number of steps is known
    /// equally well. None for evaluations every `eval_every` steps.
    pub growth: Option<f64>,
}

impl FitRule {
    /// How many evaluations in a row must fit. A single one may be luck.
    pub const EVALUATIONS: usize = 2;

    /// The step of the next evaluation after one at `step`. None if it follows from `eval_every`.
    pub fn next(&self, step: u64) -> Option<u64> {
        self.growth.map(|growth| step + ((step as f64 * growth).ceil() as u64).max(1))
    }

    /// Whether the model fits the training examples at an evaluation with these metrics.
    pub fn is_met(&self, metrics: &indexmap::IndexMap<String, Option<f64>>) -> bool {
        metrics.get(&self.metric).copied().flatten().is_some_and(|value| value <= self.at_most)
    }
}

/// When a trial ends that measures how many training steps are needed to reach a target of the objective (Shallue et
/// al., "Measuring the effects of data parallelism on neural network training", 2019). It is evaluated often enough
/// to know that number within 2 % ([`StoppingRule::next`]). It keeps no checkpoints, since the trained model is not
/// needed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoppingRule {
    /// The target: the trial is complete once the objective is this good.
    pub target: f64,
    /// The first step at which the model is evaluated. The target is not expected before it.
    pub from: u64,
    /// The step at which a trial that has not reached the target ends, as stopped.
    pub at_most: u64,
}

impl StoppingRule {
    /// The step of the next evaluation after one at `step`: 2 % later, but at least one step.
    pub fn next(&self, step: u64) -> u64 {
        (step + (step / 50).max(1)).max(self.from).min(self.at_most.max(step + 1))
    }

    /// Whether a trial ends with this value of the objective at this step: `Some(true)` if it has reached the target,
    /// `Some(false)` if it ends without, None if it goes on.
    pub fn verdict(&self, direction: Direction, objective: f64, step: u64) -> Option<bool> {
        let reached = direction.minimized(objective) <= direction.minimized(self.target);
        (reached || step >= self.at_most).then_some(reached)
    }

    /// Why a trial ended without reaching the target.
    pub fn reason(&self, metric: &str) -> String {
        format!("`{metric}` did not reach {} within {} steps", self.target, self.at_most)
    }
}

/// A file that a workload read, with the hash of what it contained then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// The path of the file.
    pub path: PathBuf,
    /// The SHA-256 hash of its contents, in hexadecimal.
    pub sha256: String,
}

/// A message from the pool to a slot, or from a slot to its worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Asks to run trials. Today each request has one.
    Run {
        /// The trials.
        trials: Vec<TrialRequest>,
    },
    /// Asks to end a trial now. The answer is [`Event::Ended`] with the state cancelled.
    Cancel {
        /// The trial.
        trial: TrialId,
    },
}

/// A message from a worker to its slot, or from a slot to the pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first message: the sender is ready.
    Hello {
        /// [`VERSION`].
        protocol: u32,
        /// The process id of the sender.
        pid: u32,
    },
    /// A trial starts.
    Started {
        /// The trial.
        trial: TrialId,
    },
    /// A trial has read files. Its data come before its first measurement, other files before its end.
    Loaded {
        /// The trial.
        trial: TrialId,
        /// The files.
        data: Vec<DataSource>,
        /// The hash of the validation examples that judge the trial. It comes with the data of a workload.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validation: Option<String>,
    },
    /// Which of its hyperparameters a trial used. This comes before its end.
    Used {
        /// The trial.
        trial: TrialId,
        /// The hyperparameters of the request that the code of the trial read.
        used: Vec<String>,
        /// Those that it did not read. They had no effect.
        unused: Vec<String>,
    },
    /// A trial has measured its metrics.
    Measured {
        /// The trial.
        trial: TrialId,
        /// The metrics, with their step and time.
        #[serde(flatten)]
        measurement: Measurement,
    },
    /// A trial has ended. This is the last message about it.
    Ended {
        /// The trial.
        trial: TrialId,
        /// Any state but running.
        state: TrialState,
        /// Why it is in that state, in one line. For a complete trial, what of it was not recorded or kept, if
        /// anything.
        #[serde(default)]
        reason: Option<String>,
        /// How long the trial took, in seconds.
        seconds: f64,
        /// Whether a program ended with status 0 and did not report the objective. One that goes on from a checkpoint
        /// of its own may have reported it before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unreported: bool,
    },
}
