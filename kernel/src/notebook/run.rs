//! `tunebook run`: executes a notebook from its first cell to its last.

use super::document::{Document, has_tag, is_code, set, source, text_cell};
use super::kernel_process::KernelProcess;
use super::outputs::Outputs;
use super::page;
use super::parameters::{Parameter, inject};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tunebook_wire::client::Received;

/// A cell that may fail.
const MAY_FAIL: &str = "raises-exception";
/// A cell that is not run.
const SKIPPED: &str = "skip-execution";
/// The tag of the cells that papermill adds after an error.
const ERROR_MARK: &str = "papermill-error-cell-tag";
/// What is waited for after the reply of a cell: the end of its output.
const AFTER_REPLY: Duration = Duration::from_secs(10);

/// How a notebook is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The notebook. It stays as it is.
    pub notebook: PathBuf,
    /// The values of this run.
    pub parameters: Vec<Parameter>,
    /// Where the executed notebook goes: a notebook, or an HTML page.
    pub to: Option<PathBuf>,
    /// The time limit of a cell.
    pub timeout: Option<Duration>,
    /// The current folder of the kernel; by default that of the notebook.
    pub folder: Option<PathBuf>,
}

/// How a cell ended.
enum Ended {
    Done,
    /// With this error: its name and its message.
    Failed(String, String),
    TimedOut(Duration),
    /// The user interrupted the run.
    Interrupted,
    KernelDied,
}

