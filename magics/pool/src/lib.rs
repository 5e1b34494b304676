//! Devices, slots, and the processes in which trials run.
//!
//! A *slot* runs one trial at a time, on a GPU or on a share of the CPU. Each slot is a process of its own ([`slot`],
//! started as `tunebook slot`): a trial that crashes, hangs or uses up the memory ends processes of its slot, and
//! nothing else. The [`Pool`] gives trials to free slots and passes on what they report. A [`FarPool`] is slots beyond
//! this machine, which any command leads to that connects standard input and output.

mod copying;
pub mod describe;
pub mod devices;
mod environment;
mod format;
pub mod guard;
mod launch;
mod load;
mod node;
mod pool;
mod pool_slot;
pub mod program_line;
mod queue;
pub mod slot;
mod slot_process;
mod spec;
mod usage;

pub use copying::Copied;
pub use describe::{DescribeError, FinalEvaluation, describe, describe_anew, evaluate_finally};
pub use devices::{Device, Devices, default_slots, devices};
pub use environment::Environment;
pub use launch::{FarPool, Kubernetes, KubernetesError, Launcher};
pub use load::measure;
pub use node::{NeededFile, Needs, hash, name_of_this_machine};
pub use pool::{Pool, PoolError, PoolEvent};
pub use slot::is_timeout;
pub use slot_process::SlotMessage;
pub use spec::{Far, Scheduler, SlotSpec, SlotState, SlotStatus};
pub use usage::Usage;
