//! A cell as the user wrote it: Rust, magics and shell commands, in the order in which they run.

mod completeness;
mod layout;
mod lexer;
mod split;

pub use completeness::{Completeness, completeness};
pub use split::{Segment, masked, segments};
