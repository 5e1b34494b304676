//! Jupyter's wire protocol: messages as signed frames over ZeroMQ sockets, one module for each kind of socket.

pub mod client;
pub mod heartbeat;
pub mod iopub;
pub mod message;
pub mod router;
pub mod stdin;

pub use iopub::Iopub;
pub use message::{Message, Signer};
pub use router::{Reader, Writer};

/// The output of a future if it is ready now.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

/// The frames of a message of ZeroMQ.
fn from_zmq(message: zeromq::ZmqMessage) -> Vec<Vec<u8>> {
    message.into_vec().into_iter().map(|frame| frame.to_vec()).collect()
}

/// A message of ZeroMQ with these frames.
fn to_zmq(frames: Vec<Vec<u8>>) -> zeromq::ZmqMessage {
    let mut frames = frames.into_iter();
    let mut message = zeromq::ZmqMessage::from(frames.next().unwrap_or_default());
    // A text that grew piece by piece may own twice its length; boxing frees the rest while the message waits.
    frames.for_each(|frame| message.push_back(frame.into_boxed_slice().into()));
    message
}

/// Writes a line to standard error if `TUNEBOOK_LOG` is set. It helps to find faults of front ends.
pub fn log(line: &str) {
    if std::env::var_os("TUNEBOOK_LOG").is_some() {
        eprintln!("tunebook: {line}");
    }
}
