//! evcxr on a thread of its own. It is created in the background, takes one job after the other from a channel, and can
//! be interrupted from other threads.

use super::build_progress::BuildProgress;
use super::compilers;
use super::dependencies::Dependencies;
use super::errors::CellError;
use super::evaluation::{Evaluation, evaluate};
use super::gone::Gone;
use super::output::{Cell, Output};
use super::runner::{self, Channels};
use super::standard_library;
use super::state::{CellRun, EngineState, Interruptible, Readiness};
use super::statics::Statics;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use evcxr::{Analysis, CommandContext, EvalContext};
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tunebook_magics::{ErrorName, Interrupt};
use tunebook_prebuilt::{CellCrate, Prebuilt};

/// rust-analyzer is there once the engine is created. A question that comes earlier waits at most this long.
const ANALYSIS_WAIT: Duration = Duration::from_secs(10);
/// How often a caller who waits for a cell looks whether it was interrupted before the engine was ready.
const LOOK_FOR_INTERRUPT: Duration = Duration::from_millis(50);
/// An interrupt is repeated this often at this distance, because a cell may start another compiler, or its code, at any
/// moment.
const INTERRUPT_ATTEMPTS: usize = 100;
const INTERRUPT_AGAIN: Duration = Duration::from_millis(20);

/// Work for the thread of the engine.
enum Job {
    /// Runs a cell.
    Run {
        code: String,
        crates: Vec<CellCrate>,
        cell: Arc<dyn Cell>,
        run: CellRun,
        answer: Sender<Result<Evaluation, CellError>>,
    },
    /// Adds crates that cells are likely to name.
    Preload { crates: Vec<CellCrate> },
    /// Calls a function with evcxr.
    With(Box<dyn FnOnce(&mut CommandContext) + Send>),
}

/// Completions for a place in code.
pub struct CompletionList {
    /// The byte at which the text to replace begins.
    pub start: usize,
    /// The byte at which it ends.
    pub end: usize,
    pub items: Vec<CompletionItem>,
}

/// A completion.
pub struct CompletionItem {
    /// The text that replaces what was typed.
    pub text: String,
    /// The kind of item, in Jupyter's words: `function`, `class`, `module`, `instance`, `keyword`.
    pub kind: &'static str,
    /// The type or signature.
    pub detail: String,
}

/// A handle to the engine of Rust cells.
pub struct Engine {
    jobs: Sender<Job>,
    state: EngineState,
    parts: Arc<Parts>,
}

/// What other threads use of the engine. Each part is set once, while the engine is created.
#[derive(Default)]
struct Parts {
    /// The supervisor of the process that runs cells.
    supervisor: OnceLock<Arc<Mutex<Child>>>,
    analysis: OnceLock<Analysis>,
    output: OnceLock<Output>,
}

impl Parts {
    fn supervisor(&self) -> Option<MutexGuard<'_, Child>> {
        // The lock is evcxr's. A panic of another thread does not make the handle of the process wrong.
        Some(self.supervisor.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the code of a cell runs, as opposed to being compiled.
    fn code_runs(&self) -> bool {
        self.output.get().is_some_and(Output::is_running)
    }
}

impl Engine {
    /// Starts to create the engine and returns at once. `find_prebuilt` is called on the thread of the engine.
    pub fn start(find_prebuilt: impl FnOnce() -> Option<Prebuilt> + Send + 'static) -> Self {
        let (jobs, queue) = unbounded();
        let (state, parts) = (EngineState::starting(), Arc::<Parts>::default());
        let of_thread = (state.clone(), parts.clone());
        // rust-analyzer and evcxr need more stack than threads have by default.
        let thread = std::thread::Builder::new().name("rust".into()).stack_size(16 << 20);
        // If the thread cannot be started, the queue is closed, and each request learns that there is no engine.
        let _ = thread.spawn(move || serve(queue, &of_thread.0, &of_thread.1, find_prebuilt()));
        Self { jobs, state, parts }
    }

