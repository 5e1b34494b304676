//! The process in a slot: `tunebook slot --worker PATH`.
//!
//! A slot links no libtorch. It gives workloads to a worker, which it keeps running from one trial to the next, and
//! runs programs itself. When its standard input closes, because the kernel died or ended the slot, it ends everything
//! that it started and exits; so it does after SIGTERM, by which a scheduler announces the end of its job. It needs
//! nothing but standard input and output, so any command that starts it somewhere can be a slot: `ssh`, `srun`,
//! `docker run -i`. On another machine it first looks for what it needs (see `node.rs`).

mod log;
mod process;
mod program;
mod worker;

use crate::Environment;
use crate::node::{FromSlot, Needs, ToSlot, name_of_this_machine};
use crossbeam_channel::{Receiver, unbounded};
use parking_lot::Mutex;
use serde::Serialize;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tunebook_study::TrialState;
use tunebook_study::protocol::{Event, Request, TrialId, TrialRequest, VERSION};

/// A slot on another machine says this often that it is still there.
const ALIVE: Duration = Duration::from_secs(10);

/// How the reason of a trial begins that ran out of time.
const OUT_OF_TIME: &str = "it ran longer than its limit";

/// Whether this is the reason of a trial that failed because it ran out of time.
pub fn is_timeout(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| reason.starts_with(OUT_OF_TIME))
}

/// How a trial in this slot ended.
pub(crate) struct Outcome {
    state: TrialState,
    reason: Option<String>,
}

impl Outcome {
    fn failed(reason: impl Into<String>) -> Self {
        Self { state: TrialState::Failed, reason: Some(reason.into()) }
    }

    fn timed_out(request: &TrialRequest) -> Self {
        Self::failed(format!("{OUT_OF_TIME} of {} s", request.timeout.unwrap_or(0.0)))
    }

    fn cancelled() -> Self {
        Self { state: TrialState::Cancelled, reason: Some("interrupted".into()) }
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
    end_after_sigterm();
    send(&Event::Hello { protocol: VERSION, pid: std::process::id() });
    let (sender, requests) = unbounded();
    let environment = Arc::new(Mutex::new(Environment::default()));
    let of_reader = environment.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str::<Request>(&line) {
                Ok(request) => drop(sender.send(request)),
                Err(error) => match serde_json::from_str(&line) {
                    Ok(ToSlot::Begin(needs)) => begin(needs, &of_reader),
                    Err(_) => eprintln!("tunebook slot: not a request: {error}"),
                },
            }
        }
        // Nobody is left to report to.
        process::end_everything();
    });
    let mut worker = worker::Worker::new(worker);
    while let Ok(request) = requests.recv() {
        // A request to cancel a trial that has ended already needs no answer.
        let Request::Run { trials } = request else { continue };
        let environment = environment.lock().clone();
        for trial in trials {
            run(&trial, &mut worker, &requests, &environment);
        }
    }
    ExitCode::SUCCESS
}

/// Answers whether this machine has what trials need, and from then on says that the slot is there.
fn begin(needs: Needs, environment: &Mutex<Environment>) {
    let node = name_of_this_machine();
    let problem = needs.settle(&node);
    *environment.lock() = Environment(needs.environment);
    let job = std::env::var("SLURM_JOB_ID").ok();
    send(&FromSlot::Ready { protocol: VERSION, node, job, problem });
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(ALIVE);
            send(&FromSlot::Alive);
        }
    });
}

/// Ends everything after SIGTERM. If that cannot be arranged, SIGTERM ends the slot alone, and its worker with its
/// standard input.
fn end_after_sigterm() {
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM]) {
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                process::end_everything();
            }
        });
    }
}

/// Runs a trial and reports how it ended.
fn run(request: &TrialRequest, worker: &mut worker::Worker, requests: &Receiver<Request>, environment: &Environment) {
    let started = std::time::Instant::now();
    let outcome = match log::Log::create(&request.directory) {
        Err(error) => {
            let directory = request.directory.display();
            Outcome::failed(format!("the trial's folder {directory} cannot be created: {error}"))
        }
        Ok(log) => match &request.workload {
            tunebook_study::WorkloadReference::Builtin { .. } | tunebook_study::WorkloadReference::Rust { .. } => {
                worker.run(request, requests, log, environment)
            }
            tunebook_study::WorkloadReference::Command(line) => program::run(line, request, requests, log, environment),
            tunebook_study::WorkloadReference::Imported { .. } => {
                Outcome::failed("the study was imported and has no workload here")
            }
        },
    };
    send(&Event::Ended {
        trial: request.trial.clone(),
        state: outcome.state,
        reason: outcome.reason,
        seconds: started.elapsed().as_secs_f64(),
    });
}
