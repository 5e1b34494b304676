//! evcxr on a thread of its own: created in the background, asked through a channel, interrupted from outside.

use super::build_progress::BuildProgress;
use super::compilers;
use super::dependencies::Dependencies;
use super::errors::{CellError, compilation, warnings};
use super::last_value;
use super::output::{Bundle, Cell, Output};
use super::runner::{self, Channels};
use super::standard_library;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use evcxr::{Analysis, CommandContext, EvalContext};
use serde_json::json;
use std::collections::HashMap;
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tunebook_magics::Interrupt;
use tunebook_prebuilt::{CellCrate, Prebuilt};

enum Job {
    Run {
        code: String,
        crates: Vec<CellCrate>,
        cell: Arc<dyn Cell>,
        answer: Sender<Result<Ran, CellError>>,
        /// Interrupted before the engine was there: nobody waits for it any more, and it must not run.
        cancelled: Arc<AtomicBool>,
    },
    /// Adds crates that cells are likely to name, while there is nothing else to do.
    Preload { crates: Vec<CellCrate> },
    /// Asks evcxr something, or tells it.
    With(Box<dyn FnOnce(&mut CommandContext) + Send>),
}

/// What running a cell brought.
#[derive(Default)]
pub struct Ran {
    /// The value of its last expression.
    pub value: Option<Bundle>,
    /// Until it ran.
    pub compile: Duration,
    /// While it ran.
    pub run: Duration,
    /// Processor time of the run, for the user and for the system.
    pub processor: Option<(Duration, Duration)>,
}

/// Candidates of rust-analyzer: the bytes to replace, and what they can be replaced by.
pub struct Completed {
    /// Where the text to replace begins, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Candidates.
    pub matches: Vec<Candidate>,
}

/// One of them.
pub struct Candidate {
    /// What stands there then.
    pub text: String,
    /// `function`, `class`, `module`, `instance`, `keyword`.
    pub kind: &'static str,
    /// Its type or signature.
    pub detail: String,
}

/// The engine of Rust cells.
pub struct Engine {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

/// Whether Rust cells can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The engine is being created; a cell waits for it.
    Starting,
    /// At once.
    Ready,
    /// Never: there is no toolchain.
    Missing,
}

#[derive(Default)]
struct Shared {
    /// The supervisor of the process that runs cells, once it is there.
    process: OnceLock<Arc<Mutex<Child>>>,
    analysis: OnceLock<Analysis>,
    output: OnceLock<Output>,
    ready: AtomicBool,
    running: AtomicBool,
    /// When the last cell ended.
    idle_since: Mutex<Option<Instant>>,
    interrupted: AtomicBool,
    /// Why there is no engine.
    missing: OnceLock<String>,
}

impl Shared {
    fn has_ended(&self) {
        if let Ok(mut since) = self.idle_since.lock() {
            *since = Some(Instant::now());
        }
    }
}

impl Engine {
    /// Starts to create the engine; comes back at once. `prebuilt` finds what cells can build upon.
    pub fn start(prebuilt: impl FnOnce() -> Option<Prebuilt> + Send + 'static) -> Self {
        let (jobs, queue) = unbounded();
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let spawned = std::thread::Builder::new().name("rust".into()).stack_size(16 << 20);
        // Without the thread the queue is closed, and each request says that there is no engine.
        let _ = spawned.spawn(move || serve(queue, &for_thread, prebuilt()));
        Self { jobs, shared }
    }

