//! The steps of a run by themselves, for probes.

use super::{Run, Stop};
use crate::batches::Batches;
use crate::data::{Data, Examples};
use crate::hyperparameters::Hyperparameters;
use crate::net::Phase;
use crate::randomness::{Randomness, Stream};
use crate::workload::Workload;
use rand_chacha::rand_core::Rng;
use tch::{Device, Tensor};
use tunebook_study::probe::NormPair;
use tunebook_study::protocol::TrialRequest;

/// Steps that are taken for their own sake: what a probe measures. Nothing is evaluated, read back or saved.
pub(crate) struct Steps<'a> {
    run: Run<'a>,
    taken: u64,
}

impl<'a> Steps<'a> {
    /// Of a model with these hyperparameters; the batch size is that of each batch.
    pub fn new(
        workload: &'a dyn Workload,
        data: &'a Data,
        hp: Hyperparameters,
        request: &'a TrialRequest,
        device: Device,
    ) -> Result<Self, Stop> {
        Ok(Self { run: Run::new(workload, data, hp, request, device, &[])?, taken: 0 })
    }

    /// The batches of a size, as a run of that size has them.
    pub fn batches(&self, size: i64) -> Batches {
        Batches::new(&self.run.data.train, size, Randomness::new(self.run.request.seed), self.run.device, 0)
    }

    /// One step of training. `augment`: with the variations of the inputs, or on the batch as it is.
    pub fn step(&mut self, batch: &Examples, augment: bool) -> Result<(), Stop> {
        self.taken += 1;
        let lr = self.run.schedule.at(0);
        let micro = Some(self.run.model.hyperparameters().get::<i64>("micro_batch_size")).filter(|size| *size > 0);
        self.run.step(self.taken, lr, batch, micro.unwrap_or(batch.count()), augment)?;
        self.run.unread.clear();
        Ok(())
    }

    /// One step as a trial takes it: with the learning rate of its place in the schedule.
    pub fn train(&mut self, batch: &Examples) -> Result<(), Stop> {
        self.taken += 1;
        let lr = self.run.schedule.at(self.taken - 1);
        let micro = Some(self.run.model.hyperparameters().get::<i64>("micro_batch_size")).filter(|size| *size > 0);
        self.run.step(self.taken, lr, batch, micro.unwrap_or(batch.count()), true)?;
        self.run.unread.clear();
        Ok(())
    }

    /// The norms of the gradients of a large batch and of its equal parts, of `small` examples each, drawn with replacement.
    pub fn noise(&self, draw: u64, small: u64, large: u64) -> Result<NormPair, Stop> {
        let train = &self.run.data.train;
        let mut generator =
            Randomness::new(self.run.request.seed).generator(Stream::Splitting, 1 + self.taken, 1 + draw);
        let count = train.count() as u64;
        let mut parts = vec![];
        for _ in 0..large / small {
            let drawn: Vec<i64> =
                (0..small).map(|_| ((u128::from(generator.next_u64()) * u128::from(count)) >> 64) as i64).collect();
            let indices = Tensor::from_slice(&drawn).to_device(train.targets.device());
            parts.push(train.select(&indices).to_device(self.run.device));
        }
        self.run.norms_of(self.taken + 1, &parts)
    }

    /// The inputs of a batch as a step of training varies them.
    pub fn augment(&self, batch: &Examples) -> Tensor {
        let net = self.run.model.net(Phase::Train { step: self.taken });
        self.run.workload.augment(&net, &batch.inputs)
    }

    /// The outputs for a batch, as an evaluation has them.
    pub fn evaluate(&self, batch: &Examples) -> Tensor {
        self.run.model.predict(&batch.inputs)
    }
}
