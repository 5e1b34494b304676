//! The ROUTER sockets (shell, control and stdin): reads messages and sends replies.

use super::message::{Message, Signer};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use zeromq::{RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend};

/// A peer that does not read for this long loses the message, and further ones until it reads again.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// The number of such peers that are remembered.
const STUCK: usize = 1024;

/// Reads requests.
pub struct Reader {
    socket: RouterRecvHalf,
    signer: Signer,
}

/// Sends replies. Clones share the socket.
#[derive(Clone)]
pub struct Writer {
    socket: RouterSendHalf,
    /// The identities of peers that did not read the last message to them.
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
    /// Waits for the next valid message. Anything else that peers send is skipped.
    pub async fn next(&mut self) -> Message {
        loop {
            match self.socket.recv().await {
                Ok(frames) => match Message::decode(super::from_zmq(frames), &self.signer) {
                    Ok(message) => return message,
                    Err(error) => super::log(&format!("a message was refused: {error}")),
                },
                // A peer has gone, or did not speak ZeroMQ. The pause keeps the loop from using a processor if this
                // repeats.
                Err(error) => {
                    super::log(&format!("a peer was lost: {error}"));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}

impl Writer {
    /// Sends a message to the peer of its first identity. It is no error if the peer is gone.
    pub async fn send(&self, message: &Message) {
        let frames = super::to_zmq(message.encode(&self.signer));
        let peer = message.identities.first().cloned().unwrap_or_default();
        let mut socket = self.socket.clone();
        let send = socket.send(frames);
        let is_stuck = self.stuck.lock().contains(&peer);
        let sent = match is_stuck {
            true => super::at_once(send).await,
            false => tokio::time::timeout(SEND_WITHIN, send).await.ok(),
        };
        match sent {
            Some(sent) => {
                self.stuck.lock().remove(&peer);
                if let Err(error) = sent {
                    super::log(&format!("a {} was not sent: {error}", message.kind()));
                }
            }
            None => {
                let mut stuck = self.stuck.lock();
                if stuck.len() >= STUCK {
                    stuck.clear();
                }
                stuck.insert(peer);
                super::log(&format!("a {} was not sent: its peer does not read", message.kind()));
            }
        }
    }
}
