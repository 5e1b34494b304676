//! The vocabulary of tuning: hyperparameters, search spaces, samplers, trials, studies, the store that
//! remembers them, and the messages that a worker and the pool exchange.
//!
//! This crate knows neither Jupyter nor libtorch and can be used from a plain Rust program.

pub mod definition;
pub mod distribution;
pub mod probe;
pub mod protocol;
pub mod sampler;
pub mod space;
pub mod store;
pub mod trial;
pub mod value;
pub mod workload;

pub use definition::{Direction, Judged, Objective, StudyDefinition, WorkloadReference};
pub use distribution::{Distribution, DistributionError, Scale};
pub use space::{Condition, Hyperparameter, Role, SearchSpace, SpaceError};
pub use trial::{Measurement, MetricSummary, Trial, TrialState};
pub use value::Value;
pub use workload::{HyperparameterDomain, HyperparameterType, WorkloadDescription, WorkloadHyperparameter};

/// Hyperparameters of one trial by plain name, in the order of declaration.
pub type Params = indexmap::IndexMap<String, Value>;
