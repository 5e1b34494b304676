//! Measures how long steps of different batch sizes take.

use super::{Probe, answer, stages};
use crate::batches::Batches;
use crate::libtorch::synchronize;
use crate::trainer::Stop;
use std::time::{Duration, Instant};
use tch::Device;
use tunebook_study::probe::ProbeAnswer;

/// The number of steps in a block of the warm-up.
const WARM_UP_BLOCK: usize = 5;
/// The number of steps after which the warm-up may end even if the time of a step still changes.
const WARM_UP_STEPS: usize = 10;
/// The duration of a block of steps. It is long enough that reading the clock takes no noticeable share of it, and
/// short enough that a block in which another process had the processor stands out.
const BLOCK: Duration = Duration::from_millis(10);
/// How many times each batch size is visited.
const VISITS: usize = 5;
/// The shortest duration of a visit.
const VISIT: Duration = Duration::from_millis(400);
/// The smallest number of steps in a visit.
const VISIT_STEPS: usize = 4;
/// The duration after which a visit ends even if it has fewer steps.
const VISIT_AT_MOST: Duration = Duration::from_secs(4);

impl Probe<'_> {
    /// Times training steps, or evaluation steps, of each batch size. The sizes, in ascending order, are visited in
    /// turn, upwards and downwards, so that a machine whose speed drifts treats them all alike.
    pub(super) fn time(&mut self, sizes: &[u64], evaluate: bool) -> Result<(), Stop> {
        let mut warm: Vec<(u64, Batches, usize)> = vec![];
        // The largest size comes first: the others reuse the memory that libtorch's allocator then holds.
        for size in sizes.iter().rev() {
            let mut batches = self.batches(*size)?;
            match self.warm_up(&mut batches, evaluate) {
                Ok(block) => warm.push((*size, batches, block)),
                Err(Stop::Infeasible(reason)) => answer(&ProbeAnswer::OutOfMemory { batch_size: *size, reason }),
                Err(stop) => return Err(stop),
            }
        }
        for _ in 0..VISITS {
            warm.reverse();
            for (size, batches, block) in &mut warm {
                let (started, mut blocks) = (Instant::now(), vec![]);
                loop {
                    blocks.push(self.block(batches, *block, evaluate)?);
                    let (elapsed, taken) = (started.elapsed(), blocks.len() * *block);
                    if (elapsed >= VISIT && taken >= VISIT_STEPS) || elapsed >= VISIT_AT_MOST {
                        break;
                    }
                }
                answer(&ProbeAnswer::Timed { batch_size: *size, blocks });
            }
        }
        Ok(())
    }

    /// Times each stage of a training step by itself.
    pub(super) fn stages(&mut self, size: u64) -> Result<(), Stop> {
        let mut batches = self.batches(size)?;
        let block = self.warm_up(&mut batches, false)?;
        let batch = batches.next()?;
        let augmented = batch.map(|_| self.stepper.augment(&batch), tch::Tensor::shallow_clone);
        let host = batch.to_device(Device::Cpu).pinned(self.device);
        let device = self.device;
        let mut stages = stages::StepStages { stepper: &mut self.stepper, batches, host, augmented, device };
        answer(&ProbeAnswer::Stages { seconds: stages::time(&mut stages, block, VISITS, VISIT / 2)? });
        Ok(())
    }

    /// Takes steps until two blocks in a row take the same time within 5 %, or [`WARM_UP_STEPS`] steps and 50 ms. It
    /// returns how many steps last as long as [`BLOCK`].
    fn warm_up(&mut self, batches: &mut Batches, evaluate: bool) -> Result<usize, Stop> {
        let (mut last, mut taken) = (f64::INFINITY, 0);
        loop {
            let seconds = self.block(batches, WARM_UP_BLOCK, evaluate)?;
            taken += WARM_UP_BLOCK;
            if (seconds / last - 1.0).abs() < 0.05 || taken >= WARM_UP_STEPS && seconds * taken as f64 > 0.05 {
                return Ok(((BLOCK.as_secs_f64() / seconds).ceil() as usize).clamp(1, 10_000));
            }
            last = seconds;
        }
    }

    /// Takes some steps and returns the seconds per step.
    fn block(&mut self, batches: &mut Batches, steps: usize, evaluate: bool) -> Result<f64, Stop> {
        synchronize(self.device);
        let started = Instant::now();
        for _ in 0..steps {
            let batch = batches.next()?;
            if evaluate {
                let _ = self.stepper.predict(&batch);
            } else {
                self.stepper.step(&batch, true)?;
            }
        }
        synchronize(self.device);
        Ok(started.elapsed().as_secs_f64() / steps as f64)
    }
}
