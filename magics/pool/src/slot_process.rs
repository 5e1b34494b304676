//! The process that a slot runs in, as the pool sees it: here, or the command that leads to another machine.

use crate::copying::script;
use crate::copying::sender::Copier;
use crate::guard::{Errand, GuardLine};
use crate::launch::{Pod, START};
use crate::load::only_gpu;
use crate::node::{FromSlot, Needs, ToSlot};
use crate::pool::PoolError;
use crate::spec::{Scheduler, SlotSpec};
use crossbeam_channel::Sender;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tunebook_study::protocol::{Event, VERSION};

/// A process whose output has ended is killed if it has not ended after this time.
const OUTPUT_ENDED: Duration = Duration::from_secs(5);
/// How long a slot on another machine has to end after its standard input was closed, and again after SIGTERM.
const FAR_PATIENCE: Duration = Duration::from_secs(3);
/// How long standard error is read after the end of a command.
const ERRORS_HELD_OPEN: Duration = Duration::from_millis(300);
/// So many of the last lines of standard error are kept.
const ERROR_LINES: usize = 20;
/// The stack of the threads that read what a slot says. There are two for each slot.
const STACK: usize = 256 << 10;

/// A message from a process of a slot.
#[derive(Debug)]
pub struct SlotMessage {
    /// The number of the process, counted by the pool.
    pub(crate) process: u64,
    pub(crate) said: Said,
}

/// What a process of a slot said, or that it has ended.
#[derive(Debug)]
pub(crate) enum Said {
    Event(Event),
    Node(FromSlot),
    /// Files are copied to it. The words say how far that is.
    Copying(String),
    /// The process has ended, with this status.
    Gone(String),
}

/// What a command printed on standard error.
#[derive(Default)]
pub(crate) struct Errors {
    /// The last lines that say something.
    lines: VecDeque<String>,
    /// Whether everything was read.
    ended: bool,
}

/// Where requests to a process go.
pub(crate) enum Line {
    Open(ChildStdin),
    /// The thread that reads what the process says has its standard input, to copy files.
    Lent,
    Closed,
}

pub(crate) type ErrorLines = Arc<Mutex<Errors>>;

/// A process of a slot.
pub(crate) struct SlotProcess {
    /// The number of the process in [`SlotMessage`]; a slot whose process is started again gets a new one.
    pub(crate) id: u64,
    /// The process group, which is also the process id.
    pub(crate) group: Pid,
    pub(crate) errors: ErrorLines,
    /// Its pod, if it is one.
    pub(crate) pod: Option<Pod>,
    /// What is left to do once it has ended, and the guard, which does it if this process cannot.
    errand: Option<(Errand, GuardLine)>,
    line: Arc<Mutex<Line>>,
    /// The number of the trial that it runs, or 0.
    trial: Arc<AtomicU32>,
    gone: Arc<AtomicBool>,
}

impl SlotProcess {
    /// Starts a slot on this machine and waits for its greeting.
    pub(crate) fn start_here(spec: &SlotSpec, id: u64, sender: Sender<SlotMessage>) -> Result<Self, PoolError> {
        let mut started = spawn(spec, Stdio::null())?;
        let shown = spec.command.join(" ");
        let mut seen = String::from("it printed nothing");
        let mut line = Vec::new();
        loop {
            line.clear();
            if !matches!(started.stdout.read_until(b'\n', &mut line), Ok(1..)) {
                break;
            }
            match serde_json::from_slice::<Event>(&line) {
                Ok(Event::Hello { protocol: VERSION, .. }) => {
                    return started.watch(id, sender, GuardLine::default(), None);
                }
                Ok(Event::Hello { protocol, .. }) => {
                    seen = other_version(protocol);
                    break;
                }
                // A banner.
                _ => {
                    let line = String::from_utf8_lossy(&line);
                    seen = format!("its last line was `{}`", line.trim_end().chars().take(200).collect::<String>());
                }
            }
        }
        let _ = started.child.kill();
        let _ = started.child.wait();
        Err(PoolError::NoSlot { command: shown, seen })
    }

