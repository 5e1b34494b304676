//! One training step: forward and backward passes, clipping, and the update of the parameters.

use super::Stop;
use super::run::Run;
use crate::data::Examples;
use crate::evaluation::read_scalars;
use crate::libtorch::{average_step, clip_gradients, forget_gradients, gradient_norm};
use crate::net::{Net, Phase};
use crate::randomness::{Randomness, Stream};
use tch::Tensor;

/// The loss and the gradient norm of a step while they are still on the device.
pub(super) struct UnreadStep {
    step: u64,
    loss: Tensor,
    norm: Tensor,
}

impl Run<'_> {
    /// Takes one step, whose number counts from 1, in passes of at most `micro_batch_size` examples. Loss and gradient
    /// norm stay on the device. Without `augment`, the inputs are used as they are.
    pub fn step(
        &mut self,
        step: u64,
        lr: f64,
        batch: &Examples,
        micro_batch_size: i64,
        augment: bool,
    ) -> Result<(), Stop> {
        // Random numbers that the code draws from libtorch itself follow from seed and step, so that a run that resumes
        // draws the same. Layers of Tunebook have keys of their own.
        Randomness::new(self.request.seed).seed_device(Stream::Own, step, 0);
        let parameters = self.parameters.as_slice();
        forget_gradients(parameters);
        let count = batch.count();
        let mut loss: Option<Tensor> = None;
        for (number, start) in (0..count).step_by(micro_batch_size as usize).enumerate() {
            let length = micro_batch_size.min(count - start);
            let net = self.model.net(Phase::Train { step }).micro_batch(number as u64);
            let micro_batch = if length == count { None } else { Some(batch.narrow(start, length)) };
            let micro_batch = micro_batch.as_ref().unwrap_or(batch);
            let share = self.backward(&net, micro_batch, augment, length as f64 / count as f64)?;
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
            // With the full decay the average of the first steps would consist mostly of the initial parameters.
            let decay = decay.min(step as f64 / (step as f64 + 10.0));
            average_step(averages, parameters, decay)?;
        }
        self.state.noise.pair_with(&norm);
        if let Some(loss) = loss {
            self.unread.push(UnreadStep { step, loss, norm });
        }
        Ok(())
    }

    /// Returns the loss of a micro-batch times `weight`, its share of the batch, and adds its gradient to the gradients
    /// that the parameters hold.
    pub fn backward(&self, net: &Net<'_>, examples: &Examples, augment: bool, weight: f64) -> Result<Tensor, Stop> {
        let outputs = match augment {
            true => self.model.forward(net, &examples.inputs),
            false => self.model.forward_without_augmentation(net, &examples.inputs),
        };
        let mut loss = self.workload.loss(net, &outputs, &examples.targets);
        if weight < 1.0 {
            loss = &loss * weight;
        }
        loss.f_backward().map_err(|error| Stop::from_message(&error.to_string()))?;
        Ok(loss.detach())
    }

    /// Copies the losses and norms of the last steps from the device, and ends the run if it has diverged.
    pub fn read_back(&mut self) -> Result<(), Stop> {
        self.state.noise.read_back();
        let losses = read_scalars(self.unread.iter().map(|unread| &unread.loss));
        let norms = read_scalars(self.unread.iter().map(|unread| &unread.norm));
        self.norms.extend(norms.iter().map(|norm| *norm as f32));
        for (unread, loss) in std::mem::take(&mut self.unread).into_iter().zip(losses) {
            self.losses.push(loss);
            if let Some(reason) = self.state.divergence.observe(unread.step, loss) {
                return Err(Stop::Infeasible(reason));
            }
        }
        Ok(())
    }
}
