//! The batches of a training run. Which examples a step takes is a function of the seed and the step, so a resumed run
//! continues with the batch that an unbroken run would have had.

use crate::data::Examples;
use crate::randomness::Randomness;
use std::sync::mpsc::{Receiver, sync_channel};
use tch::{Device, Tensor};

/// How many batches the loader thread prepares ahead.
const PREFETCHED: usize = 3;

/// An endless sequence of batches.
pub(crate) enum Batches {
    /// The data are on the device that computes. A batch is gathered there when it is needed.
    Resident(ShuffledExamples),
    /// The data are in the host's memory. A loader thread gathers batches ahead into pinned memory, from which they are
    /// copied to the device while it computes.
    Prefetched {
        /// The prepared batches, in the order of the steps.
        batches: Receiver<Examples>,
        /// The device that they are copied to.
        device: Device,
    },
}

impl Batches {
    /// Starts a sequence of batches of `size` examples at the step `first`, counted from 0.
    pub fn new(examples: &Examples, size: i64, randomness: Randomness, device: Device, first: u64) -> Self {
        let examples = examples.map(Tensor::shallow_clone, Tensor::shallow_clone);
        // On a CPU the data are always where it computes; with `TUNEBOOK_DATA=host` the loader is used nevertheless.
        let resident = examples.inputs.device() == device && (device.is_cuda() || !keeps_data_on_host());
        let mut shuffled = ShuffledExamples { examples, size, randomness, step: first, epoch: None };
        if resident {
            return Self::Resident(shuffled);
        }
        let (sender, batches) = sync_channel(PREFETCHED);
        std::thread::spawn(move || {
            loop {
                let pinned = shuffled.next().pinned(device);
                if sender.send(pinned).is_err() {
                    break;
                }
            }
        });
        Self::Prefetched { batches, device }
    }

    /// Returns the next batch on the device that computes.
    pub fn next(&mut self) -> Result<Examples, String> {
        let loaded = self.load()?;
        Ok(match self {
            Self::Resident(_) => loaded,
            Self::Prefetched { device, .. } => loaded.begin_copy(*device),
        })
    }

    /// Returns the next batch before it is copied to the device.
    pub fn load(&mut self) -> Result<Examples, String> {
        match self {
            Self::Resident(shuffled) => Ok(shuffled.next()),
            Self::Prefetched { batches, .. } => {
                batches.recv().map_err(|_| "the thread that loads batches ended".into())
            }
        }
    }

    /// Returns whether a loader thread prepares the batches ahead of their steps.
    pub fn is_prefetched(&self) -> bool {
        matches!(self, Self::Prefetched { .. })
    }
}

/// Returns whether `TUNEBOOK_DATA=host` asks to keep the data in the host's memory.
pub(crate) fn keeps_data_on_host() -> bool {
    std::env::var("TUNEBOOK_DATA").is_ok_and(|place| place == "host")
}

/// The training examples in a new random order in each epoch. Examples that do not fill a last batch are left out of
/// their epoch.
pub(crate) struct ShuffledExamples {
    examples: Examples,
    size: i64,
    randomness: Randomness,
    step: u64,
    /// The current epoch and its order of the examples.
    epoch: Option<(u64, Tensor)>,
}

impl ShuffledExamples {
    fn next(&mut self) -> Examples {
        let count = self.examples.count();
        let batches_per_epoch = (count / self.size).max(1) as u64;
        let (epoch, batch) = (self.step / batches_per_epoch, (self.step % batches_per_epoch) as i64);
        self.step += 1;
        let order = match self.epoch.take().filter(|(known, _)| *known == epoch) {
            Some((_, order)) => order,
            None => {
                let order = self.randomness.permutation(epoch, count as usize);
                Tensor::from_slice(&order).to_device(self.examples.targets.device())
            }
        };
        let examples = self.examples.select(&order.narrow(0, batch * self.size, self.size.min(count)));
        self.epoch = Some((epoch, order));
        examples
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

    /// Returns the examples of some batches of 3, from the step `first` on.
    fn taken(first: u64, count: usize) -> Vec<Vec<i64>> {
        let mut batches = Batches::new(&examples(), 3, Randomness::new(1), Device::Cpu, first);
        (0..count).map(|_| Vec::try_from(batches.next().unwrap().targets).unwrap()).collect()
    }

    #[test]
    fn an_epoch_takes_each_example_at_most_once_in_an_order_of_its_own() {
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
    fn the_batch_of_a_step_does_not_depend_on_the_first_step() {
        assert_eq!(taken(0, 8)[4..], taken(4, 4));
    }
}
