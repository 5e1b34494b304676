//! A ROUTER socket (shell, control, stdin): read messages, send replies.

use super::message::{Message, Signer};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use zeromq::{RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend};

/// A peer that does not read for so long loses the message; it must not hold up the others.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// And the next ones, until it reads again.
const SEND_WITHIN_WHILE_STUCK: Duration = Duration::from_millis(1);

/// Reads requests.
pub struct Reader {
    socket: RouterRecvHalf,
    signer: Signer,
}

/// Sends replies; clones share the socket.
#[derive(Clone)]
pub struct Writer {
    socket: Arc<Mutex<Sender>>,
    signer: Signer,
}

struct Sender {
    half: RouterSendHalf,
    /// Peers that did not read the last message for them.
    stuck: HashSet<Vec<u8>>,
}

/// Binds a ROUTER socket.
pub async fn bind(endpoint: &str, signer: &Signer) -> zeromq::ZmqResult<(Reader, Writer)> {
    let mut socket = RouterSocket::new();
    socket.bind(endpoint).await?;
    let (send, receive) = socket.split();
    let sender = Sender { half: send, stuck: HashSet::new() };
    let writer = Writer { socket: Arc::new(Mutex::new(sender)), signer: signer.clone() };
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
        let mut socket = self.socket.lock().await;
        let patience = if socket.stuck.contains(&peer) { SEND_WITHIN_WHILE_STUCK } else { SEND_WITHIN };
        match tokio::time::timeout(patience, socket.half.send(frames)).await {
            Ok(sent) => {
                socket.stuck.remove(&peer);
                if let Err(error) = sent {
                    super::log(&format!("a {} was not sent: {error}", message.kind()));
                }
            }
            Err(_) => {
                socket.stuck.insert(peer);
                super::log(&format!("a {} was not sent: its peer does not read", message.kind()));
            }
        }
    }
}
