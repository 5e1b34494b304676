//! Training on libtorch: what a workload is, the pipeline that trains it, and the worker that runs trials.
//!
//! A [`Workload`] says what is trained: data and a forward. The [`trainer`] drives it with hyperparameters that all workloads
//! share; a [`Function`](catalogue::Function) brings a training loop of its own. The [`worker`] runs one trial after the
//! other and reports them.

mod batches;
pub mod catalogue;
pub mod checkpoint;
pub mod data;
mod divergence;
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
pub use workload::{Metric, Task, Workload, cross_entropy, describe};
