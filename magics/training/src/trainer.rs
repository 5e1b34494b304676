//! One training run: steps, evaluations, checkpoints, and the watch for divergence.
//!
//! Nothing in the loop waits for the device: losses and gradient norms stay there and are read back together, at most
//! [`READ_EVERY`] steps late and before each evaluation.

mod files;
mod noise;
mod steps;

pub(crate) use steps::Steps;

use self::noise::NoiseScale;

use crate::batches::Batches;
use crate::checkpoint;
use crate::data::{Data, Examples};
use crate::divergence::Divergence;
use crate::evaluation::{Evaluation, read};
use crate::hyperparameters::{HyperparameterError, Hyperparameters};
use crate::libtorch::{
    Autocast, Precision, average_step, clip_gradients, forget_gradients, gradient_norm, is_out_of_memory,
};
use crate::model::Model;
use crate::net::{Net, Phase};
use crate::optimizer::Optimizer;
use crate::randomness::{Randomness, Stream, permutation};
use crate::schedule::Schedule;
use crate::workload::Workload;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use tunebook_study::protocol::{DataSource, TrialRequest};
use tunebook_study::{Measurement, TrialState};

/// Steps after which losses are read back at the latest.
const READ_EVERY: usize = 50;
/// Validation examples whose outputs are kept at each evaluation (Playbook H6).
const SAMPLE: i64 = 32;
/// Numbers of those outputs that a trial keeps at most.
const SAMPLE_NUMBERS: i64 = 4_000_000;

/// Why a run ended before its last step.
#[derive(Debug)]
pub enum Stop {
    /// A result about the hyperparameters.
    Infeasible(String),
    /// A fault.
    Failed(String),
    /// It was not going to reach its target in time.
    Stopped(String),
    /// Asked for.
    Cancelled,
}

impl Stop {
    /// The trial's state and the reason in one line.
    pub fn outcome(self) -> (TrialState, Option<String>) {
        match self {
            Stop::Infeasible(reason) => (TrialState::Infeasible, Some(reason)),
            Stop::Failed(reason) => (TrialState::Failed, Some(reason)),
            Stop::Stopped(reason) => (TrialState::Stopped, Some(reason)),
            Stop::Cancelled => (TrialState::Cancelled, Some("interrupted".into())),
        }
    }

    /// The stop that a message of libtorch, or of the user's code, means.
    pub fn from_message(message: &str) -> Self {
        let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim();
        let line = line.trim_start_matches("Internal torch error: ");
        if line.contains("modified by an inplace operation") {
            let hint =
                "a tensor that the gradient needs was changed in place: write `x = &x + y` where it says `x += y`";
            return Stop::Failed(format!("{hint} ({line})"));
        }
        if is_out_of_memory(message) {
            Stop::Infeasible(format!("out of memory: {line}"))
        } else {
            Stop::Failed(line.into())
        }
    }
}

impl From<HyperparameterError> for Stop {
    fn from(error: HyperparameterError) -> Self {
        Stop::Failed(error.to_string())
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Stop::from_message(&format!("{error:#}"))
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::from_message(&message)
    }
}

/// What a run reports to, and asks whether to go on.
pub trait Observer {
    /// The files that the data came from.
    fn loaded(&mut self, sources: &[DataSource]);
    /// Metrics at a step.
    fn measured(&mut self, measurement: Measurement);
    /// Whether the run is to end.
    fn cancelled(&self) -> bool;
}

/// Trains a workload as a request says, from the first step, or from where an earlier run of the same trial was cut off, to
/// the last. `data` are on the device, or in the host's memory to be copied batch by batch.
pub fn train(
    workload: &dyn Workload,
    data: &Data,
    hp: Hyperparameters,
    request: &TrialRequest,
    device: Device,
    sources: &[DataSource],
    observer: &mut dyn Observer,
) -> Result<(), Stop> {
    let precision = hp.precision();
    let batch: i64 = hp.get("batch_size");
    let count = data.train.count();
    if batch > count {
        return Err(Stop::Failed(format!("batch_size ({batch}) is more than the {count} training examples")));
    }
    let _precision = Autocast::begin(precision);
    let mut run = Run::new(workload, data, hp, request, device, sources)?;
    let result = run.steps(observer);
    if !run.keeps_files() {
        return result;
    }
    // What is there is worth keeping however the run ended; the first problem is the one to report.
    result.and(run.save_series())
}

