//! A cell as the user wrote it: Rust, magics and shell commands, in the order in which they run.

mod completeness;
mod layout;
mod lexer;
mod segments;

pub use completeness::{Completeness, completeness};
pub use segments::{Segment, masked, segments};
