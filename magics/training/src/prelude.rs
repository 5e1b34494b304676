//! The names that are in scope in every `%%workload` cell.
//!
//! A cell defines either a type that implements [`Workload`], which the training pipeline trains, or a training
//! function, which runs a loop of its own and reports to a [`Trial`].

pub use crate::catalogue::Function;
pub use crate::data::cifar::cifar10;
pub use crate::data::idx::{idx, idx_examples, mnist_folder};
pub use crate::data::text::{byte_windows, text};
pub use crate::data::{Data, Examples, Fill, Table, missing, npy, npz, read, safetensors, scaled};
pub use crate::hyperparameters::Hyperparameters;
pub use crate::net::{Convolution, Init, Net, Phase};
pub use crate::trial::Trial;
pub use crate::workload::{Metric, Task, Workload, cross_entropy, mean_squared_error};
pub use anyhow::{Context, Result, anyhow, bail, ensure};
pub use tch::{self, Device, Kind, Reduction, Tensor, nn};
/// The earlier name of [`ObjectiveValue`]. Workloads in notebooks and stores use it.
pub use tunebook_study::ObjectiveValue as Judged;
pub use tunebook_study::workload::WorkloadHyperparameter as Hyperparameter;
pub use tunebook_study::{Direction, Distribution, Objective, ObjectiveValue, Value};