/// What a run has behind it, beside tensors.
#[derive(Default, Serialize, Deserialize)]
struct Progress {
    /// What makes a run the same run.
    identity: String,
    steps: u64,
    seconds: f64,
    measurements: Vec<Measurement>,
    /// Objective and step of the checkpoints that are kept, the best first.
    best: Vec<(f64, u64)>,
    divergence: Divergence,
    #[serde(default)]
    noise: NoiseScale,
}

struct Run<'a> {
    workload: &'a dyn Workload,
    data: &'a Data,
    model: Model<'a>,
    /// The model's parameters: handles, for the optimizer.
    parameters: Vec<Tensor>,
    optimizer: Optimizer,
    /// Polyak averages of the parameters, with their decay.
    averages: Option<(Vec<Tensor>, f64)>,
    schedule: Schedule,
    request: &'a TrialRequest,
    device: Device,
    started: Instant,
    progress: Progress,
    clip_norm: f64,
    evaluation: Evaluation<'a>,
    unread: Vec<(u64, Tensor, Tensor)>,
    /// Losses since the last evaluation.
    losses: Vec<f64>,
    norms: Vec<f32>,
    /// Which validation examples are followed, and what the model said of them.
    sample: Tensor,
    outputs: Vec<(u64, Tensor)>,
}

impl<'a> Run<'a> {
    fn new(
        workload: &'a dyn Workload,
        data: &'a Data,
        hp: Hyperparameters,
        request: &'a TrialRequest,
        device: Device,
        sources: &[DataSource],
    ) -> Result<Self, Stop> {
        if hp.precision() == Precision::Tf32 && !device.is_cuda() {
            return Err(Stop::Failed("precision = tf32 needs a CUDA device; fp32 and bf16 work everywhere".into()));
        }
        let identity = identity(&hp, request, device, sources);
        let schedule = hp.schedule();
        let (rule, weight_decay) = (hp.rule(), hp.get("weight_decay"));
        let (clip_norm, decay): (f64, f64) = (hp.get("clip_norm"), hp.get("polyak_decay"));
        let batch_size: i64 = hp.get("batch_size");
        let evaluations = hp.get::<i64>("steps") / hp.get::<i64>("eval_every") + 2;
        let randomness = Randomness::new(request.seed);
        let few = data.train.first(2).to_device(device);
        let model = Model::new(workload, hp, randomness, device, &few.inputs);
        let outputs = model.predict(&few.inputs);
        if workload.task() == crate::Task::Classification && data.train.targets.kind() == Kind::Int64 {
            data.classes_fit(outputs.size().last().copied().unwrap_or(0))?;
        }
        let each = (outputs.numel() as i64 / few.count().max(1)).max(1) * evaluations;
        let followed = (SAMPLE_NUMBERS / each).clamp(1, SAMPLE).min(data.valid.count());
        let generator = Randomness::new(0).generator(Stream::Splitting, 0, 1);
        let order = permutation(generator, data.valid.count() as usize);
        let parameters: Vec<Tensor> = model.parameters().tensors().iter().map(Tensor::shallow_clone).collect();
        let optimizer = Optimizer::new(rule, weight_decay, &parameters);
        let copies = || parameters.iter().map(|p| p.detach().copy()).collect();
        let averages = (decay > 0.0).then(|| (copies(), decay));
        Ok(Self {
            workload,
            data,
            optimizer,
            averages,
            model,
            parameters,
            schedule,
            request,
            device,
            started: Instant::now(),
            progress: Progress { identity, ..Progress::default() },
            clip_norm,
            evaluation: Evaluation::new(workload, device, batch_size),
            unread: vec![],
            losses: vec![],
            norms: vec![],
            sample: Tensor::from_slice(&order[..followed as usize]).to_device(data.valid.inputs.device()),
            outputs: vec![],
        })
    }

