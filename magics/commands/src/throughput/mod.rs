//! Measuring throughput: probes in processes of their own, and the order in which they are made.

mod measure;
mod probe;

pub use measure::{Measured, measure};
pub use probe::Prober;
