//! One training run: its state, and the loop over its steps.

use super::noise_scale::NoiseScale;
use super::step::UnreadStep;
use super::{Observer, Stop, broadcast};
use crate::batches::Batches;
use crate::checkpoint;
use crate::data::Data;
use crate::evaluation::Evaluator;
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::Precision;
use crate::model::Model;
use crate::optimizer::Optimizer;
use crate::randomness::{Randomness, Stream, permutation};
use crate::schedule::Schedule;
use crate::workload::{Task, Workload};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use tunebook_study::divergence::Divergence;
use tunebook_study::protocol::{DataSource, FitRule, TrialRequest};
use tunebook_study::{ClassCount, Measurement};

/// The number of steps after which losses and norms are copied to the host at the latest.
const READ_EVERY: usize = 50;
/// The number of validation examples whose outputs are saved at each evaluation (Playbook H6).
const FOLLOWED_EXAMPLES: i64 = 32;
/// The largest count of numbers in all saved outputs of a run. It reduces the number of examples if their outputs are
/// large.
const FOLLOWED_NUMBERS: i64 = 4_000_000;

/// The part of a run's state that is not tensors. A checkpoint to resume from holds it as JSON.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct RunState {
    /// See [`identity`].
    pub identity: String,
    /// The number of steps that the checkpoint contains.
    pub steps: u64,
    /// The seconds that earlier runs of this trial took up to the checkpoint.
    pub seconds: f64,
    pub measurements: Vec<Measurement>,
    /// The objective and the step of each checkpoint that is kept, the best first.
    pub best: Vec<(f64, u64)>,
    pub divergence: Divergence,
    /// How many examples of each class the best checkpoint gets right.
    #[serde(default)]
    pub classes: Vec<ClassCount>,
    #[serde(default)]
    pub noise: NoiseScale,
}

/// A training run of one trial.
pub(super) struct Run<'a> {
    pub workload: &'a dyn Workload,
    pub data: &'a Data,
    pub model: Model<'a>,
    /// The parameters of the model, for the optimizer. They share their memory with the model's.
    pub parameters: Vec<Tensor>,
    pub optimizer: Optimizer,
    /// The Polyak averages of the parameters and their decay per step; None without averaging.
    pub averages: Option<(Vec<Tensor>, f64)>,
    pub schedule: Schedule,
    pub request: &'a TrialRequest,
    pub device: Device,
    pub started: Instant,
    pub state: RunState,
    pub clip_norm: f64,
    pub evaluator: Evaluator<'a>,
    pub unread: Vec<UnreadStep>,
    /// The training losses since the last evaluation.
    pub losses: Vec<f64>,
    /// The gradient norm of each step, before clipping.
    pub norms: Vec<f32>,
    /// The indices of the validation examples whose outputs are saved.
    pub followed: Tensor,
    /// The step of each evaluation and the outputs for the followed examples.
    pub outputs: Vec<(u64, Tensor)>,
    /// How many evaluations in a row have met the rule [`FitRule`] of the request, up to the last one.
    pub fits: usize,
}

impl<'a> Run<'a> {
    pub fn new(
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
        let randomness = Randomness::of(request.seed, &hp);
        let few = data.train.first(2).to_device(device);
        let model = Model::new(workload, hp, randomness, device, &few.inputs);
        let outputs = model.predict(&few.inputs);
        if workload.task() == Task::Classification && data.train.targets.kind() == Kind::Int64 {
            data.check_classes(outputs.size().last().copied().unwrap_or(0))?;
        }
        broadcast::check(workload, &model, &outputs, &data.train.targets)?;
        let numbers_per_example = (outputs.numel() as i64 / few.count().max(1)).max(1) * evaluations;
        let followed = (FOLLOWED_NUMBERS / numbers_per_example).clamp(1, FOLLOWED_EXAMPLES).min(data.valid.count());
        // A fixed seed: all trials of a study follow the same examples.
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
            state: RunState { identity, ..RunState::default() },
            clip_norm,
            evaluator: Evaluator::new(workload, device, batch_size, data),
            unread: vec![],
            losses: vec![],
            norms: vec![],
            followed: Tensor::from_slice(&order[..followed as usize]).to_device(data.valid.inputs.device()),
            outputs: vec![],
            fits: 0,
        })
    }

    /// Takes all steps, from the first one or from the checkpoint of an earlier run, and reports each evaluation.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<(), Stop> {
        let hp = self.model.hyperparameters();
        let (steps, eval_every): (u64, u64) = (hp.get("steps"), hp.get("eval_every"));
        let batch_size: i64 = hp.get("batch_size");
        let micro_batch_size = hp.micro_batch_size(batch_size);
        let save_every = match hp.get::<u64>("checkpoint_every") {
            0 => steps.div_ceil(10),
            every => every,
        };
        if self.keeps_files() {
            self.data.keep(&self.path(checkpoint::DATA))?;
        }
        let mut saved = 0;
        let fit = self.request.fit.clone();
        let next_fit = |step| fit.as_ref().and_then(|fit| fit.next(step));
        let mut next_evaluation = self.request.until.map(|until| until.next(0)).or_else(|| next_fit(0));
        if self.resume() {
            saved = self.state.steps;
            for measurement in self.state.measurements.clone() {
                observer.measured(measurement);
            }
        } else {
            self.evaluate(0, self.schedule.at(0), observer)?;
            let untrained = self.state.measurements.first().and_then(|first| *first.metrics.get("valid/loss")?);
            self.state.divergence.observe_untrained(untrained);
        }
        let randomness = Randomness::of(self.request.seed, self.model.hyperparameters());
        let first = self.state.steps;
        let mut batches = Batches::new(&self.data.train, batch_size, randomness, self.device, first);
        for step in first + 1..=steps {
            if observer.cancelled() {
                return Err(Stop::Cancelled);
            }
            let lr = self.schedule.at(step - 1);
            let batch = batches.next()?;
            if self.request.noise_every.is_some_and(|every| step % every == 0) {
                self.measure_noise(step, &batch, micro_batch_size)?;
            }
            self.step(step, lr, &batch, micro_batch_size, true)?;
            // A run with a target is evaluated when that can decide about the target, and not every `eval_every` steps.
            let due = next_evaluation.map_or(step % eval_every == 0, |next| step >= next);
            let evaluate = due || step == steps;
            if evaluate || self.unread.len() >= READ_EVERY {
                self.read_back()?;
            }
            if evaluate {
                let objective = self.evaluate(step, lr, observer)?;
                if self.fits >= FitRule::EVALUATIONS {
                    return Ok(());
                }
                next_evaluation = next_evaluation.and(next_fit(step)).or(next_evaluation);
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

    /// Returns whether the run writes checkpoints and series. A run that ends at a target, or when it fits, writes
    /// none: its only result is the number of steps.
    pub fn keeps_files(&self) -> bool {
        self.request.until.is_none() && self.request.fit.is_none()
    }
}

/// Returns a text of everything that the numbers of a run depend on. A run resumes from a checkpoint only if both have
/// the same text.
fn identity(hp: &Hyperparameters, request: &TrialRequest, device: Device, sources: &[DataSource]) -> String {
    let device = if device.is_cuda() { "cuda" } else { "cpu" };
    serde_json::json!({
        "tunebook": env!("CARGO_PKG_VERSION"), "libtorch": crate::libtorch::version(), "device": device,
        "workload": request.workload, "values": hp.known(), "seed": request.seed,
        "objective": request.objective, "direction": request.direction, "data": sources,
    })
    .to_string()
}
