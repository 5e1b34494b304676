//! Notebooks and magics on the command line: `tunebook run` executes a notebook without a front end, `tunebook diff`
//! compares the results that two of them hold, `tunebook sweep` and so on run one magic on the terminal, and
//! `tunebook replay FILE.zip` runs the studies of a bundle again.

mod bundle;
mod cell;
mod diff;
mod document;
mod kernel_process;
mod literals;
mod magic;
mod outputs;
mod page;
mod parameters;
mod run;
mod terminal;
mod waiting;

pub use diff::{DiffOptions, diff};
pub use magic::{magics, run_magic};
pub use parameters::Parameter;
pub use run::{RunOptions, run};
pub use terminal::show_usage;
