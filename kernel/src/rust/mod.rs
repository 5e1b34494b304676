//! Rust cells, on evcxr.

mod built;
mod compilers;
mod crates;
mod documentation;
mod engine;
mod errors;
mod last_value;
mod locks;
mod output;
mod progress;
pub mod runner;
mod sources;
pub mod tensors;

pub use engine::{Candidate, Engine, Readiness};
pub use errors::CellError;
pub use output::{Bundle, Cell};
pub use sources::environment as environment_of_sources;
