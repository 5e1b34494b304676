//! The messages of probes: measurements of a workload that are no trials. A probe finds out whether a batch size fits
//! into memory, how long training steps take, and what they spend the time on.
//!
//! `tunebook-worker probe` reads one [`ProbeRequest`] from its standard input and prints [`ProbeAnswer`]s, each a JSON
//! object on a line. Each probe is a process of its own, because it may be killed when memory runs out, which is an
//! answer too.

use crate::Params;
use serde::{Deserialize, Serialize};

/// What a probe is to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The name of the workload.
    pub workload: String,
    /// The hyperparameters that do not have their default values, without `batch_size`, which the task sets.
    pub params: Params,
    pub task: ProbeTask,
}

/// The task of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum ProbeTask {
    /// Load the data, and nothing else.
    Load,
    /// Find out whether a batch size fits into memory, by a few training steps and an evaluation.
    Fit {
        /// The number of examples in a step.
        batch_size: u64,
    },
    /// Measure the times of steps. The batch sizes take turns, so that a disturbance does not hit one of them alone.
    Time {
        /// The batch sizes. All of them fit into memory.
        batch_sizes: Vec<u64>,
        /// Whether to measure evaluation steps instead of training steps.
        evaluate: bool,
    },
    /// Measure what a training step spends its time on.
    Stages {
        /// The number of examples in a step.
        batch_size: u64,
    },
    /// Find out whether a batch size still fits after many training steps and an evaluation.
    Verify {
        /// The number of examples in a step.
        batch_size: u64,
    },
    /// Train as a trial does, and pause at some steps to measure the norms of the gradients of small and large batches.
    Noise {
        /// The steps, in ascending order.
        at: Vec<u64>,
        /// How many large batches are measured at each of these steps.
        pairs: u64,
        /// The number of examples in a small batch.
        small: u64,
        /// The number of examples in a large batch. It is a multiple of `small`: a large batch consists of small ones.
        large: u64,
    },
}

impl ProbeTask {
    /// The number of examples in the largest batch that the task computes at once.
    pub fn largest_batch(&self) -> u64 {
        match self {
            ProbeTask::Fit { batch_size } | ProbeTask::Stages { batch_size } | ProbeTask::Verify { batch_size } => {
                *batch_size
            }
            ProbeTask::Time { batch_sizes, .. } => batch_sizes.iter().copied().max().unwrap_or(0),
            ProbeTask::Noise { small, .. } => *small,
            ProbeTask::Load => 0,
        }
    }
}

/// The squared L2 norms of the gradients of a small and of a large batch, at the same parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormPair {
    /// The squared norm for a small batch, or its mean over several small batches.
    pub small: f64,
    /// The squared norm for the large batch.
    pub large: f64,
}

impl NormPair {
    /// Unbiased estimates of |G|², the squared norm of the true gradient, and of tr Σ, the variance of the gradient of
    /// one example (McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, appendix A.1):
    ///
    /// |G|² = (B_large |g_large|² − B_small |g_small|²) / (B_large − B_small),
    /// tr Σ = (|g_small|² − |g_large|²) / (1 / B_small − 1 / B_large).
    ///
    /// The noise scale is tr Σ / |G|². The ratio of two estimates is biased, so both are averaged before they are
    /// divided.
    pub fn estimate(&self, small_batch: f64, large_batch: f64) -> (f64, f64) {
        let gradient = (large_batch * self.large - small_batch * self.small) / (large_batch - small_batch);
        let variance = (self.small - self.large) / (1.0 / small_batch - 1.0 / large_batch);
        (gradient, variance)
    }
}

/// The use of one kind of memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// `device`, `resident` or `address_space`.
    pub kind: String,
    /// The largest use, in bytes.
    pub used: u64,
    /// How much this process could use, in bytes.
    pub limit: u64,
    /// Whether a process that reaches the limit gets an error, which it can report. If it would be killed instead, or
    /// others with it (the memory of the machine), probes stay well below the limit.
    pub hard: bool,
}

/// The time of one training step in seconds, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// Making the batch: loading, augmentation.
    pub input: f64,
    /// Copying it to the device.
    pub transfer: f64,
    /// Forward pass, backward pass and update, with a batch that is on the device already.
    pub compute: f64,
    /// A whole step, as training does it.
    pub full: f64,
    /// Whether training makes and copies the next batch while the model computes. Otherwise it does one after the
    /// other.
    pub overlapped: bool,
    /// How long the host needs to give one step to an idle GPU. If the step reads a value back from the GPU, this is as
    /// long as the whole step. None on a CPU.
    pub issue: Option<f64>,
}

/// A result of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ProbeAnswer {
    /// The data are loaded.
    Loaded {
        /// The number of training examples.
        examples: u64,
        /// The SHA-256 hashes of the files that the data came from.
        data: String,
    },
    /// The batch size fits into memory.
    Fits {
        /// The use of each kind of memory that can run out.
        memory: Vec<MemoryUse>,
    },
    /// The batch size does not fit into memory.
    OutOfMemory {
        /// The batch size.
        batch_size: u64,
        /// The error message.
        reason: String,
    },
    /// Times of steps with one batch size, which gets several turns.
    Timed {
        /// The batch size.
        batch_size: u64,
        /// For each block of steps in this turn, the seconds that one step took.
        blocks: Vec<f64>,
    },
    /// What a training step spends its time on.
    Stages {
        /// The medians over many steps.
        seconds: StageSeconds,
    },
    /// The norms of gradients at one step.
    Noise {
        /// The number of training steps done.
        step: u64,
        /// One pair for each large batch.
        pairs: Vec<NormPair>,
    },
    /// The training diverged, so that norms of later steps mean nothing.
    Diverged {
        /// At which step, and how that is known.
        reason: String,
    },
    /// The probe has ended.
    Done {
        /// The share of the time, from 0 to 1, in which the thread was ready to run but had no processor, because other
        /// threads used it. It tells whether the machine was too busy for the times to be right.
        waited: f64,
    },
    /// The task cannot be done.
    Failed {
        /// Why not.
        reason: String,
    },
}
