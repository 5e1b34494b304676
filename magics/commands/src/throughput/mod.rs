//! Measuring throughput: probes in processes of their own, the order in which they are made, and what is kept of them.

mod kept;
mod measure;
mod probe;
mod times;

pub use kept::{Inputs, Kept, keep, keep_times, latest, recorded_times};
pub use measure::{Measured, measure};
pub use probe::Prober;
pub use times::timed;
