//! What a magic sees of the kernel that runs it: where it shows results, the session that it runs in, the user's wish to stop.
//! The kernel stands behind these; a test can stand in.

mod interrupt;
mod output;
pub mod session;

pub use interrupt::Interrupt;
pub use output::{Bundle, Output, RESULT_MIME, Stream, plain};
pub use session::Session;
