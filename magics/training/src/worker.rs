//! The worker: requests come in as JSON lines, what the trials report goes out as JSON lines. With a word it answers a
//! question and exits: `describe` lists what it can train, `devices` the GPUs that libtorch finds, `smoke NAME` tries whether
//! something can be trained at all, `probe` measures steps ([`tunebook_study::probe`]), `final` evaluates the trial that a request on standard input names on the test set.

use crate::batches::stays_on_host;
use crate::catalogue::{Catalogue, Trainable};
use crate::data::{Data, begin_to_record, recorded};
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::{device, load_cuda, version};
use crate::trainer::{Observer, Stop, train};
use crate::trial::Trial;
use crate::workload::Workload;
use crate::{panics, probe, smoke, test_set};
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use tch::Device;
use tunebook_study::protocol::{DataSource, Event, Request, TrialId, TrialRequest, VERSION};
use tunebook_study::{Measurement, Params, TrialState, WorkloadReference};

/// Data larger than this stay in the host's memory where the model trains on a GPU; batches are copied ahead.
const RESIDENT_BYTES: usize = 4 << 30;

/// The main function of a worker. `crate_folder`: where the crate lies that the catalogue's code was compiled from, if it is
/// the user's; a panic then names the user's line.
pub fn main(catalogue: Catalogue, crate_folder: Option<&'static str>) -> ExitCode {
    load_cuda();
    panics::install(crate_folder);
    tch::set_num_threads(1);
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (None, _) => serve(catalogue),
        (Some("describe"), _) => print(&catalogue.descriptions()),
        (Some("devices"), _) => print_devices(),
        (Some("smoke"), Some(name)) => print(&smoke::try_out(&catalogue, &name)),
        (Some("probe"), _) => probe::main(&catalogue),
        (Some("final"), _) => {
            print(&test_set::evaluate(&catalogue, &std::io::read_to_string(std::io::stdin()).unwrap_or_default()))
        }
        (Some(other), _) => {
            eprintln!(
                "tunebook-worker: `{other}` is no question; known are `describe`, `devices`, `smoke NAME`, `probe` and `final`"
            );
            ExitCode::FAILURE
        }
    }
}

/// Trains what standard input asks for until it closes.
fn serve(catalogue: Catalogue) -> ExitCode {
    let Ok(mut protocol) = keep_stdout() else {
        eprintln!("tunebook-worker: standard output is closed");
        return ExitCode::FAILURE;
    };
    let cancelled: Arc<Mutex<Option<TrialId>>> = Arc::default();
    let requests = read_requests(cancelled.clone());
    send(&mut protocol, &Event::Hello { protocol: VERSION, pid: std::process::id() });
    let mut worker = Worker { catalogue, protocol, cancelled, data: None };
    for trial in requests {
        worker.run(&trial);
    }
    ExitCode::SUCCESS
}

/// Keeps standard output for the protocol and gives the process standard error in its place, so that nothing that
/// libtorch or a model prints can be taken for a message.
fn keep_stdout() -> nix::Result<File> {
    let kept = nix::unistd::dup(std::io::stdout().as_fd())?;
    nix::unistd::dup2_stdout(std::io::stderr().as_fd())?;
    Ok(File::from(kept))
}

/// Trials in the order in which they were asked for. A closed standard input ends the process at once, also in the
/// middle of a trial: there is nobody left to train for.
fn read_requests(cancelled: Arc<Mutex<Option<TrialId>>>) -> mpsc::Receiver<TrialRequest> {
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(Request::Run { trials }) => trials.into_iter().for_each(|trial| drop(sender.send(trial))),
                Ok(Request::Cancel { trial }) => {
                    if let Ok(mut cancelled) = cancelled.lock() {
                        *cancelled = Some(trial);
                    }
                }
                Err(error) => eprintln!("tunebook-worker: not a request: {error}"),
            }
        }
        std::process::exit(0);
    });
    requests
}

fn send(protocol: &mut File, event: &Event) {
    if let Ok(mut line) = serde_json::to_vec(event) {
        line.push(b'\n');
        // A reader that is gone closes standard input as well, and that ends the process.
        let _ = protocol.write_all(&line);
    }
}

struct Worker {
    catalogue: Catalogue,
    protocol: File,
    cancelled: Arc<Mutex<Option<TrialId>>>,
    /// The data of the last trial, for the next one that needs the same.
    data: Option<Loaded>,
}

/// Data with what they were loaded by.
struct Loaded {
    workload: String,
    /// The hyperparameters that the loader asked for.
    asked: Params,
    data: Data,
    sources: Vec<DataSource>,
}