    /// Runs a cell to its end. Waits for the engine to be there. `crates`: those that it names.
    pub fn run(
        &self,
        code: &str,
        crates: Vec<CellCrate>,
        cell: Arc<dyn Cell>,
        interrupt: &Interrupt,
    ) -> Result<Ran, CellError> {
        let (answer, receiver) = bounded(1);
        if self.shared.running.swap(true, Ordering::SeqCst) {
            return Err(CellError::busy());
        }
        self.shared.interrupted.store(false, Ordering::SeqCst);
        // An interrupt that came before `running` was seen by nobody here.
        if interrupt.is_raised() {
            self.shared.running.store(false, Ordering::SeqCst);
            return Err(CellError::new("Interrupted", "the cell was interrupted before it ran"));
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        let job = Job::Run { code: code.into(), crates, cell, answer, cancelled: cancelled.clone() };
        let sent = self.jobs.send(job);
        let gone = || Err(CellError::new("EngineError", "the engine of Rust cells is not there; restart the kernel"));
        let result = loop {
            match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(result) => break result,
                Err(RecvTimeoutError::Disconnected) => break gone(),
                Err(RecvTimeoutError::Timeout) if sent.is_err() => break gone(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // The engine is still being created: that goes on, but this cell will not run.
            if self.shared.interrupted.load(Ordering::SeqCst) && !self.shared.ready.load(Ordering::SeqCst) {
                cancelled.store(true, Ordering::SeqCst);
                break Err(CellError::new("Interrupted", "the cell was interrupted before it ran"));
            }
        };
        self.shared.has_ended();
        self.shared.running.store(false, Ordering::SeqCst);
        result
    }

    /// Asks evcxr something, or tells it; waits for its turn, also for the engine to be created. `None`: there is none.
    pub fn with<T: Send + 'static>(&self, ask: impl FnOnce(&mut CommandContext) -> T + Send + 'static) -> Option<T> {
        let (answer, receiver) = bounded(1);
        let job = move |context: &mut CommandContext| drop(answer.send(ask(context)));
        self.jobs.send(Job::With(Box::new(job))).ok()?;
        receiver.recv().ok()
    }

    /// Whether it can run cells.
    pub fn readiness(&self) -> Readiness {
        match (self.shared.ready.load(Ordering::SeqCst), self.shared.missing.get().is_some()) {
            (true, _) => Readiness::Ready,
            (false, true) => Readiness::Missing,
            (false, false) => Readiness::Starting,
        }
    }

    /// Why there is no engine, where that is so.
    pub fn missing(&self) -> Option<String> {
        self.shared.missing.get().cloned()
    }

    /// How long it has had nothing to do; `None` while it has, or is being created.
    pub fn idle(&self) -> Option<Duration> {
        let since = self.shared.idle_since.lock().ok().and_then(|since| *since)?;
        self.is_free().then(|| since.elapsed())
    }

    /// Adds crates that cells are likely to name, in the background.
    pub fn preload(&self, crates: Vec<CellCrate>) {
        let _ = self.jobs.send(Job::Preload { crates });
    }

    /// Whether it was created and has nothing to do.
    pub fn is_free(&self) -> bool {
        self.shared.ready.load(Ordering::SeqCst) && !self.is_busy()
    }

    /// Whether a cell runs.
    pub fn is_busy(&self) -> bool {
        self.shared.running.load(Ordering::SeqCst)
    }

    /// rust-analyzer, once it is there: it answers also while a cell runs.
    fn analysis(&self) -> Option<&Analysis> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.shared.analysis.get().is_none() && self.shared.missing.get().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.shared.analysis.get()
    }

    /// Variables and items that cells have defined, with what each is; not kept waiting by a cell that runs.
    pub fn names(&self) -> Vec<(String, &'static str)> {
        self.shared.analysis.get().map(Analysis::names).unwrap_or_default()
    }

    /// Candidates at a byte.
    pub fn complete(&self, code: &str, position: usize) -> Option<Completed> {
        let found = self.analysis()?.completions(code, position).ok()?;
        // rust-analyzer also proposes what is merely alike; front ends want what continues the word.
        let typed = code.get(found.start_offset..position).unwrap_or("").to_string();
        let fitting = found.completions.into_iter().filter(|c| c.code.starts_with(&typed));
        let matches = fitting.map(|c| Candidate { text: c.code, kind: c.kind, detail: c.detail }).collect();
        Some(Completed { start: found.start_offset, end: found.end_offset, matches })
    }

