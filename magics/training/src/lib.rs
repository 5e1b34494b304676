//! Trains models on libtorch.
//!
//! A [`Workload`] provides data and the forward pass of a model; the [`trainer`] trains it, with hyperparameters that
//! all workloads share. A [`Function`](catalogue::Function) is a training loop of the user's own instead. The
//! [`worker`] is the process that runs trials one after the other and reports their metrics.

mod batches;
pub mod catalogue;
pub mod checkpoint;
mod classes;
pub mod data;
mod evaluation;
pub mod hyperparameters;
pub mod libtorch;
pub mod model;
pub mod net;
pub mod optimizer;
mod panics;
pub mod prelude;
mod probe;
pub mod randomness;
pub mod schedule;
mod smoke;
mod test_set;
pub mod trainer;
pub mod trial;
pub mod worker;
mod workload;
pub mod workloads;

pub use data::{Data, Examples};
pub use hyperparameters::Hyperparameters;
pub use net::Net;
pub use trial::Trial;
pub use workload::{Metric, Task, Workload, cross_entropy, describe, mean_squared_error};
