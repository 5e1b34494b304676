//! The process in a slot: `tunebook slot --worker PATH`.
//!
//! A slot links no libtorch. It gives workloads to a worker, which it keeps running from one trial to the next, and
//! runs programs itself. When its standard input closes, because the kernel died or ended the slot, it ends everything
//! that it started and exits. It does the same after SIGTERM, by which a scheduler announces the end of its job
//! (`signals`). It needs nothing but standard input and output, so any command that starts it somewhere can be a slot:
//! `ssh`, `srun`, `docker run -i`. On another machine it first looks for what it needs (see `node.rs`), or receives it
//! (`copying`).

mod log;
mod orphans;
mod process;
mod program;
pub(crate) mod signals;
mod worker;

use crate::Environment;
use crate::copying::cleaning::NOTED;
use crate::copying::mirror::{self, Mirror};
use crate::copying::results;
use crate::node::{FromSlot, Needs, ToSlot, name_of_this_machine};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};
use parking_lot::Mutex;
use serde::Serialize;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tunebook_study::TrialState;
use tunebook_study::protocol::{Event, Request, TrialId, TrialRequest, VERSION};

/// A slot on another machine says this often that it is still there.
const ALIVE: Duration = Duration::from_secs(10);

/// A slot ends if it hears nothing for so long after it has started. The first message comes at once; without one, it
/// runs in a pod that was left behind, and holds a machine for nobody.
const FIRST_MESSAGE: Duration = Duration::from_secs(600);

/// How the reason of a trial begins that ran out of time.
const OUT_OF_TIME: &str = "it ran longer than its limit";

/// Whether this is the reason of a trial that failed because it ran out of time.
pub fn is_timeout(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| reason.starts_with(OUT_OF_TIME))
}

/// Where the trials of this slot run.
#[derive(Clone, Default)]
struct Place {
    /// The changes to the environment of workers and programs.
    environment: Environment,
    /// Where the files are that were copied to this machine. None if none were.
    mirror: Option<Arc<Mirror>>,
}

/// How a trial in this slot ended.
pub(crate) struct Outcome {
    state: TrialState,
    reason: Option<String>,
    /// Whether a program ended well and did not report the objective.
    unreported: bool,
    /// Whether its process ended by itself, perhaps at a signal that is meant for the slot too.
    by_itself: bool,
    /// When the trial ended.
    ended: Instant,
}

impl Outcome {
    fn new(state: TrialState, reason: Option<String>) -> Self {
        Self { state, reason, unreported: false, by_itself: false, ended: Instant::now() }
    }

    fn failed(reason: impl Into<String>) -> Self {
        Self::new(TrialState::Failed, Some(reason.into()))
    }

    fn timed_out(request: &TrialRequest) -> Self {
        Self::failed(format!("{OUT_OF_TIME} of {} s", request.timeout.unwrap_or(0.0)))
    }

    fn cancelled() -> Self {
        Self::new(TrialState::Cancelled, Some("interrupted".into()))
    }
}

/// Whether a request asks for the end of this trial.
pub(crate) fn cancels(request: &Request, trial: &TrialId) -> bool {
    matches!(request, Request::Cancel { trial: cancelled } if cancelled == trial)
}

/// Prints one event as a line. A failed write is ignored: that the pool is gone is noticed on standard input.
pub(crate) fn send(event: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(event) {
        line.push(b'\n');
        // Locked, so that events of several threads do not mix.
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}

/// Runs the slot until its standard input closes.
pub fn main(worker: PathBuf) -> ExitCode {
    process::become_leader();
    orphans::adopt();
    let signals = signals::Signals::watch();
    send(&Event::Hello { protocol: VERSION, pid: std::process::id() });
    let (sender, requests) = unbounded();
    let place = Arc::new(Mutex::new(Place::default()));
    let of_reader = place.clone();
    let (heard, first) = bounded(1);
    std::thread::spawn(move || {
        if is_forgotten(&first, FIRST_MESSAGE) {
            process::end_everything();
        }
    });
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = vec![];
        let _ = input.fill_buf();
        drop(heard);
        while matches!(input.read_until(b'\n', &mut line), Ok(1..)) {
            match serde_json::from_slice::<Request>(&line) {
                Ok(request) => drop(sender.send(request)),
                Err(error) => match serde_json::from_slice(&line) {
                    Ok(ToSlot::Begin(needs)) => begin(*needs, &of_reader, &mut input),
                    _ => eprintln!("tunebook slot: not a request: {error}"),
                },
            }
            line.clear();
        }
        // Nobody is left to report to.
        process::end_everything();
    });
    let builtin = worker.clone();
    let mut worker = worker::Worker::new(worker);
    while let Ok(request) = requests.recv() {
        // A request to cancel a trial that has ended already needs no answer.
        let Request::Run { trials } = request else { continue };
        let place = place.lock().clone();
        for trial in trials {
            match &place.mirror {
                None => run(&trial, &mut worker, &requests, &place, &signals),
                Some(mirror) => {
                    run(&mirror.request(&trial, &builtin), &mut worker, &requests, &place, &signals);
                }
            }
        }
    }
    ExitCode::SUCCESS
}

