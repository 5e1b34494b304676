//! evcxr on a thread of its own: created in the background, asked through a channel, interrupted from outside.

use super::crates::Crates;
use super::errors::{CellError, compilation};
use super::output::Output;
use super::runner::{self, TOKEN};
use super::sources;
use super::tensors::{Ahead, library_path};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use evcxr::{CommandContext, EvalCallbacks, EvalContext};
use std::collections::HashMap;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tunebook_magics::{CellCrate, Interrupt};

/// Where the output of a cell goes: the text, and whether it is of standard error.
pub type Sink = Arc<dyn Fn(&str, bool) + Send + Sync>;
/// Asks the user for input: the prompt, and whether it must not be shown. `None`: the cell was interrupted.
pub type Input = Arc<dyn Fn(&str, bool) -> Option<String> + Send + Sync>;

enum Job {
    Run {
        code: String,
        crates: Vec<CellCrate>,
        sink: Sink,
        input: Input,
        answer: Sender<Result<HashMap<String, String>, CellError>>,
        /// Interrupted before the engine was there: nobody waits for it any more, and it must not run.
        cancelled: Arc<AtomicBool>,
    },
    /// Adds crates that cells are likely to name, while there is nothing else to do.
    Preload {
        crates: Vec<CellCrate>,
    },
    /// Lets rust-analyzer read what was added, so that the first `let` does not wait for it.
    Read,
    Complete {
        code: String,
        position: usize,
        answer: Sender<Option<Completed>>,
    },
    Inspect {
        code: String,
        position: usize,
        answer: Sender<Option<Hover>>,
    },
}

/// Candidates of rust-analyzer: the bytes to replace, and texts with their kinds.
pub struct Completed {
    /// Where the text to replace begins, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Candidates with kinds.
    pub matches: Vec<(String, &'static str)>,
}

/// What rust-analyzer knows of a word: as text and as HTML.
pub type Hover = (String, String);

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
    process: Mutex<Option<Arc<Mutex<Child>>>>,
    ready: AtomicBool,
    missing: AtomicBool,
    running: AtomicBool,
    /// Something is being added in the background: questions are not answered meanwhile.
    preloading: AtomicBool,
    /// When the last cell ended.
    idle_since: Mutex<Option<Instant>>,
    interrupted: AtomicBool,
}

impl Shared {
    fn has_ended(&self) {
        if let Ok(mut since) = self.idle_since.lock() {
            *since = Some(Instant::now());
        }
    }
}

impl Engine {
    /// Starts to create the engine; comes back at once. `ahead` finds what cells can build upon.
    pub fn start(ahead: impl FnOnce() -> Option<Ahead> + Send + 'static) -> Self {
        let (jobs, queue) = unbounded();
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let spawned = std::thread::Builder::new().name("rust".into()).stack_size(16 << 20);
        // Without the thread the queue is closed, and each request says that there is no engine.
        let more = jobs.clone();
        let _ = spawned.spawn(move || serve(queue, &more, &for_thread, ahead()));
        Self { jobs, shared }
    }

