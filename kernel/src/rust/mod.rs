//! Rust cells, on evcxr.

mod crates;
mod engine;
mod errors;
mod locks;
mod output;
pub mod runner;
mod sources;
pub mod tensors;

pub use engine::{Engine, Input, Sink};
pub use errors::CellError;
pub use sources::environment as environment_of_sources;
