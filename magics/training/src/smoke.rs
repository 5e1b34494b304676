//! Whether something can be trained at all: tried with its defaults, on few examples, for two steps. What is wrong with a
//! workload's shapes, data or code is then known when it is defined, and not in the first trial.

use crate::catalogue::{Catalogue, Trainable};
use crate::data::{Data, recorded};
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::device;
use crate::panics;
use crate::trainer::{Observer, Stop, train};
use crate::trial::Trial;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tunebook_study::protocol::{DataSource, TrialId, TrialRequest};
use tunebook_study::{Measurement, Value, WorkloadReference};

/// Steps that are tried.
const STEPS: i64 = 2;
/// Examples that are tried with.
const EXAMPLES: i64 = 256;

/// Notes what a trial says.
#[derive(Default)]
struct Heard {
    measurements: usize,
    /// A function cannot be told how long to train: two reports show that it can be.
    enough: Option<usize>,
    metrics: BTreeSet<String>,
}

impl Observer for Heard {
    fn loaded(&mut self, _: &[DataSource]) {}

    fn measured(&mut self, measurement: Measurement) {
        self.measurements += 1;
        self.metrics.extend(measurement.metrics.into_keys());
    }

    fn cancelled(&self) -> bool {
        self.enough.is_some_and(|enough| self.measurements >= enough)
    }
}

/// `{"ok": true, …}` with what was learned, or `{"ok": false, "problem": …}`.
pub(crate) fn try_out(catalogue: &Catalogue, name: &str) -> Json {
    let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attempt(catalogue, name)));
    // However it ended, nothing of it stays.
    let _ = std::fs::remove_dir_all(folder());
    let problem = match attempt {
        Ok(Ok(learned)) => return learned,
        Ok(Err(stop)) => stop.outcome().1.unwrap_or_default(),
        Err(_) => panics::last().unwrap_or_else(|| "a panic".into()),
    };
    json!({ "ok": false, "problem": problem })
}

/// Where the steps leave their checkpoints.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("tunebook-smoke-{}", std::process::id()))
}

fn attempt(catalogue: &Catalogue, name: &str) -> Result<Json, Stop> {
    let (Some(trainable), Some(description)) = (catalogue.find(name), catalogue.describe(name)) else {
        return Err(Stop::Failed(format!("there is no workload `{name}` here")));
    };
    for h in description.hyperparameters.iter().filter(|h| h.default != Value::Null) {
        h.accept(&h.default).map_err(|error| Stop::Failed(format!("the default of a hyperparameter: {error}")))?;
    }
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
    };
    let device = device().map_err(Stop::Failed)?;
    let mut heard = Heard::default();
    let result = match trainable {
        Trainable::Function(function) => {
            heard.enough = Some(STEPS as usize);
            let mut params = request.params.clone();
            if description.hyperparameter("steps").is_some_and(|h| h.accept(&Value::Int(STEPS)).is_ok()) {
                params.insert("steps".into(), Value::Int(STEPS));
            }
            let mut trial = Trial::new(Hyperparameters::new(&description, &params)?, &request, device, &mut heard);
            let result = (function.train)(&mut trial);
            // Asked to stop it may leave in any way; what it reported until then counts.
            match trial.outcome(result) {
                Ok(()) | Err(Stop::Cancelled) => Ok(json!({ "ok": true })),
                Err(stop) => Err(stop),
            }
        }
        Trainable::Workload(workload) => {
            let hp = Hyperparameters::new(&description, &request.params)?;
            let data = workload.data(&hp)?.checked()?;
            let whole = json!({ "train": data.train.count(), "valid": data.valid.count(),
                "inputs": &data.train.inputs.size()[1..], "targets": &data.train.targets.size()[1..] });
            let few = Data::new(data.train.first(EXAMPLES), data.valid.first(EXAMPLES)).to_device(device);
            let batch = hp.get::<i64>("batch_size").min(few.train.count());
            let params = [
                ("steps", STEPS),
                ("eval_every", 1),
                ("batch_size", batch),
                ("warmup_steps", 0),
                ("ghost_batch_size", 0),
                ("micro_batch_size", 0),
            ];
            let params = params.into_iter().map(|(name, value)| (name.to_string(), Value::Int(value))).collect();
            let hp = Hyperparameters::new(&description, &params)?;
            let started = std::time::Instant::now();
            let done = train(workload.as_ref(), &few, hp, &request, device, &recorded(), &mut heard);
            let parameters = crate::checkpoint::read(&folder.join(crate::checkpoint::LAST))
                .map(|tensors| tensors.values().map(tch::Tensor::numel).sum::<usize>());
            done.map(|()| {
                json!({ "ok": true, "examples": whole, "parameters": parameters.ok(),
                    "seconds": started.elapsed().as_secs_f64() })
            })
        }
    };
    let mut learned = result?;
    learned["metrics"] = json!(heard.metrics);
    Ok(learned)
}
