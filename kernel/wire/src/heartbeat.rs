//! The heartbeat: each message is sent back to its sender.
//!
//! The socket is a ROUTER, not a REP: a peer that does not read its answers must not delay those of others, whose front
//! ends would take the kernel for dead.

use std::time::Duration;
use zeromq::{RouterSocket, Socket, SocketOptions, SocketRecv, SocketSend};

/// The bytes of the largest message that is answered.
const BEAT_BYTES: usize = 64 << 10;
/// The bytes that may wait until a peer reads them. Further answers are dropped.
const WAITING_BYTES: usize = 256 << 10;

/// Binds the socket and answers for ever.
pub async fn run(endpoint: String) {
    let mut options = SocketOptions::default();
    options.send_queue_bytes(WAITING_BYTES);
    let mut socket = RouterSocket::with_options(options);
    if let Err(error) = socket.bind(&endpoint).await {
        super::log(&format!("no heartbeat: {error}"));
        return;
    }
    loop {
        match socket.recv().await {
            // The first frame names the peer. A peer that is gone, or that does not read, gets no answer.
            Ok(beat) if beat.iter().map(|frame| frame.len()).sum::<usize>() <= BEAT_BYTES => {
                let _ = super::at_once(socket.send(beat)).await;
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}
