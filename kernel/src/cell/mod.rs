//! A cell as the user wrote it: Rust, magics and shell commands, in the order in which they run.

mod lexer;
mod split;

pub use lexer::{Completeness, completeness};
pub use split::{Segment, masked, segments};
