//! Trains the trials that standard input asks for, and reports them on standard output. The messages, one JSON object
//! per line, are defined in [`tunebook_study::protocol`].

use super::loaded_data::LoadedData;
use crate::catalogue::{Catalogue, Trainable};
use crate::data::{recorded, start_recording};
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::device;
use crate::panics;
use crate::trainer::{Observer, Stop, train};
use crate::trial::Trial;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use tunebook_study::protocol::{DataSource, Event, Request, TrialId, TrialRequest, VERSION};
use tunebook_study::{Measurement, Params, TrialState, WorkloadReference};

/// Trains trials until standard input closes.
pub(super) fn serve(catalogue: Catalogue) -> ExitCode {
    let Ok(mut protocol) = redirect_stdout() else {
        eprintln!("tunebook-worker: standard output is closed");
        return ExitCode::FAILURE;
    };
    let cancelled = Cancelled::default();
    let requests = read_requests(cancelled.clone());
    send(&mut protocol, &Event::Hello { protocol: VERSION, pid: std::process::id() });
    let mut worker = Worker { catalogue, protocol, cancelled, data: None };
    for trial in requests {
        worker.run(&trial);
    }
    ExitCode::SUCCESS
}

/// Duplicates standard output for the messages of the protocol, and then redirects standard output to standard error.
/// What libtorch or a model prints can thus not be taken for a message.
fn redirect_stdout() -> nix::Result<File> {
    let protocol = nix::unistd::dup(std::io::stdout().as_fd())?;
    nix::unistd::dup2_stdout(std::io::stderr().as_fd())?;
    Ok(File::from(protocol))
}

/// Starts a thread that reads the requests, and returns the trials in the order in which they are asked for. When
/// standard input closes, the thread ends the process at once, also during a trial: nobody would receive its reports.
fn read_requests(cancelled: Cancelled) -> mpsc::Receiver<TrialRequest> {
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(Request::Run { trials }) => trials.into_iter().for_each(|trial| drop(sender.send(trial))),
                Ok(Request::Cancel { trial }) => cancelled.set(trial),
                Err(error) => eprintln!("tunebook-worker: this is not a request: {error}"),
            }
        }
        std::process::exit(0);
    });
    requests
}

fn send(protocol: &mut File, event: &Event) {
    if let Ok(mut line) = serde_json::to_vec(event) {
        line.push(b'\n');
        // If nobody reads any more, standard input is closed as well, and that ends the process.
        let _ = protocol.write_all(&line);
    }
}

/// The trial that was cancelled last. The thread that reads requests shares it with the one that trains. No panic can
/// leave it half changed, so a poisoned lock is used like any other.
#[derive(Clone, Default)]
struct Cancelled(Arc<Mutex<Option<TrialId>>>);

impl Cancelled {
    fn set(&self, trial: TrialId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trial);
    }

    fn is(&self, trial: &TrialId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(trial)
    }
}

/// The worker, which trains one trial after the other.
struct Worker {
    catalogue: Catalogue,
    protocol: File,
    cancelled: Cancelled,
    /// The data of the last trial.
    data: Option<LoadedData>,
}

impl Worker {
    /// Runs a trial and reports how it ended.
    fn run(&mut self, request: &TrialRequest) {
        send(&mut self.protocol, &Event::Started { trial: request.trial.clone() });
        let started = std::time::Instant::now();
        start_recording();
        let (state, reason) = match panics::catch(|| self.train(request)) {
            Ok(Ok(())) => (TrialState::Complete, None),
            Ok(Err(stop)) => stop.outcome(),
            Err(message) => Stop::from_message(&message).outcome(),
        };
        // What the code read besides its data: the files of a training function, and weights that a model starts from.
        let known = self.data.as_ref().map_or(&[][..], |loaded| &loaded.sources);
        let data: Vec<DataSource> = recorded().into_iter().filter(|source| !known.contains(source)).collect();
        if !data.is_empty() {
            send(&mut self.protocol, &Event::Loaded { trial: request.trial.clone(), data, validation: None });
        }
        let (trial, seconds) = (request.trial.clone(), started.elapsed().as_secs_f64());
        send(&mut self.protocol, &Event::Ended { trial, state, reason, seconds, unreported: false });
    }

