//! A notebook as a crate: what its cells leave behind, written down as a program.

mod check;
mod krate;
mod program;

pub use check::{check, formatted};
pub use krate::{Place, manifest, script};
pub use program::Program;