    fn steps(&mut self, observer: &mut dyn Observer) -> Result<(), Stop> {
        let hp = self.model.hyperparameters();
        let (steps, eval_every): (u64, u64) = (hp.get("steps"), hp.get("eval_every"));
        let batch_size: i64 = hp.get("batch_size");
        let micro = Some(hp.get::<i64>("micro_batch_size")).filter(|size| *size > 0).unwrap_or(batch_size);
        let save_every = match hp.get::<u64>("checkpoint_every") {
            0 => steps.div_ceil(10),
            every => every,
        };
        let mut saved = 0;
        let mut next_evaluation = self.request.until.map(|until| until.next(0));
        if self.resume() {
            saved = self.progress.steps;
            for measurement in self.progress.measurements.clone() {
                observer.measured(measurement);
            }
        } else {
            self.evaluate(0, self.schedule.at(0), observer)?;
        }
        let randomness = Randomness::new(self.request.seed);
        let first = self.progress.steps;
        let mut batches = Batches::new(&self.data.train, batch_size, randomness, self.device, first);
        for step in first + 1..=steps {
            if observer.cancelled() {
                return Err(Stop::Cancelled);
            }
            let lr = self.schedule.at(step - 1);
            let batch = batches.next()?;
            if self.request.noise_every.is_some_and(|every| step % every == 0) {
                self.measure_noise(step, &batch, micro)?;
            }
            self.step(step, lr, &batch, micro, true)?;
            let due = next_evaluation.map_or(step % eval_every == 0, |next| step >= next);
            let evaluate = due || step == steps;
            if evaluate || self.unread.len() >= READ_EVERY {
                self.read_back()?;
            }
            if evaluate {
                let objective = self.evaluate(step, lr, observer)?;
                if let (Some(until), Some(objective)) = (self.request.until, objective) {
                    match until.verdict(self.request.direction, objective, step) {
                        Some(true) => return Ok(()),
                        Some(false) => return Err(Stop::Stopped(until.reason(&self.request.objective))),
                        None => next_evaluation = Some(until.next(step)),
                    }
                } else if step < steps && step - saved >= save_every {
                    self.save_to_resume(step)?;
                    saved = step;
                }
            }
        }
        if !self.keeps_files() {
            return Ok(());
        }
        let swapped = self.swap_averages();
        self.save(checkpoint::LAST)?;
        if swapped {
            self.swap_averages();
        }
        let _ = std::fs::remove_file(self.path(checkpoint::RESUME));
        Ok(())
    }

    /// One step: forward, backward, norm, update. Nothing of it is read back.
    fn step(&mut self, step: u64, lr: f64, batch: &Examples, micro: i64, augment: bool) -> Result<(), Stop> {
        let parameters = self.parameters.as_slice();
        forget_gradients(parameters);
        let count = batch.count();
        let mut loss: Option<Tensor> = None;
        for (part, start) in (0..count).step_by(micro as usize).enumerate() {
            let length = micro.min(count - start);
            let net = self.model.net(Phase::Train { step }).part(part as u64);
            let part = if length == count { None } else { Some(batch.narrow(start, length)) };
            let part = part.as_ref().unwrap_or(batch);
            let share = self.backward(&net, part, augment, length as f64 / count as f64)?;
            loss = Some(match loss {
                None => share,
                Some(sum) => sum + share,
            });
        }
        let norm = gradient_norm(parameters)?;
        if self.clip_norm > 0.0 {
            clip_gradients(parameters, &norm, self.clip_norm)?;
        }
        self.optimizer.step(parameters, lr)?;
        if let Some((averages, decay)) = &self.averages {
            // The average of few steps is the mean of them: without that it would remember the initialization.
            let decay = decay.min(step as f64 / (step as f64 + 10.0));
            average_step(averages, parameters, decay)?;
        }
        self.progress.noise.pair_with(&norm);
        if let Some(loss) = loss {
            self.unread.push((step, loss, norm));
        }
        Ok(())
    }

    /// The loss of a part of a batch, weighted by its share; its gradient is added to what the parameters hold.
    fn backward(&self, net: &Net<'_>, part: &Examples, augment: bool, weight: f64) -> Result<Tensor, Stop> {
        let outputs = match augment {
            true => self.model.forward(net, &part.inputs),
            false => self.model.forward_as_it_is(net, &part.inputs),
        };
        let mut loss = self.workload.loss(net, &outputs, &part.targets);
        if weight < 1.0 {
            loss = &loss * weight;
        }
        loss.f_backward().map_err(|error| Stop::from_message(&error.to_string()))?;
        Ok(loss.detach())
    }