    /// What is known of the word that ends at a byte, as text and as Markdown.
    pub fn inspect(&self, code: &str, position: usize) -> Option<(String, String)> {
        let markdown = self.analysis()?.hover_at(code, position).ok().flatten()?;
        Some(super::documentation::presented(&markdown))
    }

    /// Ends what runs: a compiler, or else the process of the cell, from which a snapshot takes over.
    pub fn interrupt(&self) {
        if !self.shared.running.load(Ordering::SeqCst) {
            return;
        }
        self.shared.interrupted.store(true, Ordering::SeqCst);
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            // What runs may change from compiler to cell at any moment.
            for _ in 0..100 {
                if !shared.running.load(Ordering::SeqCst) || !shared.interrupted.load(Ordering::SeqCst) {
                    return;
                }
                // Compilers that create the engine are left alone: without it no cell would run any more.
                match shared.output.get() {
                    Some(output) if output.is_running() => shared.interrupt_runner(),
                    Some(_) if shared.ready.load(Ordering::SeqCst) => compilers::end(),
                    _ => {}
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    /// Ends the process that runs cells.
    pub fn end_runner(&self) {
        if let Some(process) = self.shared.process.get()
            && let Ok(mut child) = process.lock()
        {
            let _ = child.kill();
        }
    }
}

impl Shared {
    fn interrupt_runner(&self) {
        if let Some(supervisor) = self.process.get().and_then(|process| Some(process.lock().ok()?.id())) {
            runner::interrupt(supervisor);
        }
    }
}

/// The thread of the engine.
fn serve(queue: Receiver<Job>, shared: &Arc<Shared>, prebuilt: Option<Prebuilt>) {
    let mut context = match create(prebuilt.as_ref(), shared) {
        Ok(context) => context,
        Err(error) => return refuse(queue, &error, shared),
    };
    // A first cell would say what is wrong.
    let _ = context.eval_context().build_runtime();
    let mut dependencies = Dependencies::new(prebuilt);
    shared.ready.store(true, Ordering::SeqCst);
    shared.has_ended();
    for job in queue {
        match job {
            Job::Run { cancelled, .. } if cancelled.load(Ordering::SeqCst) => {}
            Job::Run { code, crates: named, cell, answer, .. } => {
                let interrupted = || shared.interrupted.load(Ordering::SeqCst);
                let running = shared.clone();
                let is_running = move || running.output.get().is_some_and(Output::is_running);
                let progress = BuildProgress::new(cell.clone(), is_running);
                let (told, ended) = (progress.clone(), progress.clone());
                context.eval_context().set_progress(Arc::new(move |line| told.line(line)));
                let work = || {
                    let rest = dependencies.add(&mut context, &code, named).map_err(|error| match interrupted() {
                        true => CellError::new("Interrupted", "the cell was interrupted while its crates were added"),
                        false => error,
                    })?;
                    run(&mut context, shared, &rest, cell, &progress)
                };
                // A fault here must not cost the session.
                let result = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                    let message = "the kernel has a fault, told in its log; variables and functions are kept";
                    Err(CellError::new("InternalError", message))
                });
                context.eval_context().set_progress(Arc::new(|_| {}));
                ended.end();
                dependencies.note();
                // Before the answer, for a kernel that is ended right after it.
                dependencies.share();
                drop(answer.send(result));
                warm(shared);
            }
            Job::Preload { crates: likely } => dependencies.preload(&mut context, likely),
            Job::With(ask) => ask(&mut context),
        }
    }
}

/// Lets rust-analyzer read the standard library: once somebody writes Rust, and not for those who only use magics.
fn warm(shared: &Shared) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if let Some(analysis) = shared.analysis.get().cloned() {
        ONCE.call_once(|| drop(std::thread::spawn(move || analysis.warm())));
    }
}

