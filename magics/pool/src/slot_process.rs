//! The process that a slot runs in, as the pool sees it: here, or the command that leads to another machine.

use crate::copying::script;
use crate::copying::sender::Copier;
use crate::guard::{Errand, GuardLine};
use crate::launch::{JOB_NAME, Pod, START};
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
/// So much of a line of standard error is kept, in bytes and then in characters.
const ERROR_BYTES: usize = 4 << 10;
const ERROR_CHARACTERS: usize = 500;
/// A message before the greeting is no longer than this. A longer line is read in parts.
const LONGEST_GREETING: usize = 1 << 20;
/// The same after it. A slot may ask for many files at once.
const LONGEST_MESSAGE: usize = 64 << 20;
/// A command that prints so much else before the greeting is no slot.
const MOST_ELSE: usize = 4 << 20;
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
    /// What was printed after them, without the end of a line: perhaps a question.
    begun: String,
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
    /// The name of its job, if Slurm grants it. No other job has it.
    pub(crate) job_name: Option<String>,
    /// When it was started.
    pub(crate) since: Instant,
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
        let (mut line, mut other) = (vec![], Other::default());
        while read_line(&mut started.stdout, &mut line, LONGEST_GREETING) {
            match serde_json::from_slice::<Event>(&line) {
                Ok(Event::Hello { protocol: VERSION, .. }) => {
                    return started.watch(id, sender, GuardLine::default(), None, true);
                }
                Ok(Event::Hello { protocol, .. }) => {
                    seen = other_version(protocol);
                    break;
                }
                // A banner.
                _ => {
                    seen = format!("its last line was `{}`", cut(&line));
                    if let Some(trouble) = other.add(&line) {
                        seen = trouble;
                        break;
                    }
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
        let scheduler = spec.far.as_ref().map(|far| far.scheduler);
        let pod = Pod::of(&spec.command).filter(|_| scheduler == Some(Scheduler::Kubernetes));
        let named = spec.command.iter().find_map(|word| word.strip_prefix(JOB_NAME));
        let job_name = named.filter(|_| scheduler == Some(Scheduler::Slurm)).map(String::from);
        let errand = pod.as_ref().map(|pod| {
            let (name, words) = (pod.name.clone(), pod.delete());
            (Errand { name, words, environment: spec.environment.0.clone() }, guard.clone())
        });
        if let Some((errand, guard)) = &errand {
            guard.at_end(errand);
        }
        let mut process = started.watch(id, sender, guard, copied.map(|_| needs.clone()), false)?;
        (process.pod, process.job_name, process.errand) = (pod, job_name, errand);
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

    /// The last line on standard error that says something, also if its end is missing.
    pub(crate) fn said(&self) -> Option<String> {
        let errors = self.errors.lock();
        let begun = Some(&errors.begun).filter(|begun| !begun.is_empty());
        begun.or(errors.lines.back()).map(|said| with_advice(said.clone()))
    }

    /// The last lines on standard error.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.errors.lock().lines.iter().cloned().collect()
    }

    /// Forgets what was printed on standard error while it started. It does not say why the slot ends later.
    pub(crate) fn forget_lines(&self) {
        let mut errors = self.errors.lock();
        errors.lines.clear();
        errors.begun.clear();
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

/// Reads a line, or the part of it that is at most `longest` long. Returns whether there is one.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, longest: usize) -> bool {
    line.clear();
    matches!(reader.take(longest as u64).read_until(b'\n', line), Ok(1..))
}

/// The beginning of a line, for people.
fn cut(line: &[u8]) -> String {
    // A character has at most four bytes.
    let line = String::from_utf8_lossy(&line[..line.len().min(800)]);
    line.trim_end().chars().take(200).collect()
}

/// What a command prints before the greeting and that is no message, such as a banner.
#[derive(Default)]
struct Other {
    bytes: usize,
    first: String,
}

impl Other {
    /// Counts a line. Returns the reason if the command is no slot.
    fn add(&mut self, line: &[u8]) -> Option<String> {
        if self.first.is_empty() {
            self.first = cut(line);
        }
        self.bytes += line.len();
        (self.bytes > MOST_ELSE)
            .then(|| format!("it prints something other than Tunebook's protocol: `{}`", self.first))
    }
}

fn keep_errors(stderr: impl Read, kept: &ErrorLines) {
    let (mut reader, mut line) = (BufReader::new(stderr), vec![]);
    loop {
        let read = match reader.fill_buf() {
            Ok([]) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let end = read.iter().position(|byte| *byte == b'\n');
        let part = &read[..end.unwrap_or(read.len())];
        line.extend_from_slice(&part[..part.len().min(ERROR_BYTES - line.len())]);
        let used = end.map_or(read.len(), |end| end + 1);
        reader.consume(used);
        let mut kept = kept.lock();
        match end {
            Some(_) => kept.keep(&std::mem::take(&mut line)),
            None => kept.begun = words(&line),
        }
    }
    let mut kept = kept.lock();
    kept.keep(&line);
    kept.ended = true;
}

impl Errors {
    /// Keeps a whole line.
    fn keep(&mut self, line: &[u8]) {
        self.begun.clear();
        let line = words(line);
        if line.is_empty() {
            return;
        }
        if self.lines.len() == ERROR_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// A line of standard error as it is shown.
fn words(line: &[u8]) -> String {
    let line = script::without_script(String::from_utf8_lossy(line).trim());
    line.chars().take(ERROR_CHARACTERS).collect()
}

/// What a command said last, with what helps if it asks for a password.
fn with_advice(said: String) -> String {
    let lower = said.to_lowercase();
    let asks = ["password:", "password for ", "passphrase for ", "passphrase:"].iter().any(|text| lower.contains(text));
    if !asks {
        return said;
    }
    format!("{said}; the command asks for a password, which nobody can type here: use a key or an agent")
}

/// How a command ended, which has said `said` on standard error. `answered` is whether it has greeted before.
fn ending(status: Option<ExitStatus>, said: String, answered: bool) -> String {
    let how = match status {
        Some(status) if !answered => match status.code() {
            Some(0) => "it ended (status 0) before Tunebook answered; does it run the words after it?".into(),
            _ if said.is_empty() => format!("it ended ({status}) before Tunebook answered"),
            _ => status.to_string(),
        },
        Some(status) => status.to_string(),
        None => "ended".into(),
    };
    if said.is_empty() { how } else { format!("{} ({how})", with_advice(said)) }
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
    /// With `copies`, that thread also copies files to it. A slot that `is_here` has greeted already.
    fn watch(
        self,
        id: u64,
        sender: Sender<SlotMessage>,
        guard: GuardLine,
        copies: Option<Arc<Needs>>,
        is_here: bool,
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
        let process = SlotProcess {
            id,
            group,
            errors: errors.clone(),
            pod: None,
            job_name: None,
            since: Instant::now(),
            errand: None,
            line,
            trial,
            gone: gone.clone(),
        };
        guard.tell(group, true);
        let watching = move || {
            // After the end of the pool, the process is only waited for.
            let tell = |said| drop(sender.send(SlotMessage { process: id, said }));
            let (mut line, mut other, mut trouble) = (vec![], Other::default(), None);
            let mut answered = is_here;
            while read_line(&mut stdout, &mut line, if answered { LONGEST_MESSAGE } else { LONGEST_GREETING }) {
                let said = match serde_json::from_slice::<Event>(&line) {
                    Ok(event) => Some(Said::Event(event)),
                    Err(_) => serde_json::from_slice(&line).ok().map(Said::Node),
                };
                answered |= matches!(&said, Some(Said::Event(_) | Said::Node(FromSlot::Ready { .. })));
                if said.is_none() && !answered {
                    trouble = other.add(&line);
                }
                let said = match (&mut copier, said) {
                    (Some(copier), Some(said)) => copier.hear(said, &mut stdout, tell),
                    (_, said) => said,
                };
                said.into_iter().for_each(tell);
                if trouble.is_some() || copier.as_ref().is_some_and(|copier| copier.trouble.is_some()) {
                    let _ = killpg(group, Signal::SIGTERM);
                    break;
                }
            }
            let trouble = trouble.or(copier.and_then(|copier| copier.trouble));
            let status = end_of(&mut child);
            gone.store(true, Ordering::Release);
            guard.tell(group, false);
            let how = ending(status, last_words(&errors), answered);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_line_without_an_end_is_read_in_parts() {
        let mut reader = BufReader::new(std::io::repeat(b'x'));
        let (mut line, mut other) = (vec![], Other::default());
        let trouble = loop {
            assert!(read_line(&mut reader, &mut line, LONGEST_GREETING) && line.len() == LONGEST_GREETING);
            if let Some(trouble) = other.add(&line) {
                break trouble;
            }
        };
        assert!(trouble.starts_with("it prints something other than Tunebook's protocol: `xxx"), "{trouble}");
        assert!(trouble.len() < 300 && other.bytes <= MOST_ELSE + LONGEST_GREETING);
    }

    #[test]
    fn errors_are_kept_in_a_bounded_space_and_a_question_is_seen_at_once() {
        let kept = ErrorLines::default();
        let long = vec![b'e'; 10 << 20];
        keep_errors(&[&b"first\n"[..], &long[..], &b"\nlast"[..]].concat()[..], &kept);
        let lengths: Vec<usize> = kept.lock().lines.iter().map(String::len).collect();
        assert_eq!(lengths, [5, ERROR_CHARACTERS, 4]);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let kept = ErrorLines::default();
        let of_thread = kept.clone();
        let reading = std::thread::spawn(move || keep_errors(reader, &of_thread));
        writer.write_all(b"x's password: ").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while kept.lock().begun != "x's password:" {
            assert!(Instant::now() < deadline, "the question is not seen");
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(writer);
        reading.join().unwrap();
        let kept = kept.lock();
        assert_eq!((kept.begun.as_str(), kept.lines.len()), ("", 1));
    }

    #[test]
    fn how_a_command_ended_helps() {
        let status = |code: i32| Some(ExitStatus::from_raw(code << 8));
        for (code, said, answered, expected) in [
            (0, "", false, "it ended (status 0) before Tunebook answered; does it run the words after it?"),
            (3, "", false, "it ended (exit status: 3) before Tunebook answered"),
            (3, "no route", false, "no route (exit status: 3)"),
            (0, "", true, "exit status: 0"),
        ] {
            assert_eq!(ending(status(code), said.into(), answered), expected);
        }
        let asks = ending(status(1), "me@host's Password:".into(), false);
        assert!(asks.contains("asks for a password") && asks.contains("a key or an agent"), "{asks}");
        let denied = ending(status(255), "Permission denied (publickey,password).".into(), false);
        assert_eq!(denied, "Permission denied (publickey,password). (exit status: 255)");
    }
}
