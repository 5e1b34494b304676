//! The steps of a run by themselves, for probes.

use super::{Run, Stop};
use crate::batches::Batches;
use crate::data::{Data, Examples};
use crate::hyperparameters::Hyperparameters;
use crate::net::Phase;
use crate::randomness::Randomness;
use crate::workload::Workload;
use tch::{Device, Tensor};
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
