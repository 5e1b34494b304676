//! Devices, slots, and the processes in which trials run.
//!
//! A *slot* is a place for one trial at a time: a share of the CPU or a GPU. What runs in a slot is a process of its own
//! ([`slot`], started as `tunebook slot`), so that a trial that crashes, hangs or eats all memory takes a child process
//! with it and nothing else. The [`Pool`] hands trials to free slots and passes on what they report.

pub mod describe;
pub mod devices;
mod environment;
mod pool;
pub mod program_line;
pub mod slot;

pub use describe::{DescribeError, FinalEvaluation, describe, describe_anew, evaluate_finally};
pub use devices::{Device, Devices, default_slots, devices};
pub use environment::Environment;
pub use pool::{Pool, PoolError, PoolEvent, SlotSpec};
