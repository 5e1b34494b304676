//! What a worker is asked to measure of a workload: whether a batch size fits into memory, how long its steps take, and what
//! they spend their time on. `worker probe` reads one [`ProbeRequest`] from its standard input and prints [`ProbeAnswer`]s, one
//! JSON object a line. Each runs in a process of its own, so that its end (out of memory) is an answer too.

use crate::Params;
use serde::{Deserialize, Serialize};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The workload's name.
    pub workload: String,
    /// Hyperparameters that are not at their defaults; `batch_size` is set by the task.
    pub params: Params,
    /// What to do.
    pub task: ProbeTask,
}

/// The kinds of probes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum ProbeTask {
    /// A few steps of one size with an evaluation: does it fit?
    Fit {
        /// Examples a step.
        batch_size: u64,
    },
    /// Times of steps at sizes that fit, in turn.
    Time {
        /// Examples a step.
        batch_sizes: Vec<u64>,
        /// Evaluation steps instead of training steps.
        evaluate: bool,
    },
    /// What a step spends its time on.
    Stages {
        /// Examples a step.
        batch_size: u64,
    },
}

/// How much of one kind of memory was used at most, and how much there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// `device`, `resident`, `address_space`.
    pub kind: String,
    /// The most that was in use, in bytes.
    pub used: u64,
    /// What this process could have had, in bytes.
    pub limit: u64,
    /// Whether using it up ends in an error that can be caught. Where it ends processes (a machine's own memory), a probe stays
    /// below a share of it.
    pub hard: bool,
}

/// Seconds of one step, split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// Making a batch: loading, augmentation.
    pub input: f64,
    /// Copying it to the device.
    pub transfer: f64,
    /// Forward, backward and update on a batch that is there.
    pub compute: f64,
    /// All of it, as training does it.
    pub full: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ProbeAnswer {
    /// The data are loaded.
    Loaded {
        /// Examples to train on.
        examples: u64,
        /// SHA-256 of each file that they came from.
        data: String,
    },
    /// A size fits.
    Fits {
        /// Each kind of memory that can run out.
        memory: Vec<MemoryUse>,
    },
    /// A size does not.
    OutOfMemory {
        /// The size.
        batch_size: u64,
        /// What the library said.
        reason: String,
    },
    /// Blocks of steps of a size, one visit of several.
    Timed {
        /// The size.
        batch_size: u64,
        /// Seconds a step, one number a block of steps.
        blocks: Vec<f64>,
    },
    /// What a step spends its time on.
    Stages {
        /// Medians.
        seconds: StageSeconds,
    },
    /// It is at its end.
    Done {
        /// Share of the time in which the thread was ready to run and another had its processor.
        waited: f64,
    },
    /// It cannot be measured.
    Failed {
        /// Why.
        reason: String,
    },
}
