//! The smoke test (`tunebook-worker smoke NAME`): trains a workload for two steps with its default values on a few
//! examples. A mistake in its shapes, data or code thus shows when the workload is defined, and not in the first trial.

use crate::catalogue::{Catalogue, Trainable};
use crate::data::recorded;
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::device;
use crate::panics;
use crate::trainer::{Observer, Stop, train};
use crate::trial::Trial;
use crate::worker::load_data;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tunebook_study::protocol::{DataSource, TrialId, TrialRequest};
use tunebook_study::{Measurement, Params, Value, WorkloadDescription, WorkloadReference};

/// The number of training steps.
const STEPS: i64 = 2;
/// The largest number of training and of validation examples.
const EXAMPLES: i64 = 256;
/// How long a training function has until it ends after its last report. One that never asks whether it should stop has
/// shown by then that it trains.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a training function may train without reporting its objective, until it is believed that it will.
const LATE: Duration = Duration::from_secs(20);

/// Counts the reports of the trial and collects the names of its metrics.
#[derive(Default)]
struct Reports {
    count: usize,
    /// The number of reports after which the trial is cancelled. A training function chooses itself how long it trains.
    at_most: Option<usize>,
    /// The objective, which must be among the reports, unless that takes long.
    objective: String,
    since: Option<Instant>,
    metrics: BTreeSet<String>,
    /// Whether the process ends soon, even if the function goes on.
    ending: bool,
}

impl Observer for Reports {
    fn loaded(&mut self, _: &[DataSource], _: &str) {}

    fn measured(&mut self, measurement: Measurement) {
        self.count += 1;
        self.metrics.extend(measurement.metrics.into_keys());
        if self.cancelled() && !std::mem::replace(&mut self.ending, true) {
            let answer = json!({ "ok": true, "metrics": self.metrics });
            std::thread::spawn(move || {
                std::thread::sleep(PATIENCE);
                let _ = std::fs::remove_dir_all(folder());
                println!("{answer}");
                std::process::exit(0);
            });
        }
    }

    fn cancelled(&self) -> bool {
        let is_late = self.since.is_some_and(|since| since.elapsed() > LATE);
        self.at_most.is_some_and(|at_most| self.count >= at_most) && (is_late || self.metrics.contains(&self.objective))
    }
}

/// Tries a workload. It returns `{"ok": true, "metrics": …}`, for a workload of the training pipeline also with the
/// sizes of its data and model, or `{"ok": false, "problem": reason}`.
pub(crate) fn try_out(catalogue: &Catalogue, name: &str) -> Json {
    let attempt = panics::catch(|| train_briefly(catalogue, name));
    let _ = std::fs::remove_dir_all(folder());
    let problem = match attempt {
        Ok(Ok(result)) => return result,
        Ok(Err(stop)) => stop.outcome().1.unwrap_or_default(),
        Err(message) => message,
    };
    json!({ "ok": false, "problem": problem })
}

/// Returns the folder for the checkpoints of the trial, which is removed after it.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("tunebook-smoke-{}", std::process::id()))
}

/// Checks that what a workload declares by name exists. A name with a mistake would otherwise have no effect.
fn check_names(trainable: &Trainable, description: &WorkloadDescription) -> Result<(), Stop> {
    let Trainable::Workload(workload) = trainable else { return Ok(()) };
    let listed =
        |names: &mut dyn Iterator<Item = &String>| names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let objective = &description.objective.metric;
    if !description.metrics.contains(objective) {
        let metrics = listed(&mut description.metrics.iter());
        return Err(Stop::Failed(format!("`objective` names the metric `{objective}`, but there are {metrics}")));
    }
    for (name, _) in workload.defaults() {
        if description.hyperparameter(name).is_none() {
            let names = listed(&mut description.hyperparameters.iter().map(|h| &h.name));
            return Err(Stop::Failed(format!("`defaults` names the hyperparameter `{name}`, but there are {names}")));
        }
    }
    let own = workload.hyperparameters();
    for (i, h) in own.iter().enumerate() {
        if own[..i].iter().any(|other| other.name == h.name) {
            return Err(Stop::Failed(format!("`hyperparameters` declares `{}` twice", h.name)));
        }
    }
    Ok(())
}

