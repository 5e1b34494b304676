//! A ROUTER socket (shell, control, stdin): read messages, send replies.

use super::message::{Message, Signer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use zeromq::{RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend};

/// A peer that does not read for so long loses the message; it must not hold up the others.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// Reads requests.
pub struct Reader {
    socket: RouterRecvHalf,
    signer: Signer,
}

/// Sends replies; clones share the socket.
#[derive(Clone)]
pub struct Writer {
    socket: Arc<Mutex<RouterSendHalf>>,
    signer: Signer,
}

/// Binds a ROUTER socket.
pub async fn bind(endpoint: &str, signer: &Signer) -> zeromq::ZmqResult<(Reader, Writer)> {
    let mut socket = RouterSocket::new();
    socket.bind(endpoint).await?;
    let (send, receive) = socket.split();
    let writer = Writer { socket: Arc::new(Mutex::new(send)), signer: signer.clone() };
    Ok((Reader { socket: receive, signer: signer.clone() }, writer))
}

impl Reader {
    /// The next message that is one; what else peers send is skipped.
    pub async fn next(&mut self) -> Message {
        loop {
            match self.socket.recv().await {
                Ok(frames) => match Message::decode(frames, &self.signer) {
                    Ok(message) => return message,
                    Err(error) => super::log(&format!("a message was refused: {error}")),
                },
                // A peer that vanished, or spoke no ZeroMQ. Should all of it fail, the loop must not eat a processor.
                Err(error) => {
                    super::log(&format!("a peer was lost: {error}"));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}

impl Writer {
    /// Sends a message to the peer of its first identity; a peer that is gone is no error.
    pub async fn send(&self, message: &Message) {
        let frames = message.encode(&self.signer);
        let mut socket = self.socket.lock().await;
        match tokio::time::timeout(SEND_WITHIN, socket.send(frames)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => super::log(&format!("a {} was not sent: {error}", message.kind())),
            Err(_) => super::log(&format!("a {} was not sent: its peer does not read", message.kind())),
        }
    }
}