/// What the process that runs cells needs to find at run time: the standard library, which cells link dynamically, and
/// libtorch.
fn library_path(libtorch: Option<&Path>) -> OsString {
    let output = Command::new("rustc").args(["--print", "target-libdir"]).output();
    let standard = output.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let known = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders =
        standard.into_iter().chain(libtorch.map(|folder| folder.join("lib"))).chain(std::env::split_paths(&known));
    std::env::join_paths(folders.filter(|folder| !folder.as_os_str().is_empty())).unwrap_or(known)
}

fn create(prebuilt: Option<&Prebuilt>, shared: &Shared) -> Result<CommandContext, String> {
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(executable);
    command.env("LD_LIBRARY_PATH", library_path(prebuilt.and_then(|prebuilt| prebuilt.libtorch.as_deref())));
    // What is computed in cells is small; threads that wait for each other would cost more than they bring.
    command.env("GOMP_SPINCOUNT", "0");
    // A process with one thread can be kept safe by a snapshot; tensors alone must not end that.
    command.envs([("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1")]);
    // The store stays where it is when a cell goes to another folder.
    if let Ok(store) = std::path::absolute(tunebook_study::store::default_store()) {
        command.env("TUNEBOOK_STUDIES", store);
    }
    let channels = Channels::attach(&mut command).map_err(|error| error.to_string())?;
    let (context, outputs) = EvalContext::with_subprocess_command(command).map_err(|error| error.to_string())?;
    // What comes there is not the user's.
    for lines in [outputs.stdout, outputs.stderr] {
        std::thread::spawn(move || lines.iter().for_each(|line| tunebook_wire::log(&line)));
    }
    let _ = shared.output.set(Output::forward(channels));
    let _ = shared.process.set(context.process_handle());
    let _ = shared.analysis.set(context.analysis());
    Ok(CommandContext::with_eval_context(context))
}

/// Answers every request with why there is no engine.
fn refuse(queue: Receiver<Job>, reason: &str, shared: &Shared) {
    let reason = reason.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").to_string();
    let message = format!(
        "Rust cells need `cargo` and `rustc` on the PATH of the kernel, and they could not be used: {reason}. Magics work \
         without them. Install Rust (rustup.rs) and restart the kernel."
    );
    let _ = shared.missing.set(message.clone());
    for job in queue {
        if let Job::Run { answer, .. } = job {
            let _ = answer.send(Err(CellError::new("NoToolchain", message.clone())));
        }
    }
}

fn run(
    context: &mut CommandContext,
    shared: &Shared,
    code: &str,
    cell: Arc<dyn Cell>,
    progress: &BuildProgress,
) -> Result<Ran, CellError> {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    if let Some(error) = taken_over(code) {
        return Err(error);
    }
    let Some(output) = shared.output.get() else { return Err(CellError::new("EngineError", "there is no output")) };
    let mut variables: Vec<String> = context.variables_and_types().map(|(name, _)| name.to_string()).collect();
    variables.sort();
    if let Some(note) = standard_library::note_once() {
        cell.text(&note, true);
    }
    let with_last = last_value::named(code);
    if with_last.is_some() && !context.eval_context().has_last() {
        let message =
            "`_` is the value of the last expression, and there is none (one that borrows from variables is not kept)";
        return Err(CellError::new("NoLastValue", message));
    }
    let name = NAMES.fetch_add(1, Ordering::Relaxed).to_string();
    context.eval_context().set_cell_name(&name);
    context.eval_context().set_keeps_last(cell.keeps_value());
    output.begin(&name, cell.clone());
    let started = Instant::now();
    let result = context.execute(with_last.as_deref().unwrap_or(code));
    let took = started.elapsed();
    let ended = output.end(context.eval_context().runs());
    progress.end();
    let interrupted = shared.interrupted.load(Ordering::SeqCst);
    let outputs = match result {
        Ok(outputs) => outputs,
        Err(evcxr::Error::SubprocessTerminated(reason)) => return Err(lost(&variables, &reason, interrupted)),
        Err(_) if interrupted => {
            return Err(CellError::new("Interrupted", "the cell was interrupted while it was compiled"));
        }
        Err(evcxr::Error::CompilationErrors(errors)) => return Err(compilation(&errors, code)),
        Err(error) => return Err(CellError::new("Error", error.to_string())),
    };
    let told = warnings(&outputs.warnings, code);
    if !told.is_empty() {
        cell.text(&told, true);
    }
    for (name, reason) in &outputs.not_kept {
        cell.text(&format!("note: `{name}` is not kept for later cells: {reason}\n"), true);
    }
    if let Some((error, line)) = outputs.user_error {
        return Err(CellError::of_line("Error", &[error], line, code, outputs.restored.is_some()));
    }
    if outputs.panicked {
        let line = |line| context.eval_context().user_line(line);
        return Err(CellError::panic(&ended.about_panic, code, line, outputs.restored.is_some()));
    }
    if let Some(how) = &outputs.restored {
        return Err(survived(how, interrupted));
    }
    let [wall, user, system] = outputs.times[..] else {
        return Ok(Ran { value: value(outputs.content_by_mime_type, ended.value), ..Ran::default() });
    };
    Ok(Ran {
        value: value(outputs.content_by_mime_type, ended.value),
        compile: took.saturating_sub(wall),
        run: wall,
        processor: Some((user, system)),
    })
}

