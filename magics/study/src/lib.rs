//! The vocabulary of tuning: hyperparameters, search spaces, samplers, trials and studies, the store that records them,
//! and the messages between the pool and a worker.
//!
//! This crate knows neither Jupyter nor libtorch, so any Rust program can use it.

pub mod definition;
pub mod distribution;
pub mod divergence;
pub mod early_stopping;
pub mod probe;
pub mod protocol;
pub mod sampler;
pub mod space;
pub mod store;
pub mod trial;
pub mod value;
pub mod workload;

pub use definition::{
    Direction, EarlierSpace, GivenLater, Objective, ObjectiveValue, ProgramLine, StudyDefinition, WorkloadReference,
};
pub use distribution::{Distribution, DistributionError, Scale};
pub use early_stopping::{EarlyStopping, StopEarly};
pub use space::{Condition, Hyperparameter, Role, SearchSpace, SpaceError};
pub use trial::{ClassCount, Measurement, MetricSummary, Trial, TrialState, VALIDATION_EXAMPLES};
pub use value::Value;
pub use workload::{HyperparameterDomain, HyperparameterType, WorkloadDescription, WorkloadHyperparameter};

/// The summaries of the metrics of one trial.
pub type Summaries = indexmap::IndexMap<String, MetricSummary>;

/// The hyperparameters of one trial: values by plain name, in the order of declaration.
pub type Params = indexmap::IndexMap<String, Value>;
