//! What a magic sees of the kernel that runs it: the output of its cell, the session, and the interrupt. The kernel
//! implements these traits; in tests `FakeHost` does.

mod interrupt;
mod output;
mod pictures;
pub mod session;

pub use interrupt::Interrupt;
pub use output::{Bundle, Output, RESULT_MIME, Stream, plain};
pub use pictures::WithPng;
pub use session::Session;
