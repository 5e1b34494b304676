//! The process in a slot: `tunebook slot --worker PATH`.
//!
//! It links no libtorch. Built-in workloads go to a worker that it starts once and keeps warm; programs it runs itself.
//! When its standard input closes — the kernel died, or let go — it ends everything that it started and exits. Since it
//! is only standard input and output, any command that leads there can be a slot: `ssh`, `srun`, `docker run -i`.

mod log;
mod process;
mod program;
mod worker;

use crossbeam_channel::{Receiver, unbounded};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use tunebook_study::TrialState;
use tunebook_study::protocol::{Event, Request, TrialId, TrialRequest, VERSION};

/// How a trial in this slot ended.
pub(crate) struct Outcome {
    state: TrialState,
    reason: Option<String>,
}

impl Outcome {
    fn failed(reason: impl Into<String>) -> Self {
        Self { state: TrialState::Failed, reason: Some(reason.into()) }
    }

    fn cancelled() -> Self {
        Self { state: TrialState::Cancelled, reason: Some("interrupted".into()) }
    }
}

/// What the pool said, for a trial that is running.
pub(crate) struct Orders {
    requests: Receiver<Request>,
}

impl Orders {
    /// Becomes ready with the next request.
    fn channel(&self) -> &Receiver<Request> {
        &self.requests
    }
}

/// Whether a request ends this trial.
pub(crate) fn cancels(request: &Request, trial: &TrialId) -> bool {
    matches!(request, Request::Cancel { trial: cancelled } if cancelled == trial)
}

/// Prints one event. The pool being gone is noticed on standard input, so a failed write says nothing new.
pub(crate) fn send(event: &Event) {
    static STDOUT: Mutex<()> = Mutex::new(());
    let Ok(_one_at_a_time) = STDOUT.lock() else { return };
    if let Ok(mut line) = serde_json::to_vec(event) {
        line.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}

/// Runs the slot until its standard input closes.
pub fn main(worker: PathBuf) -> ExitCode {
    process::become_leader();
    send(&Event::Hello { protocol: VERSION, pid: std::process::id() });
    let (sender, requests) = unbounded();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str::<Request>(&line) {
                Ok(request) => drop(sender.send(request)),
                Err(error) => eprintln!("tunebook slot: not a request: {error}"),
            }
        }
        // Nobody is left to report to: end all that was started here, at once.
        process::end_everything();
    });
    let orders = Orders { requests };
    let mut worker = worker::Worker::new(worker);
    while let Ok(request) = orders.requests.recv() {
        // A cancel for a trial that is over already needs no answer.
        let Request::Run { trials } = request else { continue };
        for trial in trials {
            run(&trial, &mut worker, &orders);
        }
    }
    ExitCode::SUCCESS
}

fn run(request: &TrialRequest, worker: &mut worker::Worker, orders: &Orders) {
    let started = std::time::Instant::now();
    let outcome = match log::Log::create(&request.directory) {
        Err(error) => {
            let directory = request.directory.display();
            Outcome::failed(format!("the trial's folder {directory} cannot be made: {error}"))
        }
        Ok(log) => match &request.workload {
            tunebook_study::WorkloadReference::Builtin { .. } | tunebook_study::WorkloadReference::Rust { .. } => {
                worker.run(request, orders, log)
            }
            tunebook_study::WorkloadReference::Command { words } => program::run(words, request, orders, log),
        },
    };
    send(&Event::Ended {
        trial: request.trial.clone(),
        state: outcome.state,
        reason: outcome.reason,
        seconds: started.elapsed().as_secs_f64(),
    });
}
