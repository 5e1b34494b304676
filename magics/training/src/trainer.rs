//! One training run: steps, evaluations, checkpoints, and the watch for divergence.
//!
//! Nothing in the loop waits for the device: losses and gradient norms stay there and are read back together, at most
//! [`READ_EVERY`] steps late and before each evaluation.

use crate::divergence::Divergence;
use crate::hyperparameters::{HyperparameterError, Hyperparameters};
use crate::libtorch::{forget_gradients, gradient_norm, is_out_of_memory};
use crate::optimizer::Optimizer;
use crate::randomness::Randomness;
use crate::{Batch, Split, Workload};
use indexmap::IndexMap;
use std::path::Path;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use tunebook_study::protocol::TrialRequest;
use tunebook_study::{Direction, Measurement, TrialState};

/// Steps after which losses are read back at the latest.
const READ_EVERY: u64 = 50;
/// Examples of an evaluation step: without gradients a larger batch fits (Playbook H2).
const EVALUATION_BATCH: i64 = 4096;

/// Why a run ended before its last step.
#[derive(Debug)]
pub enum Stop {
    /// A result about the hyperparameters.
    Infeasible(String),
    /// A fault.
    Failed(String),
    /// Asked for.
    Cancelled,
}

impl Stop {
    /// The trial's state and the reason in one line.
    pub fn outcome(self) -> (TrialState, Option<String>) {
        match self {
            Stop::Infeasible(reason) => (TrialState::Infeasible, Some(reason)),
            Stop::Failed(reason) => (TrialState::Failed, Some(reason)),
            Stop::Cancelled => (TrialState::Cancelled, Some("interrupted".into())),
        }
    }

    /// The stop that a message of libtorch means.
    pub fn from_message(message: &str) -> Self {
        let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim();
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

/// What a run reports to, and asks whether to go on.
pub trait Observer {
    /// Metrics at a step.
    fn measured(&mut self, measurement: Measurement);
    /// Whether the run is to end.
    fn cancelled(&self) -> bool;
}

/// Trains a workload as a request says, from the first step to the last.
pub fn train(
    workload: &dyn Workload,
    data: &Split,
    request: &TrialRequest,
    device: Device,
    observer: &mut dyn Observer,
) -> Result<(), Stop> {
    let description = workload.description();
    let hp = Hyperparameters::new(&description, &request.params)?;
    let mut run = Run::new(workload, data, hp, request, device);
    let result = run.steps(request.direction, observer);
    // What is there is worth keeping however the run ended; the first problem is the one to report.
    result.and(run.save_series())
}

struct Run<'a> {
    workload: &'a dyn Workload,
    data: &'a Split,
    hp: Hyperparameters,
    randomness: Randomness,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    objective: &'a str,
    directory: &'a Path,
    started: Instant,
    divergence: Divergence,
    unread: Vec<(u64, Tensor, Tensor)>,
    /// Losses since the last evaluation.
    losses: Vec<f64>,
    norms: Vec<f32>,
}

impl<'a> Run<'a> {
    fn new(
        workload: &'a dyn Workload,
        data: &'a Split,
        hp: Hyperparameters,
        request: &'a TrialRequest,
        device: Device,
    ) -> Self {
        let randomness = Randomness::new(request.seed);
        let (names, parameters) = workload
            .parameters(&hp, &randomness, device)
            .into_iter()
            .map(|(name, parameter)| (name, parameter.set_requires_grad(true)))
            .unzip();
        Self {
            workload,
            data,
            hp,
            randomness,
            names,
            parameters,
            objective: &request.objective,
            directory: &request.directory,
            started: Instant::now(),
            divergence: Divergence::default(),
            unread: vec![],
            losses: vec![],
            norms: vec![],
        }
    }