fn train_briefly(catalogue: &Catalogue, name: &str) -> Result<Json, Stop> {
    let (Some(trainable), Some(description)) = (catalogue.find(name), catalogue.describe(name)) else {
        return Err(Stop::Failed(format!("this worker has no workload `{name}`")));
    };
    for h in description.hyperparameters.iter().filter(|h| h.default != Value::Null) {
        h.accept(&h.default)
            .map_err(|error| Stop::Failed(format!("the default value of a hyperparameter cannot be used: {error}")))?;
    }
    check_names(trainable, &description)?;
    let folder = folder();
    std::fs::create_dir_all(&folder).map_err(|error| Stop::Failed(format!("{}: {error}", folder.display())))?;
    let request = TrialRequest {
        trial: TrialId { study: "smoke".into(), number: 1 },
        workload: WorkloadReference::Builtin { name: name.into() },
        params: Default::default(),
        seed: 0,
        objective: description.objective.metric.clone(),
        direction: description.objective.direction,
        directory: folder.clone(),
        timeout: None,
        worker: None,
        until: None,
        noise_every: None,
        training_metrics: false,
        fit: None,
    };
    let device = device().map_err(Stop::Failed)?;
    let mut reports = Reports::default();
    let result = match trainable {
        Trainable::Function(function) => {
            reports.at_most = Some(STEPS as usize);
            reports.objective = request.objective.clone();
            reports.since = Some(Instant::now());
            let mut attempt = |params: &Params| -> Result<(), Stop> {
                reports.count = 0;
                let hp = Hyperparameters::new(&description, params)?;
                let mut trial = Trial::new(hp, &request, device, &mut reports);
                let result = (function.train)(&mut trial);
                trial.outcome(result)
            };
            let mut few = request.params.clone();
            if description.hyperparameter("steps").is_some_and(|h| h.accept(&Value::Int(STEPS)).is_ok()) {
                few.insert("steps".into(), Value::Int(STEPS));
            }
            let ended = match panics::catch(|| attempt(&few)) {
                // It may report every hundred steps, or ten times. With all its steps it ends at its second report.
                Ok(Err(Stop::Failed(_) | Stop::Infeasible(_))) | Err(_) if few != request.params => {
                    attempt(&request.params)
                }
                Ok(ended) => ended,
                Err(message) => Err(Stop::from_message(&message)),
            };
            // A function that was cancelled may end in any way; it has reported often enough.
            match ended {
                Ok(()) | Err(Stop::Cancelled) => Ok(json!({ "ok": true })),
                Err(stop) => Err(stop),
            }
        }
        Trainable::Workload(workload) => {
            let hp = Hyperparameters::new(&description, &request.params)?;
            let data = load_data(workload.as_ref(), &hp)?;
            let about = data.description();
            let sizes = json!({ "train": data.train.count(), "valid": data.valid.count(),
                "inputs": &data.train.inputs.size()[1..], "targets": &data.train.targets.size()[1..] });
            let few = data.few(EXAMPLES).to_device(device);
            let batch = hp.get::<i64>("batch_size").min(few.train.count());
            let params = [
                ("steps", STEPS),
                ("eval_every", 1),
                ("batch_size", batch),
                ("warmup_steps", 0),
                ("micro_batch_size", 0),
            ];
            let params = params.into_iter().map(|(name, value)| (name.to_string(), Value::Int(value))).collect();
            let hp = Hyperparameters::new(&description, &params)?;
            let started = std::time::Instant::now();
            let trained = train(workload.as_ref(), &few, hp, &request, device, &recorded(), &mut reports);
            let parameters = crate::checkpoint::read(&folder.join(crate::checkpoint::LAST))
                .map(|tensors| tensors.values().map(tch::Tensor::numel).sum::<usize>());
            trained.map(|()| {
                json!({ "ok": true, "examples": sizes, "description": about, "parameters": parameters.ok(),
                    "seconds": started.elapsed().as_secs_f64() })
            })
        }
    };
    let mut result = result?;
    result["metrics"] = json!(reports.metrics);
    Ok(result)
}