    fn train(&mut self, request: &TrialRequest) -> Result<(), Stop> {
        let name = match &request.workload {
            WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => name,
            WorkloadReference::Command { .. } => {
                return Err(Stop::Failed("a worker trains workloads; programs run in the slot".into()));
            }
            WorkloadReference::Imported { .. } => {
                return Err(Stop::Failed("the study was imported and has no workload here".into()));
            }
        };
        let (Some(trainable), Some(description)) = (self.catalogue.find(name), self.catalogue.describe(name)) else {
            return Err(Stop::Failed(format!("this worker has no workload `{name}`")));
        };
        let hp = Hyperparameters::new(&description, &request.params)?;
        let device = device().map_err(Stop::Failed)?;
        let (protocol, trial, cancelled) = (&mut self.protocol, &request.trial, &self.cancelled);
        let mut reporter = Reporter { protocol, trial, cancelled };
        match trainable {
            Trainable::Function(function) => {
                // Random numbers that the code draws from libtorch itself follow from the trial's seed too.
                tch::manual_seed(request.seed as i64);
                let mut trial = Trial::new(hp, request, device, &mut reporter);
                let result = (function.train)(&mut trial);
                let read = trial.hyperparameters().read_values();
                let outcome = trial.outcome(result);
                reporter.used(&request.params, &read, outcome.is_ok());
                outcome
            }
            Trainable::Workload(workload) => {
                let mut metrics = description.metrics.clone();
                metrics.extend(description.training_metrics().into_iter().filter(|_| request.training_metrics));
                if !metrics.contains(&request.objective) {
                    return Err(Stop::Failed(format!("`{name}` reports no metric `{}`", request.objective)));
                }
                // If the trial panics, the data are dropped: the code of the workload may have changed them.
                let loaded = match self.data.take().filter(|loaded| loaded.serves(name, &hp, &trial.study)) {
                    Some(loaded) => loaded,
                    None => LoadedData::load(name, workload.as_ref(), &hp, device, &trial.study)?,
                };
                reporter.loaded(&loaded.sources, &loaded.validation);
                tch::manual_seed(request.seed as i64);
                let result =
                    train(workload.as_ref(), &loaded.data, hp.clone(), request, device, &loaded.sources, &mut reporter);
                let mut read = hp.read_values();
                read.extend(loaded.depends_on().clone());
                reporter.used(&request.params, &read, result.is_ok());
                self.data = Some(loaded);
                result
            }
        }
    }
}

/// Sends the reports of one trial.
struct Reporter<'a> {
    protocol: &'a mut File,
    trial: &'a TrialId,
    cancelled: &'a Cancelled,
}

impl Reporter<'_> {
    /// Reports which of the values that the study declares the trial has read. A trial that is not complete may have
    /// read the others later.
    fn used(&mut self, declared: &Params, read: &Params, is_complete: bool) {
        // The seed reaches the trial in another way.
        let names = declared.keys().filter(|name| *name != "seed").cloned();
        let (used, mut unused): (Vec<String>, Vec<String>) = names.partition(|name| read.contains_key(name));
        if !is_complete {
            unused.clear();
        }
        send(self.protocol, &Event::Used { trial: self.trial.clone(), used, unused });
    }
}

impl Observer for Reporter<'_> {
    fn loaded(&mut self, sources: &[DataSource], validation: &str) {
        let (data, validation) = (sources.to_vec(), Some(validation.to_string()));
        send(self.protocol, &Event::Loaded { trial: self.trial.clone(), data, validation });
    }

    fn measured(&mut self, measurement: Measurement) {
        send(self.protocol, &Event::Measured { trial: self.trial.clone(), measurement });
    }

    fn cancelled(&self) -> bool {
        self.cancelled.is(self.trial)
    }
}