    /// Reads what the steps left on the device, and looks for divergence.
    fn read_back(&mut self) -> Result<(), Stop> {
        self.progress.noise.read_back();
        let losses: Vec<f64> = read(self.unread.iter().map(|(_, loss, _)| loss));
        let norms: Vec<f64> = read(self.unread.iter().map(|(_, _, norm)| norm));
        self.norms.extend(norms.iter().map(|norm| *norm as f32));
        for ((step, _, _), loss) in std::mem::take(&mut self.unread).into_iter().zip(losses) {
            self.losses.push(loss);
            if let Some(reason) = self.progress.divergence.observe(step, loss) {
                return Err(Stop::Infeasible(reason));
            }
        }
        Ok(())
    }

    /// Judges the model, reports, and keeps it if it is among the best; gives the objective.
    fn evaluate(&mut self, step: u64, lr: f64, observer: &mut dyn Observer) -> Result<Option<f64>, Stop> {
        // The averages stand in for the parameters while they are judged and saved.
        let swapped = self.swap_averages();
        let judged = self.evaluation.of(&self.model, &self.data.valid);
        if self.keeps_files() {
            let followed = self.data.valid.select(&self.sample);
            self.outputs.push((step, self.model.predict(&followed.inputs).to_device(Device::Cpu)));
        }
        let mut metrics: IndexMap<String, Option<f64>> = IndexMap::new();
        let mut metric = |name: String, value: f64| {
            metrics.insert(name, Some(value).filter(|v| v.is_finite()));
        };
        if !self.losses.is_empty() {
            metric("train/loss".into(), self.losses.iter().sum::<f64>() / self.losses.len() as f64);
        }
        for (name, value) in judged? {
            metric(format!("valid/{name}"), value);
        }
        let recent = &self.norms[self.norms.len().saturating_sub(self.losses.len())..];
        if let Some(norm) = recent.last() {
            metric("gradient_norm".into(), f64::from(*norm));
            if self.clip_norm > 0.0 {
                let clipped = recent.iter().filter(|norm| f64::from(**norm) > self.clip_norm).count();
                metric("clipped".into(), clipped as f64 / recent.len() as f64);
            }
        }
        if let Some(scale) = self.progress.noise.value() {
            metric("noise_scale".into(), scale);
        }
        metric("lr".into(), lr);
        self.losses.clear();
        let objective = metrics.get(&self.request.objective).copied();
        let seconds = self.progress.seconds + self.started.elapsed().as_secs_f64();
        let measurement = Measurement { step, seconds, metrics };
        if self.keeps_files() {
            self.progress.measurements.push(measurement.clone());
        }
        observer.measured(measurement);
        let kept = match objective {
            Some(Some(value)) if self.keeps_files() => self.keep_if_best(value, step),
            Some(None) => {
                Err(Stop::Infeasible(format!("`{}` became non-finite at step {step}", self.request.objective)))
            }
            _ => Ok(()),
        };
        if swapped {
            self.swap_averages();
        }
        kept.map(|()| objective.flatten())
    }

    /// A trial that runs until it reaches a target is asked when it does, and keeps nothing.
    fn keeps_files(&self) -> bool {
        self.request.until.is_none()
    }

    /// Exchanges the values of parameters and averages; false where there are no averages.
    fn swap_averages(&self) -> bool {
        let Some((averages, _)) = &self.averages else { return false };
        tch::no_grad(|| {
            for (parameter, average) in self.parameters.iter().zip(averages) {
                let value = parameter.detach().copy();
                parameter.shallow_clone().copy_(average);
                average.shallow_clone().copy_(&value);
            }
        });
        true
    }
}

/// All that a run's numbers depend on: a checkpoint of another run is not resumed.
fn identity(hp: &Hyperparameters, request: &TrialRequest, device: Device, sources: &[DataSource]) -> String {
    let device = if device.is_cuda() { "cuda" } else { "cpu" };
    serde_json::json!({
        "tunebook": env!("CARGO_PKG_VERSION"), "libtorch": crate::libtorch::version(), "device": device,
        "workload": request.workload, "values": hp.values(), "seed": request.seed,
        "objective": request.objective, "direction": request.direction, "data": sources,
    })
    .to_string()
}