    /// Runs a cell to its end. Waits for the engine to be there. `crates`: those that it names.
    pub fn run(
        &self,
        code: &str,
        crates: Vec<CellCrate>,
        sink: Sink,
        input: Input,
        interrupt: &Interrupt,
    ) -> Result<HashMap<String, String>, CellError> {
        let (answer, receiver) = bounded(1);
        self.shared.interrupted.store(false, Ordering::SeqCst);
        self.shared.running.store(true, Ordering::SeqCst);
        // An interrupt that came before `running` was seen by nobody here.
        if interrupt.is_raised() {
            self.shared.running.store(false, Ordering::SeqCst);
            return Err(CellError::new("Interrupted", "the cell was interrupted before it ran"));
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        let job = Job::Run { code: code.into(), crates, sink, input, answer, cancelled: cancelled.clone() };
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

    /// Whether it can run cells.
    pub fn readiness(&self) -> Readiness {
        match (self.shared.ready.load(Ordering::SeqCst), self.shared.missing.load(Ordering::SeqCst)) {
            (true, _) => Readiness::Ready,
            (false, true) => Readiness::Missing,
            (false, false) => Readiness::Starting,
        }
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

    /// Whether it was created and has nothing to do: a question would be answered at once.
    pub fn is_free(&self) -> bool {
        self.shared.ready.load(Ordering::SeqCst) && !self.is_busy()
    }

    fn is_busy(&self) -> bool {
        self.shared.running.load(Ordering::SeqCst) || self.shared.preloading.load(Ordering::SeqCst)
    }

    /// Candidates at a byte; nothing while a cell runs.
    pub fn complete(&self, code: &str, position: usize) -> Option<Completed> {
        self.ask(|answer| Job::Complete { code: code.into(), position, answer })
    }

    /// What is known of the word at a byte; nothing while a cell runs.
    pub fn inspect(&self, code: &str, position: usize) -> Option<Hover> {
        self.ask(|answer| Job::Inspect { code: code.into(), position, answer })
    }

    fn ask<T>(&self, job: impl FnOnce(Sender<Option<T>>) -> Job) -> Option<T> {
        if self.is_busy() {
            return None;
        }
        let (answer, receiver) = bounded(1);
        self.jobs.send(job(answer)).ok()?;
        receiver.recv_timeout(Duration::from_secs(10)).ok().flatten()
    }

    /// Ends what runs: a compiler, or else the process of the cell, from which a snapshot takes over.
    pub fn interrupt(&self) {
        if !self.shared.running.load(Ordering::SeqCst) {
            return;
        }
        self.shared.interrupted.store(true, Ordering::SeqCst);
        // Compilers that create the engine are left alone: without it no cell would run any more.
        if self.shared.ready.load(Ordering::SeqCst) && !end_compilers() {
            let process = self.shared.process.lock().ok().and_then(|process| process.clone());
            if let Some(supervisor) = process.and_then(|process| Some(process.lock().ok()?.id())) {
                runner::interrupt(supervisor);
            }
        }
    }

    /// Ends the process that runs cells.
    pub fn end_runner(&self) {
        let process = self.shared.process.lock().ok().and_then(|process| process.clone());
        if let Some(process) = process
            && let Ok(mut child) = process.lock()
        {
            let _ = child.kill();
        }
    }
}

/// The thread of the engine.
fn serve(queue: Receiver<Job>, jobs: &Sender<Job>, shared: &Shared, ahead: Option<Ahead>) {
    let token = format!("\u{1}tunebook-panic-{}", uuid::Uuid::new_v4().simple());
    let created = create(&token, ahead.as_ref());
    let (mut context, output) = match created {
        Ok((context, outputs)) => (context, Output::forward(outputs, token)),
        Err(error) => {
            shared.missing.store(true, Ordering::SeqCst);
            return refuse(queue, &error);
        }
    };
    if let Ok(mut process) = shared.process.lock() {
        *process = Some(context.process_handle());
    }
    let mut crates = Crates::new(ahead);
    shared.ready.store(true, Ordering::SeqCst);
    shared.has_ended();
    for job in queue {
        match job {
            Job::Run { cancelled, .. } if cancelled.load(Ordering::SeqCst) => {}
            Job::Run { code, crates: named, sink, input, answer, .. } => {
                let interrupted = || shared.interrupted.load(Ordering::SeqCst);
                let result = crates.add(&mut context, &code, named).map_err(|error| match interrupted() {
                    true => CellError::new("Interrupted", "the cell was interrupted while its crates were added"),
                    false => error,
                });
                let result = result.and_then(|code| run(&mut context, &output, shared, &code, sink, input));
                crates.note();
                drop(answer.send(result));
            }
            Job::Preload { crates: likely } => {
                shared.preloading.store(true, Ordering::SeqCst);
                if crates.preload(&mut context, likely) {
                    let _ = jobs.send(Job::Read);
                }
                shared.preloading.store(false, Ordering::SeqCst);
            }
            Job::Read => {
                shared.preloading.store(true, Ordering::SeqCst);
                let _ = complete(&mut context, "tch::Tensor::", 13);
                shared.preloading.store(false, Ordering::SeqCst);
            }
            Job::Complete { code, position, answer } => drop(answer.send(complete(&mut context, &code, position))),
            Job::Inspect { code, position, answer } => {
                drop(answer.send(context.hover_at(&code, position).ok()));
            }
        }
    }
}

fn create(token: &str, ahead: Option<&Ahead>) -> Result<(CommandContext, evcxr::EvalContextOutputs), String> {
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(executable);
    command.env(TOKEN, token).env("LD_LIBRARY_PATH", library_path(ahead.map(|ahead| ahead.libtorch.as_path())));
    // What is computed in cells is small; threads that wait for each other would cost more than they bring.
    command.env("GOMP_SPINCOUNT", "0");
    // A process with one thread can be kept safe by a snapshot; tensors alone must not end that.
    command.envs([("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1")]);
    let (context, outputs) = EvalContext::with_subprocess_command(command).map_err(|error| error.to_string())?;
    Ok((CommandContext::with_eval_context(context), outputs))
}

/// Answers every request with why there is no engine.
fn refuse(queue: Receiver<Job>, reason: &str) {
    let reason = reason.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").to_string();
    let message = format!(
        "Rust cells need `cargo` and `rustc` on the PATH of the kernel, and they could not be used: {reason}. Magics work \
         without them. Install Rust (rustup.rs) and restart the kernel."
    );
    for job in queue {
        if let Job::Run { answer, .. } = job {
            let _ = answer.send(Err(CellError::new("NoToolchain", message.clone())));
        }
    }
}

fn complete(context: &mut CommandContext, code: &str, position: usize) -> Option<Completed> {
    let found = context.completions(code, position).ok()?;
    // rust-analyzer also proposes what is merely alike; front ends want what continues the word.
    let typed = code.get(found.start_offset..position).unwrap_or("").to_string();
    let fitting = found.completions.into_iter().filter(|c| c.code.starts_with(&typed));
    let matches = fitting.map(|c| (c.code, c.kind)).collect();
    Some(Completed { start: found.start_offset, end: found.end_offset, matches })
}

fn run(
    context: &mut CommandContext,
    output: &Output,
    shared: &Shared,
    code: &str,
    sink: Sink,
    input: Input,
) -> Result<HashMap<String, String>, CellError> {
    if let Some(error) = taken_over(code) {
        return Err(error);
    }
    let mut variables: Vec<String> = context.variables_and_types().map(|(name, _)| name.to_string()).collect();
    variables.sort();
    if let Some(note) = sources::note_once() {
        sink(&note, true);
    }
    output.begin(sink);
    let mut callbacks =
        EvalCallbacks { input_reader: &|request| input(&request.prompt, request.is_password).unwrap_or_default() };
    let result = context.execute_with_callbacks(code, &mut callbacks);
    let ended = output.end();
    let interrupted = shared.interrupted.load(Ordering::SeqCst);
    if let Some(how) = ended.process.filter(|_| result.is_ok()) {
        return Err(survived(&how, interrupted));
    }
    match result {
        Ok(_) if ended.panicked => Err(CellError::panic(&ended.about_panic)),
        Ok(_) if ended.question_mark => Err(CellError::new("Error", ended.last_stderr.unwrap_or_default())),
        Ok(outputs) => Ok(outputs.content_by_mime_type),
        Err(evcxr::Error::SubprocessTerminated(reason)) => Err(lost(&variables, &reason, interrupted)),
        Err(_) if interrupted => Err(CellError::new("Interrupted", "the cell was interrupted while it was compiled")),
        Err(evcxr::Error::CompilationErrors(errors)) => Err(compilation(&errors, code)),
        Err(error) => Err(CellError::new("Error", error.to_string())),
    }
}

/// Commands of evcxr that would end or change the kernel's own process.
fn taken_over(code: &str) -> Option<CellError> {
    let command = code.lines().map(str::trim).find(|line| line.starts_with(':'))?;
    let name = command.split_whitespace().next()?;
    let message = match name {
        ":quit" | ":q" => "a cell cannot quit the kernel; shut it down or restart it from the menu",
        ":env" => {
            "`:env` would change the kernel while it runs; use std::env::set_var in a cell, or set it before the start"
        }
        _ => return None,
    };
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

/// Ends cargo, rustc and linkers that run below this process; whether there were any.
fn end_compilers() -> bool {
    let stat = |pid: u32| -> Option<(u32, String)> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = text.rsplit_once(')')?;
        let parent = tail.split_whitespace().nth(1)?.parse().ok()?;
        Some((parent, head.split_once('(')?.1.to_string()))
    };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: HashMap<u32, (u32, String)> = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let own = std::process::id();
    let is_below = |mut pid: u32| {
        while let Some((parent, _)) = all.get(&pid) {
            if *parent == own {
                return true;
            }
            pid = *parent;
        }
        false
    };
    let mut found = false;
    for (pid, (_, name)) in &all {
        if ["cargo", "rustc", "cc", "ld", "rust-lld", "collect2"].contains(&name.as_str()) && is_below(*pid) {
            found |= name == "cargo" || name == "rustc";
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid as i32), nix::sys::signal::Signal::SIGKILL);
        }
    }
    found
}
