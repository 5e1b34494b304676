//! IOPub: one owner of the socket and of the order of all that is shown.
//!
//! Text is gathered for a moment and sent before any other message, so order survives and a million lines are a few
//! messages.

use super::message::{Message, Signer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::Instant;
use zeromq::{Socket, SocketRecv, SocketSend, XPubSocket, ZmqMessage};

/// Text waits at most so long.
const GATHER: Duration = Duration::from_millis(25);
/// And is sent sooner when there is so much of it.
const GATHER_BYTES: usize = 64 << 10;
/// What waits to be sent; a cell that shows more faster than it is read waits. (A subscriber that does not read at all is given up
/// after some seconds by the socket.)
const QUEUED_BYTES: usize = 16 << 20;
/// What a message takes beside what it shows, about.
const MESSAGE_BYTES: usize = 2 << 10;
/// What the kernel says of itself cannot wait to be queued. When so much of it waits, a subscriber that does not read is given up
/// sooner.
const QUEUED_MESSAGES: usize = 8192;
const GIVEN_UP: Duration = Duration::from_millis(500);

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `stdout`.
    Stdout,
    /// `stderr`.
    Stderr,
}

enum Item {
    /// With what it counts for in `queued`; nothing: in `unpaced`.
    Message {
        message: Box<Message>,
        size: usize,
    },
    Text {
        parent: Value,
        name: Name,
        text: String,
    },
    Flush(oneshot::Sender<()>),
}

/// A handle to publish with; clones share the socket.
#[derive(Clone)]
pub struct Iopub {
    session: Arc<str>,
    queue: UnboundedSender<Item>,
    queued: Arc<AtomicUsize>,
    unpaced: Arc<AtomicUsize>,
}

impl Iopub {
    /// Binds the socket and starts its owner.
    pub async fn bind(endpoint: &str, signer: &Signer, session: &str) -> zeromq::ZmqResult<Self> {
        let mut socket = XPubSocket::new();
        socket.bind(endpoint).await?;
        let (sender, queue) = unbounded_channel();
        let session: Arc<str> = session.into();
        let (queued, unpaced) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let owner = Owner {
            socket,
            signer: signer.clone(),
            session: session.to_string(),
            queue,
            queued: queued.clone(),
            unpaced: unpaced.clone(),
            gathered: None,
            welcomed: false,
        };
        tokio::spawn(owner.run());
        Ok(Self { session, queue: sender, queued, unpaced })
    }

    /// Publishes a message of a kind in answer to a request. It does not wait: for what the kernel says of itself. What a cell may
    /// show without an end goes through [`Iopub::show`].
    pub fn publish(&self, parent: &Value, kind: &str, content: Value) {
        let message = Box::new(Message::new(&self.session, kind, parent, content));
        self.unpaced.fetch_add(1, Ordering::Relaxed);
        let _ = self.queue.send(Item::Message { message, size: 0 });
    }

    /// The same for what a cell shows. Call it from a thread that may wait: it does where too much waits already.
    pub fn show(&self, parent: &Value, kind: &str, content: Value) {
        self.wait_for_room();
        let size = content.to_string().len() + MESSAGE_BYTES;
        self.queued.fetch_add(size, Ordering::Relaxed);
        let message = Box::new(Message::new(&self.session, kind, parent, content));
        let _ = self.queue.send(Item::Message { message, size });
    }

    /// Publishes text. Call it from a thread that may wait: it does where too much text is waiting already.
    pub fn text(&self, parent: &Value, name: Name, text: &str) {
        self.wait_for_room();
        self.queued.fetch_add(text.len() + MESSAGE_BYTES, Ordering::Relaxed);
        let _ = self.queue.send(Item::Text { parent: parent.clone(), name, text: text.into() });
    }

    fn wait_for_room(&self) {
        while self.queued.load(Ordering::Relaxed) > QUEUED_BYTES && !self.queue.is_closed() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Comes back when all that was published before is sent.
    pub async fn flush(&self) {
        let (sender, done) = oneshot::channel();
        if self.queue.send(Item::Flush(sender)).is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(1), done).await;
        }
    }
}

struct Gathered {
    parent: Value,
    name: Name,
    text: String,
    due: Instant,
}

struct Owner {
    socket: XPubSocket,
    signer: Signer,
    session: String,
    queue: UnboundedReceiver<Item>,
    queued: Arc<AtomicUsize>,
    unpaced: Arc<AtomicUsize>,
    gathered: Option<Gathered>,
    welcomed: bool,
}

impl Owner {
    async fn run(mut self) {
        loop {
            let due = self.gathered.as_ref().map_or_else(|| Instant::now() + Duration::from_secs(3600), |g| g.due);
            tokio::select! {
                // Subscriptions are registered only while this is polled.
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

    /// Greets a new subscriber (JEP 65), so that it knows that it will miss nothing from here on.
    async fn welcome(&mut self, frames: ZmqMessage) {
        let Some([1, topic @ ..]) = frames.get(0).map(|frame| frame.as_ref()) else { return };
        let topic = topic.to_vec();
        let content = json!({ "subscription": String::from_utf8_lossy(&topic) });
        let mut welcome = Message::new(&self.session, "iopub_welcome", &json!({}), content);
        welcome.identities = vec![topic];
        self.send(&welcome).await;
        if !self.welcomed {
            self.welcomed = true;
            let starting = Message::new(&self.session, "status", &json!({}), json!({ "execution_state": "starting" }));
            self.send(&self.addressed(starting)).await;
        }
    }

    async fn take(&mut self, item: Item) {
        match item {
            Item::Text { parent, name, text } => {
                // It counts until it is sent, but then as a part of one message.
                self.queued.fetch_sub(MESSAGE_BYTES, Ordering::Relaxed);
                if self.gathered.as_ref().is_some_and(|g| g.name != name || g.parent != parent) {
                    self.send_gathered().await;
                }
                let fresh = || Gathered { parent, name, text: String::new(), due: Instant::now() + GATHER };
                let gathered = self.gathered.get_or_insert_with(fresh);
                gathered.text.push_str(&text);
                if gathered.text.len() >= GATHER_BYTES {
                    self.send_gathered().await;
                }
            }
            Item::Message { message, size } => {
                self.send_gathered().await;
                match size {
                    0 => self.unpaced.fetch_sub(1, Ordering::Relaxed),
                    size => self.queued.fetch_sub(size, Ordering::Relaxed),
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
        let Some(Gathered { parent, name, text, .. }) = self.gathered.take() else { return };
        let name = if name == Name::Stdout { "stdout" } else { "stderr" };
        self.queued.fetch_sub(text.len(), Ordering::Relaxed);
        let message = Message::new(&self.session, "stream", &parent, json!({ "name": name, "text": text }));
        self.send(&self.addressed(message)).await;
    }

    /// With the topic that subscribers filter by.
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
            () = too_much(&self.unpaced) => super::log(&format!("a {} was not read by all", message.kind())),
        }
    }
}

/// Comes back when too much waits that cannot be made to wait elsewhere.
async fn too_much(unpaced: &AtomicUsize) {
    loop {
        tokio::time::sleep(GIVEN_UP).await;
        if unpaced.load(Ordering::Relaxed) >= QUEUED_MESSAGES {
            return;
        }
    }
}