    fn steps(&mut self, direction: Direction, observer: &mut dyn Observer) -> Result<(), Stop> {
        let (steps, eval_every) = (self.hp.whole("steps") as u64, self.hp.whole("eval_every") as u64);
        let schedule = self.hp.schedule();
        let mut optimizer = Optimizer::new(self.hp.rule(), &self.parameters);
        let mut batches = Batches::new(&self.data.train, self.hp.whole("batch_size"), self.randomness);
        let mut best: Option<f64> = None;
        self.evaluate(0, schedule.at(0), direction, &mut best, observer)?;
        for step in 1..=steps {
            if observer.cancelled() {
                return Err(Stop::Cancelled);
            }
            let batch = batches.next();
            let lr = schedule.at(step - 1);
            forget_gradients(&self.parameters);
            let loss = self
                .workload
                .forward(&self.hp, &self.parameters, &batch.inputs)
                .f_cross_entropy(&batch.labels)
                .map_err(|error| Stop::from_message(&error.to_string()))?;
            loss.f_backward().map_err(|error| Stop::from_message(&error.to_string()))?;
            let norm = gradient_norm(&self.parameters).map_err(|message| Stop::from_message(&message))?;
            optimizer.step(&self.parameters, lr).map_err(|message| Stop::from_message(&message))?;
            self.unread.push((step, loss.detach(), norm));
            let evaluate = step % eval_every == 0 || step == steps;
            if evaluate || self.unread.len() as u64 >= READ_EVERY {
                self.read_back()?;
            }
            if evaluate {
                self.evaluate(step, lr, direction, &mut best, observer)?;
            }
        }
        self.save("last")
    }

    /// Reads what the steps left on the device, and looks for divergence.
    fn read_back(&mut self) -> Result<(), Stop> {
        let losses: Vec<f64> = read(self.unread.iter().map(|(_, loss, _)| loss));
        let norms: Vec<f64> = read(self.unread.iter().map(|(_, _, norm)| norm));
        self.norms.extend(norms.iter().map(|norm| *norm as f32));
        for ((step, _, _), loss) in std::mem::take(&mut self.unread).into_iter().zip(losses) {
            self.losses.push(loss);
            if let Some(reason) = self.divergence.observe(step, loss) {
                return Err(Stop::Infeasible(reason));
            }
        }
        Ok(())
    }

    fn evaluate(
        &mut self,
        step: u64,
        lr: f64,
        direction: Direction,
        best: &mut Option<f64>,
        observer: &mut dyn Observer,
    ) -> Result<(), Stop> {
        let (loss, error) = self.validate();
        let mut metrics: IndexMap<String, Option<f64>> = IndexMap::new();
        let mut metric = |name: &str, value: f64| {
            metrics.insert(name.into(), Some(value).filter(|v| v.is_finite()));
        };
        if !self.losses.is_empty() {
            metric("train/loss", self.losses.iter().sum::<f64>() / self.losses.len() as f64);
        }
        metric("valid/loss", loss);
        metric("valid/error", error);
        if let Some(norm) = self.norms.last() {
            metric("gradient_norm", f64::from(*norm));
        }
        metric("lr", lr);
        self.losses.clear();
        let objective = metrics.get(self.objective).copied();
        let seconds = self.started.elapsed().as_secs_f64();
        observer.measured(Measurement { step, seconds, metrics });
        match objective {
            Some(Some(value)) if best.is_none_or(|best| direction.better(value, best)) => {
                *best = Some(value);
                self.save("best")
            }
            Some(None) => Err(Stop::Infeasible(format!("`{}` became non-finite at step {step}", self.objective))),
            _ => Ok(()),
        }
    }

