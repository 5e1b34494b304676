//! Rust cells: the engine on evcxr that compiles them, the process that runs them, and their output.

mod beside;
mod build_progress;
mod compilers;
mod dependencies;
mod documentation;
mod errors;
mod evaluation;
mod gone;
mod last_value;
mod main_function;
mod output;
pub mod prebuild;
pub mod runner;
mod service;
mod standard_library;
mod state;
mod statics;
mod versions;
mod wording;

pub use errors::CellError;
pub use output::{Bundle, Cell};
pub use service::{CompletionItem, Engine};
pub use standard_library::environment as standard_library_environment;
pub use state::Readiness;
pub use versions::current as lock_file;
