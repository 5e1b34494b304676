//! Probes (`tunebook-worker probe`): measure memory, step times and gradient noise of a workload (Playbook B1, B2, B4).
//! The messages are defined in [`tunebook_study::probe`].

mod memory;
mod processor_wait;
mod stages;
mod timing;

use self::processor_wait::ProcessorWait;
use crate::batches::Batches;
use crate::catalogue::{Catalogue, Trainable};
use crate::data::{Data, recorded, start_recording};
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::{Autocast, device, synchronize};
use crate::panics;
use crate::trainer::{Stepper, Stop};
use crate::worker::{load_data, place_data};
use std::process::ExitCode;
use tch::Device;
use tunebook_study::probe::{ProbeAnswer, ProbeRequest, ProbeTask};
use tunebook_study::protocol::{TrialId, TrialRequest};
use tunebook_study::{Value, WorkloadReference};

/// The number of steps that try whether a batch size fits into memory. The first one creates the optimizer's state, and
/// the others show what stays in use.
const FIT_STEPS: usize = 3;
/// The number of steps that verify that a batch size fits for long.
const VERIFY_STEPS: usize = 20;
/// After so many steps of a run, their losses are looked at.
const READ_EVERY: u64 = 50;

/// Answers the request on standard input, with one JSON object per line of standard output.
pub(crate) fn main(catalogue: &Catalogue) -> ExitCode {
    let request = std::io::read_to_string(std::io::stdin()).unwrap_or_default();
    let attempt = panics::catch(|| {
        let request: ProbeRequest =
            serde_json::from_str(&request).map_err(|error| Stop::Failed(format!("this is not a request: {error}")))?;
        probe(catalogue, &request)
    });
    let stop = match attempt {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(stop)) => stop,
        Err(message) => Stop::from_message(&message),
    };
    answer(&match stop {
        Stop::Infeasible(reason) => ProbeAnswer::OutOfMemory { batch_size: 0, reason },
        stop => ProbeAnswer::Failed { reason: stop.outcome().1.unwrap_or_default() },
    });
    ExitCode::SUCCESS
}

fn answer(answer: &ProbeAnswer) {
    if let Ok(text) = serde_json::to_string(answer) {
        println!("{text}");
    }
}

fn probe(catalogue: &Catalogue, request: &ProbeRequest) -> Result<(), Stop> {
    let name = &request.workload;
    let (Some(trainable), Some(description)) = (catalogue.find(name), catalogue.describe(name)) else {
        return Err(Stop::Failed(format!("this worker has no workload `{name}`")));
    };
    let Trainable::Workload(workload) = trainable else {
        return Err(Stop::Failed(format!(
            "`{name}` is a training function, whose steps cannot be measured one by one"
        )));
    };
    let device = device().map_err(Stop::Failed)?;
    let mut params = request.params.clone();
    if !matches!(request.task, ProbeTask::Noise { .. }) {
        // The task gives the batch sizes. Neither the data nor the model depend on them, and 1 is in every domain.
        params.insert("batch_size".into(), Value::Int(1));
        params.entry("micro_batch_size".into()).or_insert(Value::Int(0));
    }
    let hp = Hyperparameters::new(&description, &params)?;
    start_recording();
    let data = place_data(load_data(workload.as_ref(), &hp)?, device);
    let hashes: Vec<String> = recorded().into_iter().map(|source| source.sha256).collect();
    answer(&ProbeAnswer::Loaded { examples: data.train.count() as u64, data: hashes.join(" ") });
    if request.task == ProbeTask::Load {
        return Ok(());
    }
    let trial = TrialRequest {
        trial: TrialId { study: "probe".into(), number: 1 },
        workload: WorkloadReference::Builtin { name: name.clone() },
        params: Default::default(),
        seed: 0,
        objective: description.objective.metric.clone(),
        direction: description.objective.direction,
        directory: std::env::temp_dir(),
        timeout: None,
        worker: None,
        until: None,
        noise_every: None,
        training_metrics: false,
        fit: None,
    };
    let batch_size = hp.get("batch_size");
    let _precision = Autocast::begin(hp.precision());
    let stepper = Stepper::new(workload.as_ref(), &data, hp, &trial, device)?;
    let mut probe = Probe { stepper, data: &data, device };
    let wait = ProcessorWait::start();
    match &request.task {
        ProbeTask::Load => {}
        ProbeTask::Fit { batch_size } => probe.fit(*batch_size, FIT_STEPS)?,
        ProbeTask::Verify { batch_size } => probe.fit(*batch_size, VERIFY_STEPS)?,
        ProbeTask::Time { batch_sizes, evaluate } => probe.time(batch_sizes, *evaluate)?,
        ProbeTask::Stages { batch_size } => probe.stages(*batch_size)?,
        ProbeTask::Noise { at, pairs, small, large } => probe.noise(batch_size, at, *pairs, (*small, *large))?,
    }
    answer(&ProbeAnswer::Done { waited: wait.share() });
    Ok(())
}

/// A model that is trained step by step, and the data and device that it is trained with.
struct Probe<'a> {
    stepper: Stepper<'a>,
    data: &'a Data,
    device: Device,
}

impl Probe<'_> {
    /// Returns batches of a size. It fails if there are not as many training examples.
    fn batches(&self, size: u64) -> Result<Batches, Stop> {
        let count = self.data.train.count();
        if size as i64 > count {
            return Err(Stop::Failed(format!("a batch of {size} is more than the {count} training examples")));
        }
        Ok(self.stepper.batches(size as i64))
    }

    /// Takes steps and an evaluation of a batch size, and answers with the memory that they used. Running out of memory
    /// ends the probe with another answer.
    fn fit(&mut self, size: u64, steps: usize) -> Result<(), Stop> {
        let mut batches = self.batches(size)?;
        if self.device == Device::Cpu {
            memory::limit_to_free_memory();
        }
        for _ in 0..steps {
            let batch = batches.next()?;
            self.stepper.step(&batch, true)?;
        }
        let valid = self.data.valid.first(size as i64).to_device(self.device);
        let _ = self.stepper.predict(&valid);
        self.stepper.try_checkpoint()?;
        synchronize(self.device);
        answer(&ProbeAnswer::Fits { memory: memory::in_use(self.device)? });
        Ok(())
    }

    /// Trains as a trial does, and measures `pairs` pairs of gradient norms after each number of steps in `at`. It ends
    /// early, and says so, if the training diverges.
    fn noise(&mut self, batch_size: u64, at: &[u64], pairs: u64, (small, large): (u64, u64)) -> Result<(), Stop> {
        let mut batches = self.batches(batch_size)?;
        self.stepper.evaluate_untrained()?;
        let mut taken = 0;
        for &step in at {
            while taken < step {
                self.stepper.scheduled_step(&batches.next()?)?;
                taken += 1;
                if (taken % READ_EVERY == 0 || taken == step)
                    && let Some(reason) = self.stepper.diverged()
                {
                    answer(&ProbeAnswer::Diverged { reason });
                    return Ok(());
                }
            }
            let mut measured = vec![];
            for draw in 0..pairs {
                let pair = self.stepper.norm_pair(draw, small, large)?;
                if !(pair.small.is_finite() && pair.large.is_finite()) {
                    break;
                }
                measured.push(pair);
            }
            if (measured.len() as u64) < pairs {
                let reason = format!("a gradient after step {step} is not finite");
                answer(&ProbeAnswer::Diverged { reason });
                return Ok(());
            }
            answer(&ProbeAnswer::Noise { step, pairs: measured });
        }
        Ok(())
    }
}
