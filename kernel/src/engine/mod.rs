//! Rust cells, on evcxr.

mod build_progress;
mod compilers;
mod dependencies;
mod documentation;
mod errors;
mod last_value;
mod output;
pub mod prebuild;
pub mod runner;
mod service;
mod standard_library;

pub use errors::CellError;
pub use output::{Bundle, Cell};
pub use service::{Candidate, Engine, Readiness};
pub use standard_library::environment as standard_library_environment;
