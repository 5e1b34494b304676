//! Rust cells, on evcxr.

mod engine;
mod errors;
pub mod runner;
mod sources;

pub use engine::{Engine, Input, Sink};
pub use errors::CellError;
pub use sources::prepare as prepare_rust_sources;
