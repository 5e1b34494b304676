//! Jupyter's wire protocol: messages as signed frames over ZeroMQ.

pub mod heartbeat;
pub mod iopub;
pub mod message;
pub mod router;
pub mod stdin;

pub use iopub::Iopub;
pub use message::{Message, Signer};
pub use router::{Reader, Writer};

/// Writes a line to standard error where `TUNEBOOK_LOG` is set: for whoever looks for a fault in a front end.
pub fn log(line: &str) {
    if std::env::var_os("TUNEBOOK_LOG").is_some() {
        eprintln!("tunebook: {line}");
    }
}
