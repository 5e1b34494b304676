//! Single training steps for probes, which measure them.

use super::Stop;
use super::run::Run;
use crate::batches::Batches;
use crate::checkpoint;
use crate::data::{Data, Examples};
use crate::hyperparameters::Hyperparameters;
use crate::net::Phase;
use crate::randomness::{Randomness, Stream};
use crate::workload::Workload;
use rand_chacha::rand_core::Rng;
use tch::{Device, Tensor};
use tunebook_study::probe::NormPair;
use tunebook_study::protocol::TrialRequest;

/// Takes training steps one by one. It evaluates only when asked to, copies nothing back from the device, and writes no
/// files.
pub(crate) struct Stepper<'a> {
    run: Run<'a>,
    taken: u64,
}

impl<'a> Stepper<'a> {
    /// Creates the model and its optimizer. The `batch_size` among the hyperparameters has no effect on the steps.
    pub fn new(
        workload: &'a dyn Workload,
        data: &'a Data,
        hp: Hyperparameters,
        request: &'a TrialRequest,
        device: Device,
    ) -> Result<Self, Stop> {
        Ok(Self { run: Run::new(workload, data, hp, request, device, &[])?, taken: 0 })
    }

    /// Returns the batches that a run with this batch size would have.
    pub fn batches(&self, size: i64) -> Batches {
        Batches::new(
            &self.run.data.train,
            size,
            Randomness::of(self.run.request.seed, self.run.model.hyperparameters()),
            self.run.device,
            0,
        )
    }

    /// Takes a step with the learning rate of the first step of the schedule, with or without augmentation of the
    /// inputs.
    pub fn step(&mut self, batch: &Examples, augment: bool) -> Result<(), Stop> {
        self.step_with(self.run.schedule.at(0), batch, augment)?;
        self.run.unread.clear();
        Ok(())
    }

    /// Evaluates the untrained model, as a trial does: [`diverged`](Self::diverged) compares the losses with it.
    pub fn evaluate_untrained(&mut self) -> Result<(), Stop> {
        let values = self.run.evaluator.evaluate(&self.run.model, &self.run.data.valid)?;
        let loss = values.iter().find(|(name, _)| *name == "loss").map(|(_, loss)| *loss);
        self.run.state.divergence.observe_untrained(loss.filter(|loss| loss.is_finite()));
        Ok(())
    }

    /// Takes the next step as a trial does, with the learning rate that the schedule has for it. Its loss is kept for
    /// [`diverged`](Self::diverged).
    pub fn scheduled_step(&mut self, batch: &Examples) -> Result<(), Stop> {
        self.step_with(self.run.schedule.at(self.taken), batch, true)
    }

    /// Reads the losses of the scheduled steps. It returns the reason if the training has diverged, as a trial ends.
    pub fn diverged(&mut self) -> Option<String> {
        let outcome = self.run.read_back();
        self.run.losses.clear();
        match outcome {
            Err(Stop::Infeasible(reason)) => Some(reason),
            _ => None,
        }
    }

    fn step_with(&mut self, lr: f64, batch: &Examples, augment: bool) -> Result<(), Stop> {
        self.taken += 1;
        let micro_batch_size = self.run.model.hyperparameters().micro_batch_size(batch.count());
        self.run.step(self.taken, lr, batch, micro_batch_size, augment)
    }

    /// Returns the squared gradient norms of a large batch of `large` examples and of its equal parts of `small`
    /// examples. The examples are drawn with replacement; `draw` numbers the draws between two steps.
    pub fn norm_pair(&self, draw: u64, small: u64, large: u64) -> Result<NormPair, Stop> {
        let train = &self.run.data.train;
        let mut generator =
            Randomness::new(self.run.request.seed).generator(Stream::Splitting, 1 + self.taken, 1 + draw);
        let count = train.count() as u64;
        let mut small_batches = vec![];
        for _ in 0..large / small {
            let drawn: Vec<i64> =
                (0..small).map(|_| ((u128::from(generator.next_u64()) * u128::from(count)) >> 64) as i64).collect();
            let indices = Tensor::from_slice(&drawn).to_device(train.targets.device());
            small_batches.push(train.select(&indices).to_device(self.run.device));
        }
        self.run.norm_pair(self.taken + 1, &small_batches)
    }

    /// Returns the inputs of a batch after the augmentation of a training step.
    pub fn augment(&self, batch: &Examples) -> Tensor {
        let net = self.run.model.net(Phase::Train { step: self.taken });
        self.run.workload.augment(&net, &batch.inputs)
    }

    /// Writes a checkpoint and removes it, which needs memory that a step does not. It fails if memory runs out.
    /// Whether the temporary folder can hold it says nothing about the folder of a trial.
    pub fn try_checkpoint(&self) -> Result<(), Stop> {
        let path = std::env::temp_dir().join(format!("tunebook-probe-{}.safetensors", std::process::id()));
        let written = checkpoint::write(&path, self.run.model.parameters().named());
        for file in [path.with_extension("partial"), path] {
            let _ = std::fs::remove_file(file);
        }
        match written.map_err(Stop::from) {
            Err(stop @ Stop::Infeasible(_)) => Err(stop),
            _ => Ok(()),
        }
    }

    /// Returns the outputs for a batch, computed as in an evaluation.
    pub fn predict(&self, batch: &Examples) -> Tensor {
        self.run.model.predict(&batch.inputs)
    }
}