/// Whether nothing was heard in time.
fn is_forgotten(first: &Receiver<()>, patience: Duration) -> bool {
    matches!(first.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
}

/// Answers whether this machine has what trials need. What is to be copied comes from `input`. From the beginning, it
/// says that the slot is there.
fn begin(needs: Needs, place: &Arc<Mutex<Place>>, input: &mut impl BufRead) {
    let of_thread = place.clone();
    std::thread::spawn(move || {
        let mut noted = Instant::now();
        loop {
            std::thread::sleep(ALIVE);
            send(&FromSlot::Alive);
            if noted.elapsed() >= NOTED
                && let Some(mirror) = of_thread.lock().mirror.clone()
            {
                mirror.touch();
                noted = Instant::now();
            }
        }
    });
    let node = name_of_this_machine();
    let job = std::env::var("SLURM_JOB_ID").ok();
    let ready = |problem| send(&FromSlot::Ready { protocol: VERSION, node: node.clone(), job, problem });
    match &needs.copied {
        None => {
            let problem = needs.settle(&node);
            place.lock().environment = Environment(needs.environment);
            ready(problem);
        }
        Some(copied) => {
            // The script has put the executable into the folder for everything that is copied.
            let executable = std::env::current_exe().unwrap_or_default();
            let base = executable.parent().unwrap_or(&executable);
            let received = mirror::receive(&needs, copied, base, input, send);
            match received.and_then(|mirror| mirror.enter().map(|()| mirror)) {
                Ok(mirror) => {
                    let environment = Environment(mirror.environment(&needs.environment));
                    *place.lock() = Place { environment, mirror: Some(Arc::new(mirror)) };
                    ready(None);
                }
                Err(problem) => {
                    ready(Some(problem));
                    // What still comes in is no message.
                    process::end_everything();
                }
            }
        }
    }
}

/// Runs a trial and reports how it ended.
fn run(
    request: &TrialRequest,
    worker: &mut worker::Worker,
    requests: &Receiver<Request>,
    place: &Place,
    signals: &signals::Signals,
) {
    signals.begin();
    let started = Instant::now();
    let outcome = match log::Log::create(&request.directory) {
        Err(error) => {
            let directory = request.directory.display();
            Outcome::failed(format!("the trial's folder {directory} cannot be created: {error}"))
        }
        Ok(log) => match &request.workload {
            tunebook_study::WorkloadReference::Builtin { .. } | tunebook_study::WorkloadReference::Rust { .. } => {
                worker.run(request, requests, log, place)
            }
            tunebook_study::WorkloadReference::Command(line) => program::run(line, request, requests, log, place),
            tunebook_study::WorkloadReference::Imported { .. } => {
                Outcome::failed("the study was imported and has no workload here")
            }
        },
    };
    signals.end_if_they_ended(&outcome);
    let Outcome { state, mut reason, unreported, ended, .. } = outcome;
    let seconds = ended.saturating_duration_since(started).as_secs_f64();
    if place.mirror.is_some() {
        results::send_back(&request.trial, &request.directory, state == TrialState::Cancelled);
        reason = reason.map(with_advice);
    }
    send(&Event::Ended { trial: request.trial.clone(), state, reason, seconds, unreported });
}

/// The reason of a trial that ran where files are copied. If it did not find a file, this says how more is copied.
fn with_advice(reason: String) -> String {
    let missing =
        ["No such file", "no such file", "not found", "No module named", "cannot import name", "there is no /"];
    if !missing.iter().any(|text| reason.contains(text)) {
        return reason;
    }
    format!("{reason}; if a file was not copied to the node, name it with `--with` of `%pool add`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_hears_nothing_is_forgotten() {
        let (heard, first) = bounded(1);
        assert!(is_forgotten(&first, Duration::from_millis(10)));
        drop(heard);
        assert!(!is_forgotten(&first, Duration::from_secs(60)));
    }

    #[test]
    fn a_trial_that_lacks_a_file_is_told_how_more_is_copied() {
        for reason in ["ImportError: cannot import name 'x' from 'y'", "No module named 'x'"] {
            assert!(with_advice(reason.into()).contains("`--with` of `%pool add`"), "{reason}");
        }
        assert_eq!(with_advice("it ran out of memory".into()), "it ran out of memory");
    }
}
