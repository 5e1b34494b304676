//! Rust cells: the engine on evcxr that compiles them, the process that runs them, and their output.

mod build_progress;
mod compilers;
mod dependencies;
mod documentation;
mod errors;
mod evaluation;
mod last_value;
mod main_function;
mod output;
pub mod prebuild;
pub mod runner;
mod service;
mod standard_library;
mod state;

pub use errors::CellError;
pub use output::{Bundle, Cell};
pub use service::{CompletionItem, Engine};
pub use standard_library::environment as standard_library_environment;
pub use state::Readiness;
