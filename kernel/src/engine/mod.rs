//! Rust cells, on evcxr.

mod built;
mod compilers;
mod crates;
mod documentation;
mod errors;
mod last_value;
mod locks;
mod output;
mod progress;
pub mod runner;
mod service;
mod sources;
pub mod tensors;

pub use errors::CellError;
pub use output::{Bundle, Cell};
pub use service::{Candidate, Engine, Readiness};
pub use sources::environment as environment_of_sources;
