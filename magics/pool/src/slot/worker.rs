//! The worker of a slot. It keeps running from one trial to the next, because to start one means to load libtorch.

use super::log::Log;
use super::process::{Group, describe, out_of_memory_kills};
use super::{Outcome, Place, cancels, send};
use crate::Environment;
use crossbeam_channel::{Receiver, after, never, select, unbounded};
use parking_lot::Mutex;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tunebook_study::TrialState;
use tunebook_study::protocol::{Event, Request, TrialRequest};

/// How long a new worker has until it greets. It loads libtorch first, which takes long from a slow disk.
const HELLO_TIMEOUT: Duration = Duration::from_secs(120);

/// The worker of a slot, whether it runs or not. A trial may name another worker than the built-in one (for a
/// `%%workload`); then that one runs in its place.
pub(super) struct Worker {
    /// The program of the worker that has the built-in workloads.
    builtin: PathBuf,
    running: Option<Running>,
}

struct Running {
    /// The program of this worker.
    path: PathBuf,
    group: Group,
    stdin: ChildStdin,
    events: Receiver<Event>,
    /// The log of the trial that runs now, which gets the standard error of the worker.
    log: Arc<Mutex<Option<Log>>>,
}

impl Worker {
    pub(super) fn new(builtin: PathBuf) -> Self {
        Self { builtin, running: None }
    }

    /// Runs a trial, in a new worker if none is running or if it is the wrong one.
    pub(super) fn run(
        &mut self,
        request: &TrialRequest,
        requests: &Receiver<Request>,
        log: Log,
        place: &Place,
    ) -> Outcome {
        let oom_before = out_of_memory_kills();
        let path = request.worker.as_ref().unwrap_or(&self.builtin);
        let ready = self.running.take().filter(|running| running.path == *path);
        let mut running = match ready.map_or_else(|| start(path, &log, &place.environment), Ok) {
            Ok(running) => running,
            Err(reason) => return Outcome { by_itself: true, ..Outcome::failed(reason) },
        };
        *running.log.lock() = Some(log.clone());
        if running.request(&Request::Run { trials: vec![request.clone()] }).is_err() {
            return Outcome { by_itself: true, ..running.died(&log, oom_before) };
        }
        let timeout = request.timeout.map_or_else(never, |seconds| after(Duration::from_secs_f64(seconds)));
        let outcome = loop {
            select! {
                recv(running.events) -> event => match event {
                    Ok(Event::Ended { trial, state, reason, .. }) if trial == request.trial => {
                        break Outcome::new(state, reason);
                    }
                    Ok(Event::Hello { .. }) => {}
                    Ok(event) => send(&place.mirror.as_ref().map_or(event.clone(), |mirror| mirror.event(event))),
                    Err(_) => return Outcome { by_itself: true, ..running.died(&log, oom_before) },
                },
                recv(requests) -> other => if other.is_ok_and(|other| cancels(&other, &request.trial)) {
                    // The worker is dropped, which kills it: it could answer only after its step, which may take long.
                    return Outcome::cancelled();
                },
                recv(timeout) -> _ => return Outcome::timed_out(request),
            }
        };
        *running.log.lock() = None;
        self.running = Some(running);
        outcome
    }
}

/// Starts a worker and waits for its greeting.
fn start(path: &PathBuf, log: &Log, environment: &Environment) -> Result<Running, String> {
    let mut command = Command::new(path);
    environment.give(&mut command);
    // One thread: each processor has a slot of its own. And a thread that waits must not keep a processor busy.
    command
        .env("GOMP_SPINCOUNT", "0")
        .env("OMP_NUM_THREADS", "1")
        .env("MKL_NUM_THREADS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut group = Group::spawn(&mut command).map_err(|error| {
        format!("the worker {} cannot be started: {error}; `cargo demo` builds and installs it", path.display())
    })?;
    let child = group.child();
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { return Err("the worker has no pipes".into()) };
    let current = Arc::new(Mutex::new(Some(log.clone())));
    let shared = current.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            if let Some(log) = shared.lock().as_ref() {
                log.line(&String::from_utf8_lossy(&line));
            }
        }
    });
    let (sender, events) = unbounded();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            // A line that is no event is a banner of the command that starts the worker, or printed by a library.
            if let Ok(event) = serde_json::from_str::<Event>(&line)
                && sender.send(event).is_err()
            {
                break;
            }
        }
    });
    match events.recv_timeout(HELLO_TIMEOUT) {
        Ok(Event::Hello { protocol: tunebook_study::protocol::VERSION, .. }) => {
            Ok(Running { path: path.clone(), group, stdin, events, log: current })
        }
        Ok(other) => Err(format!(
            "the worker does not use the protocol of this kernel ({other:?}); build both from the same sources"
        )),
        Err(_) => {
            let ended = group.child().try_wait().ok().flatten().map_or("does not answer".into(), describe);
            let said = log.last_line().map_or(String::new(), |line| format!(": {line}"));
            Err(format!("the worker {} {ended}{said}", path.display()))
        }
    }
}

impl Running {
    /// Sends a request to the worker.
    fn request(&mut self, request: &Request) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stdin.write_all(&line)?;
        self.stdin.flush()
    }

    /// The outcome of a trial whose worker has ended: whether it ran out of memory or crashed.
    fn died(mut self, log: &Log, oom_before: u64) -> Outcome {
        let Ok(status) = self.group.child().wait() else {
            return Outcome::failed("the worker ended, and it is not known how");
        };
        if status.signal() == Some(9) && out_of_memory_kills() > oom_before {
            let reason = Some("out of memory: the system killed the worker".into());
            return Outcome::new(TrialState::Infeasible, reason);
        }
        if let Some(line) = log.out_of_memory() {
            return Outcome::new(TrialState::Infeasible, Some(format!("out of memory: {line}")));
        }
        let said = log.last_line().map_or(String::new(), |line| format!("; the last line of its log: {line}"));
        Outcome::failed(format!("the worker {}{said}", describe(status)))
    }
}