    /// Starts the command that leads to a slot on another machine, and tells the slot what it needs. The answer comes
    /// as a message once there is a machine.
    pub(crate) fn start_far(
        spec: &SlotSpec,
        needs: &Arc<Needs>,
        id: u64,
        sender: Sender<SlotMessage>,
        guard: GuardLine,
    ) -> Result<Self, PoolError> {
        let mut spec = spec.clone();
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(id, |since| since.as_nanos() as u64);
        for word in &mut spec.command {
            *word = word.replace(START, &format!("{moment:x}"));
        }
        let copied = needs.copied.as_ref().filter(|_| spec.far.as_ref().is_some_and(|far| far.copies));
        if let Some(copied) = copied {
            script::fill(&mut spec.command, &copied.executable);
        }
        let started = spawn(&spec, Stdio::piped())?;
        let is_pod = spec.far.as_ref().is_some_and(|far| far.scheduler == Scheduler::Kubernetes);
        let pod = Pod::of(&spec.command).filter(|_| is_pod);
        let errand = pod.as_ref().map(|pod| {
            let (name, words) = (pod.name.clone(), pod.delete());
            (Errand { name, words, environment: spec.environment.0.clone() }, guard.clone())
        });
        if let Some((errand, guard)) = &errand {
            guard.at_end(errand);
        }
        let mut process = started.watch(id, sender, guard, copied.map(|_| needs.clone()))?;
        (process.pod, process.errand) = (pod, errand);
        // Where files are copied, this comes after the executable.
        if copied.is_none() {
            process.send(&ToSlot::Begin(Box::new(Needs::clone(needs))));
        }
        Ok(process)
    }

    /// Sends a message. False if the process does not read any more.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> bool {
        let mut open = self.line.lock();
        let Line::Open(stdin) = &mut *open else { return false };
        let Ok(mut line) = serde_json::to_vec(message) else { return false };
        line.push(b'\n');
        stdin.write_all(&line).and_then(|()| stdin.flush()).is_ok()
    }

    /// Closes standard input. A slot then ends what it started, and itself.
    pub(crate) fn close(&mut self) {
        *self.line.lock() = Line::Closed;
    }

    /// Says which trial it is about to run.
    pub(crate) fn runs(&self, trial: u32) {
        self.trial.store(trial, Ordering::Release);
    }

    /// Waits for the end of the process, at most until `deadline`. Returns whether it has ended.
    pub(crate) fn ends_by(&self, deadline: Instant) -> bool {
        while !self.gone.load(Ordering::Acquire) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if !self.gone.load(Ordering::Acquire) {
            let _ = killpg(self.group, signal);
        }
    }

    /// Ends a slot on another machine without waiting for it, and removes what it has left behind. A command that still
    /// waits for a machine does not read its standard input, so it is asked by a signal.
    pub(crate) fn retire(mut self, pending: bool) {
        self.close();
        if pending {
            self.signal(Signal::SIGTERM);
        }
        let ending = move || {
            for signal in [Signal::SIGTERM, Signal::SIGKILL] {
                if !self.ends_by(Instant::now() + FAR_PATIENCE) {
                    self.signal(signal);
                }
            }
            if let Some((errand, guard)) = &self.errand {
                // What `kubectl` has asked for last may still arrive while it runs.
                self.ends_by(Instant::now() + FAR_PATIENCE);
                if errand.run() {
                    guard.done(errand);
                }
            }
        };
        // Without a thread the process is left to the guard.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(ending);
    }

    /// The last line on standard error that says something.
    pub(crate) fn said(&self) -> Option<String> {
        self.errors.lock().lines.back().cloned()
    }

    /// The last lines on standard error.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.errors.lock().lines.iter().cloned().collect()
    }

    /// Forgets what was printed on standard error while it started. It does not say why the slot ends later.
    pub(crate) fn forget_lines(&self) {
        self.errors.lock().lines.clear();
    }

    /// Whether a line on standard error has `text`; then that line.
    pub(crate) fn line_with(&self, text: &str) -> Option<String> {
        self.errors.lock().lines.iter().rfind(|line| line.contains(text)).cloned()
    }
}

pub(crate) fn other_version(protocol: u32) -> String {
    format!("it uses version {protocol} of the protocol, and this kernel version {VERSION}")
}

/// A process with its pipes.
struct Started {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    errors: ErrorLines,
}

fn spawn(spec: &SlotSpec, stderr: Stdio) -> Result<Started, PoolError> {
    let shown = spec.far.as_ref().map_or_else(|| spec.command.join(" "), |far| far.shown.clone());
    let no_slot = |seen: &str| PoolError::NoSlot { command: shown.clone(), seen: seen.into() };
    let (program, arguments) = spec.command.split_first().ok_or_else(|| no_slot("the command is empty"))?;
    let mut command = Command::new(program);
    spec.environment.give(&mut command);
    if let Some(folder) = &spec.folder {
        command.current_dir(folder);
    }
    if spec.far.is_none() {
        // The worker in the slot trains on the device that TUNEBOOK_DEVICE names. The processors are one device to it.
        let gpu = spec.device.strip_prefix("cuda:").and_then(|index| index.parse().ok());
        // A program that knows nothing of Tunebook takes the first GPU that it sees, so it sees only that of the slot.
        if let Some(index) = gpu {
            command.envs(only_gpu(index, &spec.environment));
        }
        command.env("TUNEBOOK_DEVICE", if gpu.is_some() { "cuda:0" } else { "cpu" });
    }
    let child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        // So that Ctrl-C at a terminal interrupts the kernel, but not the slot.
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|source| PoolError::Start { command: shown.clone(), source })?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(no_slot("it has no pipes"));
    };
    let errors = ErrorLines::default();
    errors.lock().ended = true;
    if let Some(stderr) = child.stderr.take() {
        let kept = errors.clone();
        errors.lock().ended = false;
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(move || keep_errors(stderr, &kept));
    }
    Ok(Started { child, stdin, stdout: BufReader::new(stdout), errors })
}

