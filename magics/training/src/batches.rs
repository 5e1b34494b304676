//! The batches of a training run: which examples each step takes is a function of the seed and the step, so a resumed run
//! goes on with the batch that it would have had.

use crate::data::Examples;
use crate::randomness::Randomness;
use std::sync::mpsc::{Receiver, sync_channel};
use tch::{Device, Tensor};

/// How many batches wait ahead of a loader that does not sit on the device.
const AHEAD: usize = 3;

/// Gives batch after batch.
pub(crate) enum Batches {
    /// The data lie where the model computes: a batch is a gather.
    Resident(Order),
    /// The data lie in the host's memory: a thread gathers batches ahead into pinned memory, from which the copy to the
    /// device runs beside the computation.
    Prefetched {
        /// The batches, in order.
        batches: Receiver<Examples>,
        /// Where they go.
        device: Device,
    },
}

impl Batches {
    /// Batches of `size` examples from the step `first` on, which counts from 0.
    pub fn new(examples: &Examples, size: i64, randomness: Randomness, device: Device, first: u64) -> Self {
        let examples = Examples { inputs: examples.inputs.shallow_clone(), targets: examples.targets.shallow_clone() };
        // A CPU's data always lie where it computes; `TUNEBOOK_DATA=host` uses the loader all the same.
        let resident = examples.inputs.device() == device && (device.is_cuda() || !stays_on_host());
        let mut order = Order { examples, size, randomness, step: first, epoch: None };
        if resident {
            return Self::Resident(order);
        }
        let (sender, batches) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            loop {
                let pinned = order.next().pinned(device);
                if sender.send(pinned).is_err() {
                    break;
                }
            }
        });
        Self::Prefetched { batches, device }
    }

    /// The next batch, on the device.
    pub fn next(&mut self) -> Result<Examples, String> {
        let made = self.make()?;
        Ok(match self {
            Self::Resident(_) => made,
            Self::Prefetched { device, .. } => made.begin_copy(*device),
        })
    }

    /// The next batch, where the loader puts it.
    pub fn make(&mut self) -> Result<Examples, String> {
        match self {
            Self::Resident(order) => Ok(order.next()),
            Self::Prefetched { batches, .. } => batches.recv().map_err(|_| "the loader ended".to_string()),
        }
    }

    /// Whether batches are made ahead of their step.
    pub fn are_made_ahead(&self) -> bool {
        matches!(self, Self::Prefetched { .. })
    }
}

/// Whether `TUNEBOOK_DATA` says that data stay in the host's memory.
pub(crate) fn stays_on_host() -> bool {
    std::env::var("TUNEBOOK_DATA").is_ok_and(|place| place == "host")
}

/// Each epoch has an order of its own; its incomplete last batch is left out.
pub(crate) struct Order {
    examples: Examples,
    size: i64,
    randomness: Randomness,
    step: u64,
    epoch: Option<(u64, Tensor)>,
}

impl Order {
    fn next(&mut self) -> Examples {
        let count = self.examples.count();
        let in_epoch = (count / self.size).max(1) as u64;
        let (epoch, place) = (self.step / in_epoch, (self.step % in_epoch) as i64);
        self.step += 1;
        let order = match self.epoch.take().filter(|(known, _)| *known == epoch) {
            Some((_, order)) => order,
            None => {
                let order = self.randomness.permutation(epoch, count as usize);
                Tensor::from_slice(&order).to_device(self.examples.targets.device())
            }
        };
        let batch = self.examples.select(&order.narrow(0, place * self.size, self.size.min(count)));
        self.epoch = Some((epoch, order));
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn examples() -> Examples {
        let all = Tensor::arange(10, (Kind::Int64, Device::Cpu));
        Examples::new(all.shallow_clone(), all).unwrap()
    }

    fn taken(first: u64, batches: usize) -> Vec<Vec<i64>> {
        let mut order = Batches::new(&examples(), 3, Randomness::new(1), Device::Cpu, first);
        (0..batches).map(|_| Vec::try_from(order.next().unwrap().targets).unwrap()).collect()
    }

    #[test]
    fn an_epoch_takes_each_example_at_most_once_and_the_next_one_another_order() {
        let batches = taken(0, 6);
        for epoch in [&batches[..3], &batches[3..]] {
            let mut seen = epoch.concat();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 9);
        }
        assert_ne!(batches[..3], batches[3..]);
    }

    #[test]
    fn a_step_has_its_batch_wherever_one_begins() {
        assert_eq!(taken(0, 8)[4..], taken(4, 4));
    }
}
