//! `tunebook run`: executes a notebook from its first cell to its last.

use super::cell::{Ended, StopSignals, run_cell};
use super::document::{Document, has_tag, is_code, set, source, text_cell};
use super::kernel_process::KernelProcess;
use super::outputs::Outputs;
use super::page;
use super::parameters::{Parameter, inject};
use super::terminal::say;
use super::waiting::{Waited, wait_for_sweeps};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A cell that may fail.
const MAY_FAIL: &str = "raises-exception";
/// A cell that is not run.
const SKIPPED: &str = "skip-execution";
/// The tag of the cells that papermill adds after an error.
const ERROR_MARK: &str = "papermill-error-cell-tag";

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

/// Runs a notebook. The exit status is 0 if every cell ran, 1 if one failed, 2 if the notebook cannot be run at all,
/// and 130 after an interrupt. A sweep that fails in the background is like a cell that fails.
pub fn run(options: &RunOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.context("the runtime cannot be started").and_then(|runtime| runtime.block_on(execute(options)));
    match ended {
        Ok(code) => code,
        Err(error) => {
            say(&format!("tunebook: {error:#}"));
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
        say(&format!("tunebook: {warning}"));
    }
    for cell in document.cells_mut().iter_mut().filter(|cell| is_code(cell)) {
        set(cell, "outputs", json!([]));
        set(cell, "execution_count", Value::Null);
    }
    let beside = options.notebook.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = options.folder.as_deref().or(beside).unwrap_or(Path::new("."));
    let mut kernel = KernelProcess::start(folder, &[]).await?;
    let mut outputs = Outputs::default();
    let mut stop = StopSignals::new()?;
    let total = document.cells().iter().filter(|cell| is_code(cell)).count();
    let (mut done, started) = (0, Instant::now());
    let mut failed: Option<(usize, Ended)> = None;
    let mut last = None;
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
        last = Some(index);
        let (may_fail, began) = (has_tag(cell, MAY_FAIL), Instant::now());
        let mut add = |kind: &str, content: &Value| outputs.add(document.cells_mut(), index, kind, content);
        let ended = run_cell(&mut kernel, &code, options.timeout, &mut stop, &mut add).await?;
        let seconds = began.elapsed().as_secs_f64();
        let is_failure = match ended {
            Ended::Done => false,
            Ended::Failed(..) => !may_fail,
            Ended::TimedOut(_) | Ended::Interrupted | Ended::KernelDied => true,
        };
        let status = if is_failure { "failed" } else { "completed" };
        let mark = if is_failure { "  failed" } else { "" };
        say(&format!("[{done}/{total}] {first}  {seconds:.1} s{mark}"));
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
    let waited = match last.filter(|_| failed.is_none()) {
        Some(last) => {
            let mut add = |kind: &str, content: &Value| outputs.add(document.cells_mut(), last, kind, content);
            wait_for_sweeps(&mut kernel, &mut stop, &mut add).await?
        }
        None => Waited::Done(vec![]),
    };
    kernel.end().await;
    let seconds = started.elapsed().as_secs_f64();
    let code = conclude(&mut document, failed, seconds, &waited);
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

/// Records in the notebook how the run ended, as papermill does, and returns the exit status.
fn conclude(document: &mut Document, failed: Option<(usize, Ended)>, seconds: f64, waited: &Waited) -> ExitCode {
    let papermill = document.metadata_mut()["papermill"].take();
    let mut papermill = if papermill.is_object() { papermill } else { json!({ "parameters": {} }) };
    papermill["duration"] = json!(seconds);
    let is_whole = failed.is_none() && matches!(waited, Waited::Done(failures) if failures.is_empty());
    papermill["exception"] = json!(!is_whole);
    papermill["version"] = json!(concat!("tunebook ", env!("CARGO_PKG_VERSION")));
    set(document.metadata_mut(), "papermill", papermill);
    let Some((index, ended)) = failed else {
        say(&format!("All cells ran in {seconds:.1} s."));
        return match waited {
            Waited::Done(failures) => {
                failures.iter().for_each(|failure| say(failure));
                if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
            }
            Waited::Interrupted => ExitCode::from(130),
            Waited::KernelDied => {
                say("The kernel ended while sweeps may have run in the background.");
                ExitCode::from(1)
            }
        };
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
    say(&format!("{place} ended the run: {why}"));
    let with_id = document.has_ids();
    let red = |text: &str| format!("<span style=\"color:red\">{text}</span>");
    let top = red(&format!("An exception was encountered at <a href=\"#tunebook-error\">{place}</a>."));
    let mark = format!("<span id=\"tunebook-error\" style=\"color:red\">Execution ended here, at {place}.</span>");
    document.cells_mut().insert(index, text_cell(&mark, &[ERROR_MARK], with_id));
    document.cells_mut().insert(0, text_cell(&top, &[ERROR_MARK], with_id));
    if matches!(ended, Ended::Interrupted) { ExitCode::from(130) } else { ExitCode::from(1) }
}
