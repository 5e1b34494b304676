//! Training on libtorch: the worker, its trainer and the built-in workloads.
//!
//! A [`Workload`] says what is trained: data, parameters, forward. The trainer drives it with hyperparameters that all
//! workloads share; the [`worker`] runs one trial after the other and reports them.

pub mod data;
mod divergence;
pub mod hyperparameters;
pub mod libtorch;
pub mod optimizer;
pub mod randomness;
pub mod schedule;
pub mod trainer;
pub mod worker;
mod workload;
pub mod workloads;

pub use workload::{Batch, Split, Workload};
