//! One Jupyter session: it answers requests, and runs cells one after the other.

mod ambiguous;
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
use output::OfferedCells;
use parking_lot::Mutex;
use readiness::StatusTarget;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore};
use tunebook_magics::{Interrupt, Magics};
use tunebook_prebuilt::CellCache;
use tunebook_wire::stdin::Stdin;
use tunebook_wire::{Iopub, Message, Writer};
use usage::Usage;

/// The number of completions and inspections that are answered at a time. Each of them holds a thread; without a bound
/// they could leave none for cells and for the shutdown.
const QUESTIONS: usize = 16;

/// The channel of a request and of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The channel of ordinary requests.
    Shell,
    /// The channel of requests that must not wait behind others: interrupt and shutdown.
    Control,
}

/// The state of a session.
pub struct Session {
    id: String,
    iopub: Iopub,
    stdin: Stdin,
    shell: Writer,
    control: Writer,
    magics: Arc<Magics>,
    engine: Arc<OnceCell<Arc<Engine>>>,
    /// Whether the crates of tensors were or are being added in advance.
    preloaded: AtomicBool,
    history: Arc<History>,
    comms: Comms,
    usage: Arc<Usage>,
    /// The `execution_count` of the last cell.
    count: AtomicU64,
    /// The queue of cells.
    cells: Sender<Message>,
    /// Permits for completions and inspections.
    asking: Semaphore,
    /// The environment variables that `%env` has set, or removed (None).
    environment: Mutex<BTreeMap<String, Option<String>>>,
    /// The ids that front ends gave to the cells that ran, by execution count.
    cell_ids: Mutex<BTreeMap<u64, String>>,
    /// The next cells that were offered.
    offered: Mutex<OfferedCells>,
    /// The interrupt of the cell that runs; None between two cells.
    interrupt: Mutex<Option<Arc<Interrupt>>>,
    /// The header of the request whose cell runs; None between two cells.
    running: Mutex<Option<Value>>,
    /// Notified when the kernel is to end.
    pub ended: Notify,
}

fn is_cell(request: &Message) -> bool {
    request.kind() == "execute_request"
}

impl Session {
    /// A session over its sockets. It sends the requests to run cells to `cells`; the receiver calls [`Session::serve`]
    /// for each.
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
        let comms = Comms::new(Arc::new(publish)).with("tunebook.status", StatusTarget::new(engine.clone()));
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
            offered: Mutex::default(),
            interrupt: Mutex::new(None),
            running: Mutex::new(None),
            ended: Notify::new(),
        }
    }

    /// The engine of Rust cells, which is started if it was not yet.
    pub async fn engine(&self) -> Arc<Engine> {
        let start = async || {
            let cache = CellCache::new(self.magics.cache());
            Arc::new(Engine::start(move || cache.begin()))
        };
        self.engine.get_or_init(start).await.clone()
    }

    /// Takes a request. A cell goes to the queue. A message of a comm is taken at once, so that the order of messages
    /// is kept. Any other request is answered at once, in a task that holds `permit` until the answer is sent.
    pub fn receive(self: &Arc<Self>, channel: Channel, request: Message, permit: OwnedSemaphorePermit) {
        let session = self.clone();
        if is_cell(&request) {
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
            drop(permit);
        });
    }

    /// Answers one request: publishes busy, sends the reply, publishes idle. `before_reply` is called with the status
    /// of the reply before the reply is sent.
    pub async fn serve(self: &Arc<Self>, channel: Channel, request: &Message, before_reply: impl AsyncFnOnce(&str)) {
        self.status(request, "busy");
        if is_cell(request) {
            *self.running.lock() = Some(request.header.clone());
        }
        let (kind, content) = self.dispatch(request).await;
        self.iopub.flush().await;
        before_reply(content["status"].as_str().unwrap_or("ok")).await;
        self.reply(channel, request, &kind, content).await;
        self.idle(request);
        if request.kind() == "shutdown_request" {
            // The sockets do not linger: messages that are still in a socket when the process ends are lost.
            self.iopub.flush().await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            self.ended.notify_one();
        }
    }

    /// Answers a cell that does not run, because a cell before it failed or because too many cells wait.
    pub async fn abort(self: &Arc<Self>, request: &Message) {
        self.status(request, "busy");
        // There is no execution count, so that front ends show that the cell did not run.
        self.reply(Channel::Shell, request, "execute_reply", json!({ "status": "aborted" })).await;
        self.status(request, "idle");
    }

    async fn reply(&self, channel: Channel, request: &Message, kind: &str, content: Value) {
        let mut reply = Message::new(&self.id, kind, &request.header, content);
        reply.identities = request.identities.clone();
        let writer = if channel == Channel::Shell { &self.shell } else { &self.control };
        writer.send(&reply).await;
    }

    /// Publishes idle at the end of a request. If a cell runs, busy follows for that cell: front ends show the last
    /// state that they received.
    fn idle(&self, request: &Message) {
        let mut running = self.running.lock();
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

    /// Interrupts the cell that runs, which then ends with an error.
    pub fn interrupt(&self) {
        if let Some(interrupt) = self.interrupt.lock().as_ref() {
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