    /// Mean loss and error over the validation set; a partial last batch counts by its examples (Playbook H5).
    fn validate(&self) -> (f64, f64) {
        let Batch { inputs, labels } = &self.data.valid;
        let count = labels.size()[0];
        tch::no_grad(|| {
            let (mut loss, mut wrong) = (0.0, 0.0);
            for start in (0..count).step_by(EVALUATION_BATCH as usize) {
                let length = EVALUATION_BATCH.min(count - start);
                let (x, y) = (inputs.narrow(0, start, length), labels.narrow(0, start, length));
                let logits = self.workload.forward(&self.hp, &self.parameters, &x);
                loss += logits.cross_entropy_for_logits(&y).double_value(&[]) * length as f64;
                wrong += logits.argmax(-1, false).not_equal_tensor(&y).sum(Kind::Int64).int64_value(&[]) as f64;
            }
            let error = if loss.is_finite() { wrong / count as f64 } else { f64::NAN };
            (loss / count as f64, error)
        })
    }

    /// Writes the parameters as `NAME.safetensors`: whole, or not at all.
    fn save(&self, name: &str) -> Result<(), Stop> {
        let path = self.directory.join(format!("{name}.safetensors"));
        let partial = path.with_extension("partial");
        let cpu = |parameter: &Tensor| parameter.detach().to_device(Device::Cpu);
        let tensors: Vec<(&String, Tensor)> = self.names.iter().zip(self.parameters.iter().map(cpu)).collect();
        let problem =
            |what: String| Stop::Failed(format!("the checkpoint {} cannot be written: {what}", path.display()));
        Tensor::write_safetensors(&tensors, &partial).map_err(|error| problem(error.to_string()))?;
        std::fs::rename(&partial, &path).map_err(|error| problem(error.to_string()))
    }

    /// Writes the gradient norm of every step (Playbook I10).
    fn save_series(&self) -> Result<(), Stop> {
        let path = self.directory.join("gradient_norm.npy");
        Tensor::from_slice(&self.norms)
            .write_npy(&path)
            .map_err(|error| Stop::Failed(format!("{} cannot be written: {error}", path.display())))
    }
}

/// Scalars on a device, read in one go.
fn read<'t>(scalars: impl Iterator<Item = &'t Tensor>) -> Vec<f64> {
    let scalars: Vec<&Tensor> = scalars.collect();
    if scalars.is_empty() {
        return vec![];
    }
    let stacked = Tensor::stack(&scalars, 0).to_kind(Kind::Double).to_device(Device::Cpu);
    Vec::<f64>::try_from(&stacked).unwrap_or_default()
}

trait CrossEntropy {
    fn f_cross_entropy(&self, labels: &Tensor) -> Result<Tensor, tch::TchError>;
}

impl CrossEntropy for Tensor {
    /// Mean cross entropy of logits \[batch, classes\].
    fn f_cross_entropy(&self, labels: &Tensor) -> Result<Tensor, tch::TchError> {
        self.f_log_softmax(-1, Kind::Float)?.f_nll_loss(labels, None::<Tensor>, tch::Reduction::Mean, -100)
    }
}

/// Batches without end: each epoch in an order of its own, its incomplete last batch left out.
struct Batches<'a> {
    data: &'a Batch,
    size: i64,
    randomness: Randomness,
    epoch: u64,
    order: Option<Tensor>,
    next: i64,
}

impl<'a> Batches<'a> {
    fn new(data: &'a Batch, size: i64, randomness: Randomness) -> Self {
        Self { data, size: size.min(data.labels.size()[0]), randomness, epoch: 0, order: None, next: 0 }
    }

    fn next(&mut self) -> Batch {
        let count = self.data.labels.size()[0];
        let order = match self.order.take().filter(|_| self.next + self.size <= count) {
            Some(order) => order,
            None => {
                let order = self.randomness.permutation(self.epoch, count as usize);
                (self.epoch, self.next) = (self.epoch + 1, 0);
                Tensor::from_slice(&order).to_device(self.data.labels.device())
            }
        };
        let chosen = order.narrow(0, self.next, self.size);
        self.next += self.size;
        self.order = Some(order);
        Batch { inputs: self.data.inputs.index_select(0, &chosen), labels: self.data.labels.index_select(0, &chosen) }
    }
}
