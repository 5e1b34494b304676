//! Jupyter's wire protocol: messages as signed frames over ZeroMQ.

pub mod heartbeat;
pub mod iopub;
pub mod message;
pub mod router;
pub mod stdin;

pub use iopub::Iopub;
pub use message::{Message, Signer};
pub use router::{Reader, Writer};

/// What a future gives if it has it already.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

/// Frames as ZeroMQ gives them.
fn from_zmq(message: zeromq::ZmqMessage) -> Vec<Vec<u8>> {
    message.into_vec().into_iter().map(|frame| frame.to_vec()).collect()
}

/// Frames as ZeroMQ takes them.
fn to_zmq(frames: Vec<Vec<u8>>) -> zeromq::ZmqMessage {
    let mut frames = frames.into_iter();
    let mut message = zeromq::ZmqMessage::from(frames.next().unwrap_or_default());
    // Boxed, for text that was written piece by piece has room for as much again.
    frames.for_each(|frame| message.push_back(frame.into_boxed_slice().into()));
    message
}

/// Writes a line to standard error where `TUNEBOOK_LOG` is set: for whoever looks for a fault in a front end.
pub fn log(line: &str) {
    if std::env::var_os("TUNEBOOK_LOG").is_some() {
        eprintln!("tunebook: {line}");
    }
}
