//! The warm worker of a slot.

use super::log::Log;
use super::process::{Group, describe, out_of_memory_kills};
use super::{Orders, Outcome, cancels, send};
use crossbeam_channel::{Receiver, after, never, select, unbounded};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tunebook_study::TrialState;
use tunebook_study::protocol::{Event, Request, TrialRequest};

/// Loading libtorch from a cold disk takes a while; a worker that has not said hello by then will not.
const HELLO_WITHIN: Duration = Duration::from_secs(120);

/// The worker of a slot, running or not. A trial that names a worker of its own gets that one in its place.
pub(super) struct Worker {
    /// The one that has the built-in workloads.
    builtin: PathBuf,
    running: Option<Running>,
}

struct Running {
    path: PathBuf,
    group: Group,
    stdin: ChildStdin,
    events: Receiver<Event>,
    /// Where its standard error goes: the log of the trial that runs now.
    log: Arc<Mutex<Option<Log>>>,
}

impl Worker {
    pub(super) fn new(builtin: PathBuf) -> Self {
        Self { builtin, running: None }
    }

    /// Runs a trial, on a fresh worker if the last one died or was another.
    pub(super) fn run(&mut self, request: &TrialRequest, orders: &Orders, log: Log) -> Outcome {
        let oom_before = out_of_memory_kills();
        let path = request.worker.as_ref().unwrap_or(&self.builtin);
        let warm = self.running.take().filter(|running| running.path == *path);
        let mut running = match warm.map_or_else(|| start(path, &log), Ok) {
            Ok(running) => running,
            Err(reason) => return Outcome::failed(reason),
        };
        if let Ok(mut current) = running.log.lock() {
            *current = Some(log.clone());
        }
        if running.request(&Request::Run { trials: vec![request.clone()] }).is_err() {
            return running.died(&log, oom_before);
        }
        let timeout = request.timeout.map_or_else(never, |seconds| after(Duration::from_secs_f64(seconds)));
        let outcome = loop {
            select! {
                recv(running.events) -> event => match event {
                    Ok(Event::Ended { trial, state, reason, .. }) if trial == request.trial => {
                        break Outcome { state, reason };
                    }
                    Ok(Event::Hello { .. }) => {}
                    Ok(event) => send(&event),
                    Err(_) => return running.died(&log, oom_before),
                },
                recv(orders.channel()) -> order => if order.is_ok_and(|order| cancels(&order, &request.trial)) {
                    // Between two steps the worker could answer, but a step may be long and an interrupt may not.
                    return Outcome::cancelled();
                },
                recv(timeout) -> _ => {
                    return Outcome::failed(format!("it ran longer than its limit of {} s", request.timeout.unwrap_or(0.0)));
                }
            }
        };
        if let Ok(mut current) = running.log.lock() {
            *current = None;
        }
        self.running = Some(running);
        outcome
    }
}

/// Starts a worker and waits for its hello.
fn start(path: &PathBuf, log: &Log) -> Result<Running, String> {
    let mut command = Command::new(path);
    command
        .env("GOMP_SPINCOUNT", "0")
        .env("OMP_NUM_THREADS", "1")
        .env("MKL_NUM_THREADS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|error| {
        format!("the worker {} cannot be started: {error}; `cargo demo` builds and installs it", path.display())
    })?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut group = Group::new(child);
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { return Err("the worker has no pipes".into()) };
    let current = Arc::new(Mutex::new(Some(log.clone())));
    let shared = current.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            if let Ok(log) = shared.lock()
                && let Some(log) = log.as_ref()
            {
                log.line(&String::from_utf8_lossy(&line));
            }
        }
    });
    let (sender, events) = unbounded();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            // What comes before the hello is a banner of whatever wraps the worker.
            if let Ok(event) = serde_json::from_str::<Event>(&line)
                && sender.send(event).is_err()
            {
                break;
            }
        }
    });
    match events.recv_timeout(HELLO_WITHIN) {
        Ok(Event::Hello { protocol: tunebook_study::protocol::VERSION, .. }) => {
            Ok(Running { path: path.clone(), group, stdin, events, log: current })
        }
        Ok(other) => {
            Err(format!("the worker speaks another language ({other:?}); build it from this kernel's sources"))
        }
        Err(_) => {
            let ended = group.child().try_wait().ok().flatten().map_or("does not answer".into(), describe);
            let said = log.last_line().map_or(String::new(), |line| format!(": {line}"));
            Err(format!("the worker {} {ended}{said}", path.display()))
        }
    }
}

impl Running {
    fn request(&mut self, request: &Request) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stdin.write_all(&line)?;
        self.stdin.flush()
    }

    /// What became of a worker whose output ended in the middle of a trial.
    fn died(mut self, log: &Log, oom_before: u64) -> Outcome {
        let Ok(status) = self.group.child().wait() else { return Outcome::failed("the worker vanished") };
        if status.signal() == Some(9) && out_of_memory_kills() > oom_before {
            let reason = Some("out of memory: the system killed the worker".into());
            return Outcome { state: TrialState::Infeasible, reason };
        }
        let said = log.last_line().map_or(String::new(), |line| format!("; the last line of its log: {line}"));
        Outcome::failed(format!("the worker {}{said}", describe(status)))
    }
}