    /// Runs a cell to its end. Waits until the engine is created. `crates` are the crates that the cell names.
    pub fn run(
        &self,
        code: &str,
        crates: Vec<CellCrate>,
        cell: Arc<dyn Cell>,
        interrupt: &Interrupt,
    ) -> Result<Evaluation, CellError> {
        let run = self.state.begin(interrupt)?;
        let number = run.number();
        let (answer, receiver) = bounded(1);
        let job = Job::Run { code: code.into(), crates, cell, run, answer };
        if self.jobs.send(job).is_err() {
            return Err(self.state.unavailable());
        }
        loop {
            match receiver.recv_timeout(LOOK_FOR_INTERRUPT) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(self.state.unavailable()),
                // The engine goes on being created, but this cell does not run.
                Err(RecvTimeoutError::Timeout) if self.state.give_up(number) => {
                    return Err(CellError::interrupted_before_it_ran());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Calls a function with evcxr, between two cells. Waits until the engine is created.
    ///
    /// # Errors
    ///
    /// `NoToolchain` or `EngineError` if there is no engine.
    pub fn with<T: Send + 'static>(
        &self,
        function: impl FnOnce(&mut CommandContext) -> T + Send + 'static,
    ) -> Result<T, CellError> {
        let (answer, receiver) = bounded(1);
        let job = move |context: &mut CommandContext| drop(answer.send(function(context)));
        let sent = self.jobs.send(Job::With(Box::new(job)));
        sent.ok().and_then(|()| receiver.recv().ok()).ok_or_else(|| self.state.unavailable())
    }

    /// Whether Rust cells can run.
    pub fn readiness(&self) -> Readiness {
        self.state.readiness()
    }

    /// How long no cell has run. None while one runs and while the engine is being created.
    pub fn idle(&self) -> Option<Duration> {
        self.state.idle()
    }

    /// Whether a cell runs, or waits until the engine is created.
    pub fn is_busy(&self) -> bool {
        self.state.is_busy()
    }

    /// Adds crates that cells are likely to name, in the background.
    pub fn preload(&self, crates: Vec<CellCrate>) {
        let _ = self.jobs.send(Job::Preload { crates });
    }

    /// rust-analyzer, which also answers while a cell runs. Waits until the engine is created.
    fn analysis(&self) -> Option<&Analysis> {
        let deadline = Instant::now() + ANALYSIS_WAIT;
        while self.parts.analysis.get().is_none()
            && self.readiness() == Readiness::Starting
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.parts.analysis.get()
    }

    /// The names and kinds of the variables and items that cells have defined. Does not wait for a cell that runs.
    pub fn names(&self) -> Vec<(String, &'static str)> {
        self.parts.analysis.get().map(Analysis::names).unwrap_or_default()
    }

    /// Completions at a byte of some code. None if rust-analyzer has no answer.
    pub fn complete(&self, code: &str, position: usize) -> Option<CompletionList> {
        let found = self.analysis()?.completions(code, position).ok()?;
        // rust-analyzer also proposes names that are merely similar; front ends expect names that continue the typed
        // word.
        let typed = code.get(found.start_offset..position).unwrap_or("").to_string();
        let fitting = found.completions.into_iter().filter(|c| c.code.starts_with(&typed));
        let items = fitting.map(|c| CompletionItem { text: c.code, kind: c.kind, detail: c.detail }).collect();
        Some(CompletionList { start: found.start_offset, end: found.end_offset, items })
    }

    /// The documentation of the word that ends at a byte, as text and as Markdown.
    pub fn inspect(&self, code: &str, position: usize) -> Option<(String, String)> {
        let markdown = self.analysis()?.hover_at(code, position).ok().flatten()?;
        Some(super::documentation::presented(&markdown))
    }

    /// Interrupts the cell that runs: ends its compilers, or the process in which its code runs; a snapshot of that
    /// process then takes over.
    pub fn interrupt(&self) {
        let Some(number) = self.state.interrupt() else { return };
        let (state, parts) = (self.state.clone(), self.parts.clone());
        std::thread::spawn(move || {
            for _ in 0..INTERRUPT_ATTEMPTS {
                match state.interruptible(number) {
                    Interruptible::NoLonger => return,
                    // The compilers that run now create the engine. Without it no cell could run any more.
                    Interruptible::NotYet => {}
                    Interruptible::Now if parts.code_runs() => {
                        if let Some(supervisor) = parts.supervisor().map(|child| child.id()) {
                            runner::interrupt(supervisor);
                        }
                    }
                    Interruptible::Now => compilers::end(),
                }
                std::thread::sleep(INTERRUPT_AGAIN);
            }
        });
    }

    /// Ends the process that runs cells.
    pub fn end_runner(&self) {
        if let Some(mut supervisor) = self.parts.supervisor() {
            let _ = supervisor.kill();
        }
    }
}

/// The thread of the engine: creates evcxr and does one job after the other.
fn serve(queue: Receiver<Job>, state: &EngineState, parts: &Arc<Parts>, prebuilt: Option<Prebuilt>) {
    let mut context = match create(prebuilt.as_ref(), parts) {
        Ok(context) => context,
        Err(error) => return refuse(queue, &error, state),
    };
    // An error is not reported here: the first cell has the same error.
    let _ = context.eval_context().build_runtime();
    let (mut dependencies, mut gone, mut statics) = (Dependencies::new(prebuilt), Gone::default(), Statics::default());
    let (mut note, mut is_warm) = (standard_library::note(), false);
    state.ready();
    for job in queue {
        match job {
            Job::Run { run, answer, .. } if !run.may_run() => {
                drop(run);
                let _ = answer.send(Err(CellError::interrupted_before_it_ran()));
            }
            Job::Run { code, crates, cell, run, answer } => {
                let of_progress = parts.clone();
                let progress = BuildProgress::new(cell.clone(), move || of_progress.code_runs());
                let of_cargo = progress.clone();
                context.eval_context().set_progress(Arc::new(move |line| of_cargo.line(line)));
                let work = || {
                    let rest =
                        dependencies.add(&mut context, &code, crates).map_err(|error| match run.is_interrupted() {
                            true => CellError::new(
                                ErrorName::Interrupted,
                                "the cell was interrupted while its crates were added",
                            ),
                            false => error,
                        })?;
                    if let Some(note) = note.take() {
                        cell.text(&note, true);
                    }
                    dependencies.notes().iter().for_each(|note| cell.text(note, true));
                    let Some(output) = parts.output.get() else { return Err(state.unavailable()) };
                    let ran = evaluate(&mut context, output, &rest, cell.clone(), &progress, &run, &mut gone)?;
                    if let Some(note) = statics.note(&rest) {
                        cell.text(&note, true);
                    }
                    Ok(ran)
                };
                // A panic of the kernel's own code must not cost the session.
                let result = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                    let message = "the kernel has a fault, told in its log; variables and functions are kept";
                    Err(CellError::new(ErrorName::InternalError, message))
                });
                context.eval_context().set_progress(Arc::new(|_| {}));
                progress.end();
                dependencies.remember_versions();
                // Before the answer, because the kernel may be ended right after it.
                dependencies.share();
                // Before the answer, because the next cell may come right after it.
                drop(run);
                let _ = answer.send(result);
                if !std::mem::replace(&mut is_warm, true) {
                    warm(parts);
                }
            }
            Job::Preload { crates } => dependencies.preload(&mut context, crates),
            Job::With(function) => function(&mut context),
        }
    }
}

/// Lets rust-analyzer read the standard library. This takes seconds of processor time, so it begins after the first
/// Rust cell: a session of magics alone does not pay for it.
fn warm(parts: &Parts) {
    if let Some(analysis) = parts.analysis.get().cloned() {
        std::thread::spawn(move || analysis.warm());
    }
}

/// Starts the process that runs cells, and evcxr over it.
fn create(prebuilt: Option<&Prebuilt>, parts: &Parts) -> Result<CommandContext, String> {
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(executable);
    command.env("LD_LIBRARY_PATH", library_path(prebuilt.and_then(|prebuilt| prebuilt.libtorch.as_deref())));
    // Computations in cells are small: threads that spin while they wait for each other would cost more time than they
    // save.
    command.env("GOMP_SPINCOUNT", "0");
    // Only a process with a single thread can be forked for a snapshot. Without this the first tensor would start
    // threads.
    command.envs([("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1")]);
    // The path is made absolute, so that cells find the same store after they change to another folder.
    if let Ok(store) = std::path::absolute(tunebook_study::store::default_store()) {
        command.env("TUNEBOOK_STUDIES", store);
    }
    let channels = Channels::attach(&mut command).map_err(|error| error.to_string())?;
    let (context, outputs) = EvalContext::with_subprocess_command(command).map_err(|error| error.to_string())?;
    // The supervisor's own output. What cells print comes through `channels`.
    for lines in [outputs.stdout, outputs.stderr] {
        std::thread::spawn(move || lines.iter().for_each(|line| tunebook_wire::log(&line)));
    }
    let _ = parts.output.set(Output::forward(channels));
    let _ = parts.supervisor.set(context.process_handle());
    let _ = parts.analysis.set(context.analysis());
    Ok(CommandContext::with_eval_context(context))
}

/// The `LD_LIBRARY_PATH` of the process that runs cells: it must find the standard library, which cells link
/// dynamically, and libtorch.
fn library_path(libtorch: Option<&Path>) -> OsString {
    let output = Command::new("rustc").args(["--print", "target-libdir"]).output();
    let standard = output.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let known = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders =
        standard.into_iter().chain(libtorch.map(|folder| folder.join("lib"))).chain(std::env::split_paths(&known));
    std::env::join_paths(folders.filter(|folder| !folder.as_os_str().is_empty())).unwrap_or(known)
}

/// Answers every cell with the reason why there is no engine.
fn refuse(queue: Receiver<Job>, reason: &str, state: &EngineState) {
    let reason = reason.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").to_string();
    let is_there = std::env::current_exe().is_ok_and(|executable| executable.exists());
    state.missing(match is_there {
        true => format!(
            "Rust cells need `cargo` and `rustc` on the PATH of the kernel, and they could not be used: {reason}. \
             Magics work without them. Install Rust (rustup.rs) and restart the kernel."
        ),
        false => {
            "Tunebook was installed again while this kernel ran, so its executable is gone. Restart the kernel.".into()
        }
    });
    for job in queue {
        if let Job::Run { answer, .. } = job {
            let _ = answer.send(Err(state.unavailable()));
        }
    }
}
