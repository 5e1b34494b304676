//! The worker: requests come in as JSON lines, what the trials report goes out as JSON lines.

use crate::libtorch::{device, version};
use crate::trainer::{Observer, Stop, train};
use crate::{Split, workloads};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use tch::Device;
use tunebook_study::protocol::{Event, Request, TrialId, TrialRequest, VERSION};
use tunebook_study::{Measurement, TrialState, WorkloadReference};

/// Trains what standard input asks for until it closes.
pub fn main() -> ExitCode {
    tch::set_num_threads(1);
    let Ok(mut protocol) = keep_stdout() else {
        eprintln!("tunebook-worker: standard output is closed");
        return ExitCode::FAILURE;
    };
    let cancelled: Arc<Mutex<Option<TrialId>>> = Arc::default();
    let requests = read_requests(cancelled.clone());
    send(&mut protocol, &Event::Hello { protocol: VERSION, pid: std::process::id() });
    let mut worker = Worker { protocol, cancelled, data: HashMap::new() };
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
    protocol: File,
    cancelled: Arc<Mutex<Option<TrialId>>>,
    /// Data stay on the device from trial to trial.
    data: HashMap<String, Split>,
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
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                Stop::from_message(text).outcome()
            }
        };
        let (trial, seconds) = (request.trial.clone(), started.elapsed().as_secs_f64());
        send(&mut self.protocol, &Event::Ended { trial, state, reason, seconds });
    }

    fn train(&mut self, request: &TrialRequest) -> Result<(), Stop> {
        let WorkloadReference::Builtin { name } = &request.workload else {
            return Err(Stop::Failed("a worker trains workloads; programs run in the slot".into()));
        };
        let workload =
            workloads::find(name).ok_or_else(|| Stop::Failed(format!("this worker has no workload `{name}`")))?;
        if !workload.description().metrics.contains(&request.objective) {
            return Err(Stop::Failed(format!("`{name}` reports no metric `{}`", request.objective)));
        }
        let device = device().map_err(Stop::Failed)?;
        let data = match self.data.remove(name) {
            Some(data) => data,
            None => workload.data(device).map_err(Stop::Failed)?,
        };
        let mut reporter = Reporter { protocol: &mut self.protocol, trial: &request.trial, cancelled: &self.cancelled };
        let result = train(workload, &data, request, device, &mut reporter);
        self.data.insert(name.clone(), data);
        result
    }
}

struct Reporter<'a> {
    protocol: &'a mut File,
    trial: &'a TrialId,
    cancelled: &'a Mutex<Option<TrialId>>,
}

impl Observer for Reporter<'_> {
    fn measured(&mut self, measurement: Measurement) {
        send(self.protocol, &Event::Measured { trial: self.trial.clone(), measurement });
    }

    fn cancelled(&self) -> bool {
        self.cancelled.lock().is_ok_and(|cancelled| cancelled.as_ref() == Some(self.trial))
    }
}

/// `tunebook-worker describe`.
pub fn print_descriptions() -> ExitCode {
    print(&workloads::all().map(|workload| workload.description()))
}

/// `tunebook-worker devices`. Names and memory are the driver's to tell.
pub fn print_devices() -> ExitCode {
    let gpus = (0..tch::Cuda::device_count().max(0)).filter(|_| Device::cuda_if_available().is_cuda());
    let devices: Vec<_> = gpus
        .map(|i| serde_json::json!({ "id": format!("cuda:{i}"), "kind": "cuda", "name": format!("CUDA device {i}") }))
        .collect();
    print(&serde_json::json!({ "libtorch": version(), "devices": devices }))
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