fn keep_errors(stderr: impl Read, kept: &ErrorLines) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Some(Ok(line)) = lines.next() {
        let line = script::without_script(String::from_utf8_lossy(&line).trim());
        let line: String = line.chars().take(500).collect();
        let mut kept = kept.lock();
        if kept.lines.len() == ERROR_LINES {
            kept.lines.pop_front();
        }
        if !line.is_empty() {
            kept.lines.push_back(line);
        }
    }
    kept.lock().ended = true;
}

/// The last two lines on standard error, once all of it was read, and before them the line by which Slurm says why it
/// ended a job. A process that outlives the command may hold standard error open.
fn last_words(errors: &ErrorLines) -> String {
    let deadline = Instant::now() + ERRORS_HELD_OPEN;
    while !errors.lock().ended && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let kept = errors.lock();
    let last = kept.lines.len().saturating_sub(2);
    let lines = kept.lines.iter().enumerate();
    let said: Vec<&str> =
        lines.filter(|(i, line)| *i >= last || line.contains(" DUE TO ")).map(|(_, line)| line.as_str()).collect();
    said.join("; ")
}

impl Started {
    /// Starts the thread that passes on what the process says, and waits for its end.
    /// With `copies`, that thread also copies files to it.
    fn watch(
        self,
        id: u64,
        sender: Sender<SlotMessage>,
        guard: GuardLine,
        copies: Option<Arc<Needs>>,
    ) -> Result<SlotProcess, PoolError> {
        let Self { mut child, stdin, mut stdout, errors } = self;
        let gone = Arc::new(AtomicBool::new(false));
        let group = Pid::from_raw(child.id() as i32);
        let (line, trial) = (Arc::new(Mutex::new(Line::Lent)), Arc::new(AtomicU32::new(0)));
        let mut copier = None;
        match copies.and_then(|needs| Some((needs.copied.clone()?, needs))) {
            Some((copied, needs)) => copier = Some(Copier::new(needs, copied, stdin, line.clone(), trial.clone())),
            None => *line.lock() = Line::Open(stdin),
        }
        let process =
            SlotProcess { id, group, errors: errors.clone(), pod: None, errand: None, line, trial, gone: gone.clone() };
        guard.tell(group, true);
        let watching = move || {
            // After the end of the pool, the process is only waited for.
            let tell = |said| drop(sender.send(SlotMessage { process: id, said }));
            let mut line = vec![];
            loop {
                line.clear();
                if !matches!(stdout.read_until(b'\n', &mut line), Ok(1..)) {
                    break;
                }
                let said = match serde_json::from_slice::<Event>(&line) {
                    Ok(event) => Some(Said::Event(event)),
                    Err(_) => serde_json::from_slice(&line).ok().map(Said::Node),
                };
                let said = match (&mut copier, said) {
                    (Some(copier), Some(said)) => copier.hear(said, &mut stdout, tell),
                    (_, said) => said,
                };
                said.into_iter().for_each(tell);
                if copier.as_ref().is_some_and(|copier| copier.trouble.is_some()) {
                    let _ = killpg(group, Signal::SIGTERM);
                    break;
                }
            }
            let trouble = copier.and_then(|copier| copier.trouble);
            let status = end_of(&mut child);
            gone.store(true, Ordering::Release);
            guard.tell(group, false);
            let mut how = status.map_or("ended".into(), |status| status.to_string());
            let said = last_words(&errors);
            if !said.is_empty() {
                how = format!("{said} ({how})");
            }
            tell(Said::Gone(trouble.unwrap_or(how)));
        };
        let watching = std::thread::Builder::new().stack_size(STACK).spawn(watching);
        watching.map_err(|source| PoolError::Start { command: "a thread for the slot".into(), source })?;
        Ok(process)
    }
}

/// Waits for the end of a process whose output has ended, and kills it if it goes on.
fn end_of(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + OUTPUT_ENDED;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    child.wait().ok()
}
