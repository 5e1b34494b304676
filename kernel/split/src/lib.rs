//! Splits a cell, as the user typed it, into Rust, magics and shell commands, in the order in which they run; and tells
//! whether a cell is complete.

mod commands;
mod completeness;
mod layout;
mod lexer;
mod segments;

pub use commands::command_lines;
pub use completeness::{Completeness, completeness};
pub use segments::{Segment, masked, segments};
