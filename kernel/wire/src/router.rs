//! A ROUTER socket (shell, control, stdin): read messages, send replies.

use super::message::{Message, Signer};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zeromq::{RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend};

/// A peer that does not read for so long loses the message, and the next ones until it reads again.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// So many of such peers are remembered.
const STUCK: usize = 1024;

/// Reads requests.
pub struct Reader {
    socket: RouterRecvHalf,
    signer: Signer,
}

/// Sends replies; clones share the socket.
#[derive(Clone)]
pub struct Writer {
    socket: RouterSendHalf,
    /// Peers that did not read the last message for them.
    stuck: Arc<Mutex<HashSet<Vec<u8>>>>,
    signer: Signer,
}

/// Binds a ROUTER socket.
pub async fn bind(endpoint: &str, signer: &Signer) -> zeromq::ZmqResult<(Reader, Writer)> {
    let mut socket = RouterSocket::new();
    socket.bind(endpoint).await?;
    let (send, receive) = socket.split();
    let writer = Writer { socket: send, stuck: Arc::default(), signer: signer.clone() };
    Ok((Reader { socket: receive, signer: signer.clone() }, writer))
}

impl Reader {
    /// The next message that is one; what else peers send is skipped.
    pub async fn next(&mut self) -> Message {
        loop {
            match self.socket.recv().await {
                Ok(frames) => match Message::decode(super::from_zmq(frames), &self.signer) {
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
        let frames = super::to_zmq(message.encode(&self.signer));
        let peer = message.identities.first().cloned().unwrap_or_default();
        let mut socket = self.socket.clone();
        let send = socket.send(frames);
        let is_stuck = self.stuck().contains(&peer);
        let sent = match is_stuck {
            true => super::at_once(send).await,
            false => tokio::time::timeout(SEND_WITHIN, send).await.ok(),
        };
        match sent {
            Some(sent) => {
                self.stuck().remove(&peer);
                if let Err(error) = sent {
                    super::log(&format!("a {} was not sent: {error}", message.kind()));
                }
            }
            None => {
                let mut stuck = self.stuck();
                if stuck.len() >= STUCK {
                    stuck.clear();
                }
                stuck.insert(peer);
                super::log(&format!("a {} was not sent: its peer does not read", message.kind()));
            }
        }
    }

    fn stuck(&self) -> MutexGuard<'_, HashSet<Vec<u8>>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
