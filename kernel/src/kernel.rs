//! The kernel process: binds the sockets, serves a session over them, and ends.

use crate::engine::standard_library_environment;
use crate::parent;
use crate::session::{Channel, Session};
use crate::socket_files::SocketFiles;
use anyhow::{Context as _, bail};
use jupyter_protocol::ConnectionInfo;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, channel};
use tunebook_magics::{Magics, Settings};
use tunebook_prebuilt::CellCache;
use tunebook_wire::stdin::Stdin;
use tunebook_wire::{Iopub, Message, Reader, Signer, heartbeat, router};

/// How long the kernel waits, after a cell has failed, for cells that the front end sent together with it.
const SAME_BATCH: Duration = Duration::from_millis(5);
/// The number of cells that can wait. Further cells are aborted.
const CELLS_WAITING: usize = 20_000;
/// The number of other requests that are answered at a time on a channel. Further requests are not read until one is
/// answered.
const REQUESTS: usize = 1024;

/// Serves the session of a connection file until the front end shuts it down.
pub fn main(connection_file: &Path) -> ExitCode {
    start_again_with_environment();
    let served = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
        .and_then(|runtime| {
            let result = runtime.block_on(serve(connection_file));
            // A thread that waits for a compiler must not keep the process alive.
            runtime.shutdown_timeout(Duration::from_millis(200));
            result
        });
    if let Ok(settings) = settings() {
        CellCache::new(&settings.cache).end();
    }
    match served {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("tunebook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Replaces this process by itself (`exec`) with a changed environment, if evcxr and rust-analyzer need one: they take
/// some of their settings from it, and a process with several threads cannot change its environment safely. Call it
/// first.
fn start_again_with_environment() {
    use std::os::unix::process::CommandExt;
    const STARTED_AGAIN: &str = "TUNEBOOK_STARTED_AGAIN";
    let cells = settings().ok().and_then(|settings| CellCache::new(&settings.cache).environment());
    let wanted: Vec<_> = standard_library_environment().into_iter().chain(cells).collect();
    if std::env::var_os(STARTED_AGAIN).is_some() || wanted.is_empty() {
        return;
    }
    let Ok(executable) = std::env::current_exe() else { return };
    // This returns only if it fails. Then the kernel runs without these settings.
    let _ = Command::new(executable).args(std::env::args_os().skip(1)).envs(wanted).env(STARTED_AGAIN, "1").exec();
}

async fn serve(connection_file: &Path) -> anyhow::Result<()> {
    let shown = connection_file.display();
    let text = std::fs::read_to_string(connection_file).with_context(|| format!("the connection file {shown}"))?;
    let info: ConnectionInfo = serde_json::from_str(&text).with_context(|| format!("the connection file {shown}"))?;
    if !info.key.is_empty() && info.signature_scheme != "hmac-sha256" {
        let scheme = &info.signature_scheme;
        bail!("the connection file {shown} asks for signatures by {scheme}; this kernel signs by hmac-sha256 alone");
    }
    let endpoint = |port: u16| match info.transport {
        jupyter_protocol::connection_info::Transport::IPC => format!("ipc://{}-{port}", info.ip),
        jupyter_protocol::connection_info::Transport::TCP => format!("tcp://{}:{port}", info.ip),
    };
    let mut socket_files = SocketFiles::of(&info);
    let signer = Signer::new(&info.key);
    let id = uuid::Uuid::new_v4().to_string();
    let iopub = Iopub::bind(&endpoint(info.iopub_port), &signer, &id).await.context("IOPub")?;
    let (shell_reader, shell) = router::bind(&endpoint(info.shell_port), &signer).await.context("shell")?;
    let (control_reader, control) = router::bind(&endpoint(info.control_port), &signer).await.context("control")?;
    let (stdin_reader, stdin) = router::bind(&endpoint(info.stdin_port), &signer).await.context("stdin")?;
    tokio::spawn(heartbeat::run(endpoint(info.hb_port)));
    socket_files.made().await;

    let (cells, queue) = channel(CELLS_WAITING);
    let stdin = Stdin::new(&id, stdin_reader, stdin);
    let session = Arc::new(Session::new(id, iopub, stdin, [shell, control], Magics::new(settings()?), cells));
    tokio::spawn(read(session.clone(), Channel::Shell, shell_reader));
    tokio::spawn(read(session.clone(), Channel::Control, control_reader));
    tokio::spawn(run_cells(session.clone(), queue));
    tokio::spawn(interrupts(session.clone()));
    // The engine of Rust cells is created in the background. Magics do not wait for it.
    let warming = session.clone();
    tokio::spawn(async move { drop(warming.engine().await) });
    tokio::select! {
        () = session.ended.notified() => {}
        () = parent::gone() => {
            let _ = tokio::task::spawn_blocking(move || session.end()).await;
        }
    }
    Ok(())
}

/// The paths that magics use: from the environment, or else beside this executable and in the folder for caches.
pub fn settings() -> anyhow::Result<Settings> {
    let executable = std::env::current_exe().context("the kernel's own executable")?;
    let beside = executable.with_file_name("tunebook-worker");
    let path = |name: &str, default: PathBuf| std::env::var_os(name).map_or(default, PathBuf::from);
    let worker = path("TUNEBOOK_WORKER", beside);
    // A relative path would change its meaning with `%cd`.
    let worker = std::path::absolute(&worker).unwrap_or(worker);
    let words = [executable.as_os_str(), "slot".as_ref(), "--worker".as_ref(), worker.as_os_str()];
    let guard = vec![executable.to_string_lossy().into_owned(), "guard".into()];
    let slot = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let cache = dirs::cache_dir().unwrap_or_else(std::env::temp_dir).join("tunebook");
    let store = tunebook_study::store::default_store();
    Ok(Settings { first_store: store, slot, guard, worker, cache: path("TUNEBOOK_CACHE", cache) })
}

async fn read(session: Arc<Session>, channel: Channel, mut reader: Reader) {
    let permits = Arc::new(Semaphore::new(REQUESTS));
    loop {
        let request = reader.next().await;
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        session.receive(channel, request, permit);
    }
}

/// Runs cells one after the other. After a cell that fails, if its request says so (`stop_on_error`), the cells are
/// aborted that were sent before the front end could know of the error.
async fn run_cells(session: Arc<Session>, mut queue: Receiver<Message>) {
    while let Some(request) = queue.recv().await {
        let stop_on_error = request.content["stop_on_error"].as_bool().unwrap_or(true);
        let mut waiting = vec![];
        let collect = async |status: &str| {
            if status == "error" && stop_on_error {
                tokio::time::sleep(SAME_BATCH).await;
                waiting.extend(std::iter::from_fn(|| queue.try_recv().ok()));
            }
        };
        session.serve(Channel::Shell, &request, collect).await;
        for request in &waiting {
            session.abort(request).await;
        }
    }
}

/// Interrupts the session when the user presses Ctrl-C in the terminal of the kernel. Front ends interrupt by a
/// message.
async fn interrupts(session: Arc<Session>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        session.interrupt();
    }
}
