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
    /// Loads the data, and nothing else.
    Load,
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
    /// Whether a size lasts: many steps with an evaluation.
    Verify {
        /// Examples a step.
        batch_size: u64,
    },
    /// Trains as a trial would, and pauses at steps to measure the norms of gradients of small and large batches.
    Noise {
        /// The steps, rising.
        at: Vec<u64>,
        /// Large batches at each of them.
        pairs: u64,
        /// Examples of a small batch.
        small: u64,
        /// Examples of a large batch; a multiple of the small one, of which it is made up.
        large: u64,
    },
}

impl ProbeTask {
    /// The largest batch that it makes.
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

/// Squared L2 norms of the gradient of a small batch and of a large one at the same parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormPair {
    /// Of the small batch, or the mean of several small ones.
    pub small: f64,
    /// Of the large batch.
    pub large: f64,
}

impl NormPair {
    /// Unbiased estimates of |G|², the squared norm of the true gradient, and of tr Σ, the variance of the gradient of one
    /// example, from batches of these sizes (McCandlish et al. 2018, appendix A.1). Their ratio tr Σ / |G|² is the noise scale;
    /// it is biased, so numerators and denominators are averaged apart.
    pub fn estimate(&self, small_batch: f64, large_batch: f64) -> (f64, f64) {
        let gradient = (large_batch * self.large - small_batch * self.small) / (large_batch - small_batch);
        let variance = (self.small - self.large) / (1.0 / small_batch - 1.0 / large_batch);
        (gradient, variance)
    }
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
    /// Whether batches are made ahead and copied while the model computes; otherwise the stages follow one another.
    pub overlapped: bool,
    /// How long the host is held by one step of an idle GPU: as long as the step takes where it reads a value back.
    pub issue: Option<f64>,
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
    /// Norms of gradients after a number of steps.
    Noise {
        /// Steps taken.
        step: u64,
        /// One pair a large batch; fewer than asked for where a norm was not finite.
        pairs: Vec<NormPair>,
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
