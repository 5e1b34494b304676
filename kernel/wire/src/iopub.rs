//! IOPub: one task owns the socket and sends messages in the order in which they were published.
//!
//! Text is gathered for a moment, and sent before any other message. So the order is kept, and a million short lines
//! become a few messages.

use super::message::{Message, Signer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::Instant;
use zeromq::{Socket, SocketRecv, SocketSend, XPubSocket, ZmqMessage};

/// How long text is gathered at most.
const GATHER: Duration = Duration::from_millis(25);
/// The bytes of gathered text that are sent without further waiting.
const GATHER_BYTES: usize = 64 << 10;
/// The bytes of output of cells that may wait to be sent. With more, a cell that shows something waits. (The socket
/// drops a subscriber that does not read at all after some seconds.)
const QUEUED_BYTES: usize = 16 << 20;
/// The bytes that a message takes beside its content, approximately.
const MESSAGE_BYTES: usize = 2 << 10;
/// The number of the kernel's own messages that may wait. They cannot be made to wait before they are queued; so with
/// more of them, a subscriber that does not read loses a message after [`SEND_WITHIN`].
const QUEUED_MESSAGES: usize = 8192;
const SEND_WITHIN: Duration = Duration::from_millis(500);

/// A stream of text of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    Stdout,
    Stderr,
}

/// What waits to be sent.
enum Item {
    Message {
        message: Box<Message>,
        /// The bytes for which the message counts in `queued_bytes`. None for a message of the kernel's own, which
        /// counts in `queued_messages`.
        size: Option<usize>,
    },
    Text {
        parent: Value,
        name: StreamName,
        text: String,
    },
    Flush(oneshot::Sender<()>),
}

/// A handle that publishes messages. Clones share the socket.
#[derive(Clone)]
pub struct Iopub {
    session: Arc<str>,
    queue: UnboundedSender<Item>,
    /// The bytes of output of cells in the queue.
    queued_bytes: Arc<AtomicUsize>,
    /// The number of the kernel's own messages in the queue.
    queued_messages: Arc<AtomicUsize>,
}

impl Iopub {
    /// Binds the socket and starts the task that owns it.
    pub async fn bind(endpoint: &str, signer: &Signer, session: &str) -> zeromq::ZmqResult<Self> {
        let mut socket = XPubSocket::new();
        socket.bind(endpoint).await?;
        let (sender, queue) = unbounded_channel();
        let session: Arc<str> = session.into();
        let (queued_bytes, queued_messages) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let publisher = Publisher {
            socket,
            signer: signer.clone(),
            session: session.to_string(),
            queue,
            queued_bytes: queued_bytes.clone(),
            queued_messages: queued_messages.clone(),
            gathered: None,
            has_subscribers: false,
        };
        tokio::spawn(publisher.run());
        Ok(Self { session, queue: sender, queued_bytes, queued_messages })
    }

    /// Publishes a message of the kernel's own in answer to a request; `parent` is the header of the request. It does
    /// not block. Output of cells, which may have no end, goes through [`Iopub::show`].
    pub fn publish(&self, parent: &Value, kind: &str, content: Value) {
        let message = Box::new(Message::new(&self.session, kind, parent, content));
        self.queued_messages.fetch_add(1, Ordering::Relaxed);
        let _ = self.queue.send(Item::Message { message, size: None });
    }

    /// Publishes output of a cell. It blocks while too much output waits: call it from a thread that may block.
    pub fn show(&self, parent: &Value, kind: &str, content: Value) {
        self.wait_for_room();
        let size = content.to_string().len() + MESSAGE_BYTES;
        self.queued_bytes.fetch_add(size, Ordering::Relaxed);
        let message = Box::new(Message::new(&self.session, kind, parent, content));
        let _ = self.queue.send(Item::Message { message, size: Some(size) });
    }

    /// Publishes text of a cell. It blocks while too much output waits: call it from a thread that may block.
    pub fn text(&self, parent: &Value, name: StreamName, text: &str) {
        self.wait_for_room();
        self.queued_bytes.fetch_add(text.len() + MESSAGE_BYTES, Ordering::Relaxed);
        let _ = self.queue.send(Item::Text { parent: parent.clone(), name, text: text.into() });
    }

    fn wait_for_room(&self) {
        while self.queued_bytes.load(Ordering::Relaxed) > QUEUED_BYTES && !self.queue.is_closed() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all messages that were published before are sent, but at most a second.
    pub async fn flush(&self) {
        let (sender, done) = oneshot::channel();
        if self.queue.send(Item::Flush(sender)).is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(1), done).await;
        }
    }
}

