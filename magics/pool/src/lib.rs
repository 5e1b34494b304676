//! Devices, slots, and the processes in which trials run.
//!
//! A *slot* runs one trial at a time, on a GPU or on a share of the CPU. Each slot is a process of its own ([`slot`],
//! started as `tunebook slot`): a trial that crashes, hangs or uses up the memory ends processes of its slot, and
//! nothing else. The [`Pool`] gives trials to free slots and passes on what they report.

pub mod describe;
pub mod devices;
mod environment;
mod format;
mod pool;
pub mod program_line;
pub mod slot;

pub use describe::{DescribeError, FinalEvaluation, describe, describe_anew, evaluate_finally};
pub use devices::{Device, Devices, default_slots, devices};
pub use environment::Environment;
pub use pool::{Pool, PoolError, PoolEvent, SlotMessage, SlotSpec};