impl Worker {
    fn run(&mut self, request: &TrialRequest) {
        send(&mut self.protocol, &Event::Started { trial: request.trial.clone() });
        let started = std::time::Instant::now();
        // A panic of tch comes after C++ has returned, so the worker can go on.
        let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.train(request)));
        let (state, reason) = match attempt {
            Ok(Ok(())) => (TrialState::Complete, None),
            Ok(Err(stop)) => stop.outcome(),
            Err(_) => Stop::from_message(&panics::last().unwrap_or_else(|| "a panic".into())).outcome(),
        };
        let (trial, seconds) = (request.trial.clone(), started.elapsed().as_secs_f64());
        send(&mut self.protocol, &Event::Ended { trial, state, reason, seconds });
    }

    fn train(&mut self, request: &TrialRequest) -> Result<(), Stop> {
        let name = match &request.workload {
            WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => name,
            WorkloadReference::Command { .. } => {
                return Err(Stop::Failed("a worker trains workloads; programs run in the slot".into()));
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
                let mut trial = Trial::new(hp, request, device, &mut reporter);
                let result = (function.train)(&mut trial);
                trial.outcome(result)
            }
            Trainable::Workload(workload) => {
                if !description.metrics.contains(&request.objective) {
                    return Err(Stop::Failed(format!("`{name}` reports no metric `{}`", request.objective)));
                }
                // A trial that panics loses the data with it: the workload's code may have changed them.
                let loaded = match self.data.take().filter(|loaded| loaded.serves(name, &hp)) {
                    Some(loaded) => loaded,
                    None => Loaded::new(name, workload.as_ref(), &hp, device)?,
                };
                if !loaded.sources.is_empty() {
                    reporter.loaded(&loaded.sources);
                }
                let result =
                    train(workload.as_ref(), &loaded.data, hp, request, device, &loaded.sources, &mut reporter);
                self.data = Some(loaded);
                result
            }
        }
    }
}

/// The data on the device, unless they are too large for it or `TUNEBOOK_DATA` says otherwise.
pub(crate) fn resident(data: Data, device: Device) -> Data {
    let bytes = |t: &tch::Tensor| t.numel() * t.kind().elt_size_in_bytes();
    let size = bytes(&data.train.inputs) + bytes(&data.train.targets);
    let asked = std::env::var("TUNEBOOK_DATA").is_ok_and(|place| place == "device");
    let fits = !stays_on_host() && (asked || size <= RESIDENT_BYTES);
    if fits { data.to_device(device) } else { data }
}

impl Loaded {
    fn new(name: &str, workload: &dyn Workload, hp: &Hyperparameters, device: Device) -> Result<Self, Stop> {
        hp.begin_to_watch();
        begin_to_record();
        let data = workload.data(hp)?.checked()?;
        let asked = hp.watched();
        let data = resident(data, device);
        Ok(Self { workload: name.into(), asked, data, sources: recorded() })
    }

    fn serves(&self, name: &str, hp: &Hyperparameters) -> bool {
        self.workload == name && self.asked.iter().all(|(name, value)| hp.values().get(name) == Some(value))
    }
}

struct Reporter<'a> {
    protocol: &'a mut File,
    trial: &'a TrialId,
    cancelled: &'a Mutex<Option<TrialId>>,
}

impl Observer for Reporter<'_> {
    fn loaded(&mut self, sources: &[DataSource]) {
        send(self.protocol, &Event::Loaded { trial: self.trial.clone(), data: sources.to_vec() });
    }

    fn measured(&mut self, measurement: Measurement) {
        send(self.protocol, &Event::Measured { trial: self.trial.clone(), measurement });
    }

    fn cancelled(&self) -> bool {
        self.cancelled.lock().is_ok_and(|cancelled| cancelled.as_ref() == Some(self.trial))
    }
}

/// Names and memory are the driver's to tell.
fn print_devices() -> ExitCode {
    let gpus = (0..tch::Cuda::device_count().max(0)).filter(|_| Device::cuda_if_available().is_cuda());
    let devices: Vec<_> = gpus
        .map(|i| serde_json::json!({ "id": format!("cuda:{i}"), "kind": "cuda", "name": format!("CUDA device {i}") }))
        .collect();
    print(
        &serde_json::json!({ "libtorch": version(), "libtorch_folder": env!("TUNEBOOK_LIBTORCH"), "devices": devices }),
    )
}

fn print(answer: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string(answer) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tunebook-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