/// Text of one stream of one cell that waits for more of it.
struct GatheredText {
    parent: Value,
    name: StreamName,
    text: String,
    /// When it is sent at the latest.
    due: Instant,
}

/// The task that owns the socket.
struct Publisher {
    socket: XPubSocket,
    signer: Signer,
    session: String,
    queue: UnboundedReceiver<Item>,
    queued_bytes: Arc<AtomicUsize>,
    queued_messages: Arc<AtomicUsize>,
    gathered: Option<GatheredText>,
    /// Whether the first subscriber has come.
    has_subscribers: bool,
}

impl Publisher {
    async fn run(mut self) {
        loop {
            let due = self.gathered.as_ref().map_or_else(|| Instant::now() + Duration::from_secs(3600), |g| g.due);
            tokio::select! {
                // The socket registers subscriptions only while this is polled.
                subscription = self.socket.recv() => match subscription {
                    Ok(frames) => self.welcome(frames).await,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                },
                item = self.queue.recv() => match item {
                    Some(item) => self.take(item).await,
                    None => return,
                },
                () = tokio::time::sleep_until(due) => self.send_gathered().await,
            }
        }
    }

    /// Welcomes a new subscriber (JEP 65), which then knows that it receives everything from here on.
    async fn welcome(&mut self, frames: ZmqMessage) {
        let Some([1, topic @ ..]) = frames.get(0).map(|frame| frame.as_ref()) else { return };
        let topic = topic.to_vec();
        let content = json!({ "subscription": String::from_utf8_lossy(&topic) });
        let mut welcome = Message::new(&self.session, "iopub_welcome", &json!({}), content);
        welcome.identities = vec![topic];
        self.send(&welcome).await;
        if !self.has_subscribers {
            self.has_subscribers = true;
            let starting = Message::new(&self.session, "status", &json!({}), json!({ "execution_state": "starting" }));
            self.send(&self.addressed(starting)).await;
        }
    }

    async fn take(&mut self, item: Item) {
        match item {
            Item::Text { parent, name, text } => {
                // The text itself counts until it is sent. It becomes part of one message, so the rest counts no more.
                self.queued_bytes.fetch_sub(MESSAGE_BYTES, Ordering::Relaxed);
                if self.gathered.as_ref().is_some_and(|g| g.name != name || g.parent != parent) {
                    self.send_gathered().await;
                }
                let fresh = || GatheredText { parent, name, text: String::new(), due: Instant::now() + GATHER };
                let gathered = self.gathered.get_or_insert_with(fresh);
                gathered.text.push_str(&text);
                if gathered.text.len() >= GATHER_BYTES {
                    self.send_gathered().await;
                }
            }
            Item::Message { message, size } => {
                self.send_gathered().await;
                match size {
                    None => self.queued_messages.fetch_sub(1, Ordering::Relaxed),
                    Some(size) => self.queued_bytes.fetch_sub(size, Ordering::Relaxed),
                };
                self.send(&self.addressed(*message)).await;
            }
            Item::Flush(done) => {
                self.send_gathered().await;
                let _ = done.send(());
            }
        }
    }

    async fn send_gathered(&mut self) {
        let Some(GatheredText { parent, name, text, .. }) = self.gathered.take() else { return };
        let name = if name == StreamName::Stdout { "stdout" } else { "stderr" };
        self.queued_bytes.fetch_sub(text.len(), Ordering::Relaxed);
        let message = Message::new(&self.session, "stream", &parent, json!({ "name": name, "text": text }));
        self.send(&self.addressed(message)).await;
    }

    /// Adds the topic by which subscribers filter.
    fn addressed(&self, mut message: Message) -> Message {
        message.identities = vec![format!("kernel.{}.{}", self.session, message.kind()).into_bytes()];
        message
    }

    async fn send(&mut self, message: &Message) {
        let frames = super::to_zmq(message.encode(&self.signer));
        tokio::select! {
            biased;
            sent = self.socket.send(frames) => if let Err(error) = sent {
                super::log(&format!("a {} was not published: {error}", message.kind()));
            },
            () = too_many(&self.queued_messages) => {
                super::log(&format!("a {} was not read by all subscribers", message.kind()));
            }
        }
    }
}

/// Waits until too many of the kernel's own messages wait.
async fn too_many(queued_messages: &AtomicUsize) {
    loop {
        tokio::time::sleep(SEND_WITHIN).await;
        if queued_messages.load(Ordering::Relaxed) >= QUEUED_MESSAGES {
            return;
        }
    }
}
