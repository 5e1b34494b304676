//! The heartbeat: what comes in goes back.

use std::time::Duration;
use zeromq::{RepSocket, Socket, SocketRecv, SocketSend};

/// Binds and answers for ever.
pub async fn run(endpoint: String) {
    let mut socket = RepSocket::new();
    if let Err(error) = socket.bind(&endpoint).await {
        super::log(&format!("no heartbeat: {error}"));
        return;
    }
    loop {
        match socket.recv().await {
            Ok(beat) => drop(socket.send(beat).await),
            // A peer vanished between asking and answer; the next one is served all the same.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}
