//! The heartbeat: what comes in goes back.
//!
//! A ROUTER, not a REP: whoever sends and does not read what comes back must not hold up the beats of others, or their front
//! ends take the kernel for dead.

use std::time::Duration;
use zeromq::{RouterSocket, Socket, SocketOptions, SocketRecv, SocketSend};

/// What is larger is no beat.
const BEAT_BYTES: usize = 64 << 10;
/// What may wait for a peer to read it; beats beyond that are dropped.
const WAITING_BYTES: usize = 256 << 10;

/// Binds and answers for ever.
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
            // To the peer that its first frame names. A peer that vanished meanwhile, or does not read, goes without.
            Ok(beat) if beat.iter().map(|frame| frame.len()).sum::<usize>() <= BEAT_BYTES => {
                let _ = super::at_once(socket.send(beat)).await;
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}
