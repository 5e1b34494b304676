//! One Jupyter session: requests in, replies out, cells one after the other.

mod comms;
mod execute;
mod history;
mod info;
mod magic_session;
mod output;
mod readiness;
mod requests;
mod rust_cell;
#[cfg_attr(not(target_os = "linux"), path = "usage_elsewhere.rs")]
mod usage;

use crate::engine::Engine;
use comms::Comms;
use history::History;
use readiness::Status;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore};
use tunebook_magics::{Interrupt, Magics};
use tunebook_prebuilt::CellCache;
use tunebook_wire::stdin::Stdin;
use tunebook_wire::{Iopub, Message, Writer};
use usage::Usage;

/// Completions and inspections at a time; without a bound, many of them would leave no thread for cells and for the end.
const QUESTIONS: usize = 16;

/// What a request came in on, and its reply goes out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Requests in order.
    Shell,
    /// Requests that overtake: interrupt, shutdown.
    Control,
}

/// All that a session knows.
pub struct Session {
    id: String,
    iopub: Iopub,
    stdin: Stdin,
    shell: Writer,
    control: Writer,
    magics: Arc<Magics>,
    engine: Arc<OnceCell<Arc<Engine>>>,
    /// Whether crates that cells may need were added already.
    preloaded: AtomicBool,
    history: Arc<History>,
    comms: Comms,
    usage: Arc<Usage>,
    /// `execution_count` of the last cell.
    count: AtomicU64,
    cells: Sender<Message>,
    /// Questions that may take long each hold a thread while they are answered.
    asking: Semaphore,
    /// What `%env` changed: values, or `None` for what it took away.
    environment: Mutex<BTreeMap<String, Option<String>>>,
    /// The front end's ids of the cells that were run, by execution count.
    cell_ids: Mutex<BTreeMap<u64, String>>,
    /// What ends the cell that runs now.
    interrupt: Mutex<Option<Arc<Interrupt>>>,
    /// The header of the cell that runs now.
    running: Mutex<Option<Value>>,
    /// Told when the kernel is to end.
    pub ended: Notify,
}

fn is_cell(request: &Message) -> bool {
    request.kind() == "execute_request"
}

impl Session {
    /// A session over its sockets; cells are handed to `cells`, whose other end calls [`Session::serve`] for each.
    pub fn new(
        id: String,
        iopub: Iopub,
        stdin: Stdin,
        [shell, control]: [Writer; 2],
        magics: Magics,
        cells: Sender<Message>,
    ) -> Self {
        let engine: Arc<OnceCell<Arc<Engine>>> = Arc::default();
        let publisher = iopub.clone();
        let publish = move |parent: &Value, kind: &str, content| publisher.publish(parent, kind, content);
        let comms = Comms::new(Arc::new(publish)).with("tunebook.status", Status::new(engine.clone()));
        Self {
            id,
            iopub,
            stdin,
            shell,
            control,
            magics: Arc::new(magics),
            engine,
            preloaded: AtomicBool::new(false),
            history: Arc::new(History::start(history::default_file())),
            comms,
            usage: Arc::default(),
            count: AtomicU64::new(0),
            cells,
            asking: Semaphore::new(QUESTIONS),
            environment: Mutex::default(),
            cell_ids: Mutex::default(),
            interrupt: Mutex::new(None),
            running: Mutex::new(None),
            ended: Notify::new(),
        }
    }

    /// Starts the engine of Rust cells where it was not started yet.
    pub async fn engine(&self) -> Arc<Engine> {
        let start = async || {
            let cache = CellCache::new(self.magics.cache());
            Arc::new(Engine::start(move || cache.begin()))
        };
        self.engine.get_or_init(start).await.clone()
    }

    /// Takes a request: cells wait their turn, all else is answered now and holds its place until it is, and what is said over
    /// comms is taken in the order in which it was said.
    pub fn receive(self: &Arc<Self>, channel: Channel, request: Message, place: OwnedSemaphorePermit) {
        let session = self.clone();
        if request.kind() == "execute_request" {
            if let Err(TrySendError::Full(request)) = self.cells.try_send(request) {
                tokio::spawn(async move { session.abort(&request).await });
            }
            return;
        }
        if let kind @ ("comm_open" | "comm_msg" | "comm_close") = request.kind() {
            self.status(&request, "busy");
            self.comms.take(kind, &request.header, &request.content);
            self.idle(&request);
            return;
        }
        tokio::spawn(async move {
            session.serve(channel, &request, async |_| {}).await;
            drop(place);
        });
    }

    /// Answers one request: busy, the reply, idle. `before_reply` is told the status before the front end is.
    pub async fn serve(self: &Arc<Self>, channel: Channel, request: &Message, before_reply: impl AsyncFnOnce(&str)) {
        self.status(request, "busy");
        if let (true, Ok(mut running)) = (is_cell(request), self.running.lock()) {
            *running = Some(request.header.clone());
        }
        let (kind, content) = self.dispatch(request).await;
        self.iopub.flush().await;
        before_reply(content["status"].as_str().unwrap_or("ok")).await;
        self.reply(channel, request, &kind, content).await;
        self.idle(request);
        if request.kind() == "shutdown_request" {
            // There is no linger: a process that ends at once takes its last messages with it.
            self.iopub.flush().await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            self.ended.notify_one();
        }
    }

    /// Answers a cell that is not to run because one before it failed, or because too many wait.
    pub async fn abort(self: &Arc<Self>, request: &Message) {
        self.status(request, "busy");
        // Without a number: front ends show that it was not run.
        self.reply(Channel::Shell, request, "execute_reply", json!({ "status": "aborted" })).await;
        self.status(request, "idle");
    }

    async fn reply(&self, channel: Channel, request: &Message, kind: &str, content: Value) {
        let mut reply = Message::new(&self.id, kind, &request.header, content);
        reply.identities = request.identities.clone();
        let writer = if channel == Channel::Shell { &self.shell } else { &self.control };
        writer.send(&reply).await;
    }

    /// The end of a request. While a cell runs the kernel is still busy with that, and front ends show what they heard last.
    fn idle(&self, request: &Message) {
        let Ok(mut running) = self.running.lock() else { return };
        if is_cell(request) {
            *running = None;
        }
        self.status(request, "idle");
        if let Some(cell) = &*running {
            self.iopub.publish(cell, "status", json!({ "execution_state": "busy" }));
        }
    }

    fn status(&self, request: &Message, state: &str) {
        self.iopub.publish(&request.header, "status", json!({ "execution_state": state }));
    }

    /// Ends what runs now; the cell then ends with an error.
    pub fn interrupt(&self) {
        if let Ok(interrupt) = self.interrupt.lock()
            && let Some(interrupt) = interrupt.as_ref()
        {
            interrupt.raise();
        }
        if let Some(engine) = self.engine.get() {
            engine.interrupt();
        }
    }

    /// Ends all processes of the session.
    pub fn end(&self) {
        self.interrupt();
        self.magics.shutdown();
        if let Some(engine) = self.engine.get() {
            engine.end_runner();
        }
        self.history.settle();
    }
}