/// Runs a notebook. The exit status is 0 if every cell ran, 1 if one failed, 2 if the notebook cannot be run at all,
/// and 130 after an interrupt.
pub fn run(options: &RunOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.context("the runtime cannot be started").and_then(|runtime| runtime.block_on(execute(options)));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tunebook: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn execute(options: &RunOptions) -> anyhow::Result<ExitCode> {
    let mut document = Document::read(&options.notebook)?;
    if let Some(to) = &options.to {
        check_target(to)?;
    }
    document.cells_mut().retain(|cell| !has_tag(cell, ERROR_MARK));
    for warning in inject(&mut document, &options.parameters)? {
        eprintln!("tunebook: {warning}");
    }
    for cell in document.cells_mut().iter_mut().filter(|cell| is_code(cell)) {
        set(cell, "outputs", json!([]));
        set(cell, "execution_count", Value::Null);
    }
    let beside = options.notebook.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = options.folder.as_deref().or(beside).unwrap_or(Path::new("."));
    let mut kernel = KernelProcess::start(folder).await?;
    let mut outputs = Outputs::default();
    let mut stop = StopSignals::new()?;
    let total = document.cells().iter().filter(|cell| is_code(cell)).count();
    let (mut done, started) = (0, Instant::now());
    let mut failed: Option<(usize, Ended)> = None;
    for index in 0..document.cells().len() {
        let cell = &document.cells()[index];
        if !is_code(cell) {
            continue;
        }
        done += 1;
        let code = source(cell);
        if code.trim().is_empty() || has_tag(cell, SKIPPED) {
            continue;
        }
        let first = code.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let first: String = first.chars().take(60).collect();
        let (may_fail, began) = (has_tag(cell, MAY_FAIL), Instant::now());
        let ended =
            run_cell(&mut kernel, &mut document, &mut outputs, index, &code, options.timeout, &mut stop).await?;
        let seconds = began.elapsed().as_secs_f64();
        let is_failure = match ended {
            Ended::Done => false,
            Ended::Failed(..) => !may_fail,
            Ended::TimedOut(_) | Ended::Interrupted | Ended::KernelDied => true,
        };
        let status = if is_failure { "failed" } else { "completed" };
        let mark = if is_failure { "  failed" } else { "" };
        eprintln!("[{done}/{total}] {first}  {seconds:.1} s{mark}");
        let cell = &mut document.cells_mut()[index];
        if !cell["metadata"].is_object() {
            cell["metadata"] = json!({});
        }
        cell["metadata"]["papermill"] = json!({ "status": status, "duration": seconds, "exception": is_failure });
        if is_failure {
            failed = Some((index, ended));
            break;
        }
        if let Some(to) = options.to.as_deref().filter(|to| !page::is_page(to)) {
            document.write(to)?;
        }
    }
    kernel.end().await;
    let seconds = started.elapsed().as_secs_f64();
    let code = conclude(&mut document, failed, seconds);
    match options.to.as_deref() {
        Some(to) if page::is_page(to) => super::document::written(to, page::page(&document).as_bytes())?,
        Some(to) => document.write(to)?,
        None => {}
    }
    Ok(code)
}

/// An error if the result cannot be written there. It is better to know that before hours of training.
fn check_target(to: &Path) -> anyhow::Result<()> {
    let ending = to.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !page::is_page(to) && ending != "ipynb" {
        bail!("--to takes a name that ends in .ipynb or .html, not {}", to.display());
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("there is no folder {} for {}", folder.display(), to.display());
    }
    Ok(())
}

async fn run_cell(
    kernel: &mut KernelProcess,
    document: &mut Document,
    outputs: &mut Outputs,
    index: usize,
    code: &str,
    timeout: Option<Duration>,
    stop: &mut StopSignals,
) -> anyhow::Result<Ended> {
    let request = kernel.client.execute(code).await?;
    let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let (mut error, mut replied, mut idle) = (None, None::<tokio::time::Instant>, false);
    let mut stopped: Option<Ended> = None;
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    loop {
        if idle && replied.is_some() {
            break;
        }
        if replied.is_some_and(|replied| replied.elapsed() > AFTER_REPLY) {
            break;
        }
        tokio::select! {
            received = kernel.client.next() => match received? {
                Received::Published(message) if message.parent["msg_id"] == request.as_str() => {
                    if message.kind() == "status" {
                        idle = message.content["execution_state"] == "idle";
                    }
                    if message.kind() == "error" {
                        let text = |field: &str| message.content[field].as_str().unwrap_or_default().to_string();
                        error = Some((text("ename"), text("evalue")));
                    }
                    outputs.add(document.cells_mut(), index, message.kind(), &message.content);
                }
                // Output of a thread that an earlier cell started still belongs somewhere; it is shown here.
                Received::Published(message) => {
                    if matches!(message.kind(), "stream" | "display_data" | "update_display_data") {
                        outputs.add(document.cells_mut(), index, message.kind(), &message.content);
                    }
                }
                Received::Reply(message) if message.parent["msg_id"] == request.as_str() => {
                    replied = Some(tokio::time::Instant::now());
                }
                Received::Reply(_) => {}
            },
            () = until(deadline), if stopped.is_none() => {
                stopped = Some(Ended::TimedOut(timeout.unwrap_or_default()));
                kernel.client.interrupt().await?;
            }
            () = stop.received(), if stopped.is_none() => {
                stopped = Some(Ended::Interrupted);
                kernel.client.interrupt().await?;
            }
            _ = beat.tick() => {
                if !kernel.is_alive() {
                    return Ok(Ended::KernelDied);
                }
            }
        }
    }
    Ok(match (stopped, error) {
        (Some(stopped), _) => stopped,
        (None, Some((name, message))) => Ended::Failed(name, message),
        (None, None) => Ended::Done,
    })
}

/// The signals by which the user or the system asks the run to end. They are listened to from the start, so that none
/// is lost.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for a moment; for ever if there is none.
async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Records in the notebook how the run ended, as papermill does, and returns the exit status.
fn conclude(document: &mut Document, failed: Option<(usize, Ended)>, seconds: f64) -> ExitCode {
    let papermill = document.metadata_mut()["papermill"].take();
    let mut papermill = if papermill.is_object() { papermill } else { json!({ "parameters": {} }) };
    papermill["duration"] = json!(seconds);
    papermill["exception"] = json!(failed.is_some());
    papermill["version"] = json!(concat!("tunebook ", env!("CARGO_PKG_VERSION")));
    set(document.metadata_mut(), "papermill", papermill);
    let Some((index, ended)) = failed else {
        eprintln!("All cells ran in {seconds:.1} s.");
        return ExitCode::SUCCESS;
    };
    let count = &document.cells()[index]["execution_count"];
    let place = count.as_i64().map_or_else(|| format!("cell {}", index + 1), |count| format!("In [{count}]"));
    let why = match &ended {
        Ended::Failed(name, message) => format!("{name}: {message}"),
        Ended::TimedOut(limit) => format!("the cell took longer than {} s", limit.as_secs_f64()),
        Ended::Interrupted => "the run was interrupted".into(),
        Ended::KernelDied => "the kernel ended".into(),
        Ended::Done => String::new(),
    };
    eprintln!("{place} ended the run: {why}");
    let with_id = document.has_ids();
    let red = |text: &str| format!("<span style=\"color:red\">{text}</span>");
    let top = red(&format!("An exception was encountered at <a href=\"#tunebook-error\">{place}</a>."));
    let mark = format!("<span id=\"tunebook-error\" style=\"color:red\">Execution ended here, at {place}.</span>");
    document.cells_mut().insert(index, text_cell(&mark, &[ERROR_MARK], with_id));
    document.cells_mut().insert(0, text_cell(&top, &[ERROR_MARK], with_id));
    if matches!(ended, Ended::Interrupted) { ExitCode::from(130) } else { ExitCode::from(1) }
}
