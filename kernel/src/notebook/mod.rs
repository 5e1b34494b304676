//! Notebooks on the command line: `tunebook run` executes one without a front end, and `tunebook diff` compares the
//! results that two of them hold.

mod diff;
mod document;
mod kernel_process;
mod outputs;
mod page;
mod parameters;
mod run;

pub use diff::{DiffOptions, diff};
pub use parameters::Parameter;
pub use run::{RunOptions, run};