/// The value of a cell as a bundle: what displayed itself, or evcxr's text of it.
fn value(of_evcxr: HashMap<String, String>, displayed: Option<Bundle>) -> Option<Bundle> {
    if displayed.is_some() {
        return displayed;
    }
    // A loop or a statement evaluates to nothing, and nothing is shown of it.
    let is_unit = of_evcxr.len() == 1 && of_evcxr.get("text/plain").is_some_and(|text| text == "()");
    if of_evcxr.is_empty() || is_unit {
        return None;
    }
    Some(of_evcxr.into_iter().map(|(mime, text)| (mime, json!(shortened(text)))).collect())
}

/// A value is shown whole up to a size that a front end can show.
fn shortened(text: String) -> String {
    const LONGEST: usize = 1 << 20;
    if text.len() <= LONGEST {
        return text;
    }
    let shown = &text[..text.floor_char_boundary(LONGEST)];
    format!("{shown}\n… {:.1} MB more are left out", (text.len() - shown.len()) as f64 / 1e6)
}

/// Commands of evcxr that would end or change the kernel's own process.
fn taken_over(code: &str) -> Option<CellError> {
    let message = code.lines().filter_map(|line| line.split_whitespace().next()).find_map(|word| match word {
        ":quit" | ":q" => Some("a cell cannot quit the kernel; shut it down or restart it from the menu"),
        ":env" => Some("`:env` would change the kernel while it runs; `%env NAME=value` does what it is for"),
        _ => None,
    })?;
    Some(CellError::new("NotAvailable", message))
}

/// The process of the cell died, and a snapshot of before it took over.
fn survived(how: &str, interrupted: bool) -> CellError {
    let mut error = match interrupted {
        true => CellError::new("Interrupted", "the cell was interrupted"),
        false => CellError::new("ProcessEnded", format!("the cell ended its process ({how})")),
    };
    error.traceback.push("Every variable is as it was before the cell.".into());
    error
}

/// The runner died, and there was no snapshot: what that cost, and why.
fn lost(variables: &[String], reason: &str, interrupted: bool) -> CellError {
    let cost = match variables {
        [] => "No variables were lost.".to_string(),
        names => format!("Lost with it: {}. Functions and types are kept.", names.join(", ")),
    };
    let reason = reason.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("").trim();
    let (name, what) = match interrupted {
        true => ("Interrupted", "the cell was interrupted, and the process that ran it ended".to_string()),
        false => {
            let status = reason.split_once("with status: ").map_or(reason, |(_, status)| status);
            ("ProcessEnded", format!("the process that runs cells ended ({status})"))
        }
    };
    let mut error = CellError::new(name, what);
    error.traceback.push(cost);
    error.traceback.push("It had more than one thread, and such a process cannot be kept safe.".into());
    error.traceback.push("The next cell runs in a new one.".into());
    error
}
