//! Measures what a training step spends its time on: each stage is timed by itself (Playbook B4).

use crate::batches::Batches;
use crate::data::Examples;
use crate::libtorch::synchronize;
use crate::trainer::{Stepper, Stop};
use std::time::{Duration, Instant};
use tch::Device;
use tunebook_study::probe::StageSeconds;

/// The stages of a step. Each can be executed alone.
pub(super) trait Stages {
    /// Makes a batch: loads and augments it.
    fn input(&mut self) -> Result<(), Stop>;
    /// Copies a batch to the device. It returns false if nothing has to be copied.
    fn transfer(&mut self) -> Result<bool, Stop>;
    /// Executes the forward pass, backward pass and update for a batch that is on the device already.
    fn compute(&mut self) -> Result<(), Stop>;
    /// Executes a whole step as training does.
    fn full(&mut self) -> Result<(), Stop>;
    /// Waits until the device has done all work that was submitted to it.
    fn synchronize(&self);
    /// Returns whether batches are made ahead, while the device computes.
    fn is_overlapped(&self) -> bool;
    /// Returns whether the host can submit work without waiting for the device.
    fn is_asynchronous(&self) -> bool;
}

/// Times all stages in turn, `visits` times, and returns the medians. In each visit a stage is executed at least
/// `block` times and for at least the duration `least`.
pub(super) fn time<S: Stages>(
    stages: &mut S,
    block: usize,
    visits: usize,
    least: Duration,
) -> Result<StageSeconds, Stop> {
    let (mut input, mut transfer, mut compute, mut full) = (vec![], vec![], vec![], vec![]);
    let mut issue = vec![];
    let copies = stages.transfer()?;
    for _ in 0..visits {
        input.push(time_stage(stages, block, least, Stages::input)?);
        if copies {
            transfer.push(time_stage(stages, block, least, |stages| stages.transfer().map(drop))?);
        }
        compute.push(time_stage(stages, block, least, Stages::compute)?);
        full.push(time_stage(stages, block, least, Stages::full)?);
        if stages.is_asynchronous() {
            stages.synchronize();
            let started = Instant::now();
            stages.compute()?;
            issue.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(StageSeconds {
        input: median(input).unwrap_or(0.0),
        transfer: median(transfer).unwrap_or(0.0),
        compute: median(compute).unwrap_or(0.0),
        full: median(full).unwrap_or(0.0),
        overlapped: stages.is_overlapped(),
        issue: median(issue),
    })
}

/// Executes a stage at least `block` times and for at least the duration `least`, and returns the seconds per
/// execution.
fn time_stage<S: Stages>(
    stages: &mut S,
    block: usize,
    least: Duration,
    mut stage: impl FnMut(&mut S) -> Result<(), Stop>,
) -> Result<f64, Stop> {
    // The host may run far ahead of the device. One execution that is waited for tells how many of them last long
    // enough.
    stages.synchronize();
    let first = Instant::now();
    stage(stages)?;
    stages.synchronize();
    let enough = least.as_secs_f64() / first.elapsed().as_secs_f64().max(1e-9);
    let count = block.max(enough.min(1e6) as usize + 1);
    let started = Instant::now();
    for _ in 0..count {
        stage(stages)?;
    }
    stages.synchronize();
    Ok(started.elapsed().as_secs_f64() / count as f64)
}

/// Returns the median, or None if there are no values.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The stages of a workload's training step.
pub(super) struct StepStages<'a, 'w> {
    pub stepper: &'a mut Stepper<'w>,
    pub batches: Batches,
    /// A batch in the host's memory, as the loader leaves it.
    pub host: Examples,
    /// The same batch on the device, after augmentation.
    pub augmented: Examples,
    pub device: Device,
}

impl Stages for StepStages<'_, '_> {
    fn input(&mut self) -> Result<(), Stop> {
        let batch = self.batches.load()?;
        let _ = self.stepper.augment(&batch);
        Ok(())
    }

    fn transfer(&mut self) -> Result<bool, Stop> {
        if !self.device.is_cuda() {
            return Ok(false);
        }
        let _ = self.host.begin_copy(self.device);
        Ok(true)
    }

    fn compute(&mut self) -> Result<(), Stop> {
        self.stepper.step(&self.augmented, false)
    }

    fn full(&mut self) -> Result<(), Stop> {
        let batch = self.batches.next()?;
        self.stepper.step(&batch, true)
    }

    fn synchronize(&self) {
        synchronize(self.device);
    }

    fn is_overlapped(&self) -> bool {
        self.batches.is_prefetched()
    }

    fn is_asynchronous(&self) -> bool {
        self.device.is_cuda()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose stages sleep for given times. If it has a device, `compute` returns at once while the device
    /// works on.
    struct Simulated {
        milliseconds: [u64; 3],
        overlapped: bool,
        /// The time at which the device will be idle; None if the host itself computes.
        device: Option<std::cell::Cell<Instant>>,
        /// Whether `compute` waits for the device, as reading a value back does.
        reads_back: bool,
    }

    impl Simulated {
        fn execute(&self, stage: usize) {
            let time = Duration::from_millis(self.milliseconds[stage]);
            match &self.device {
                Some(idle_at) if stage == 2 => idle_at.set(idle_at.get().max(Instant::now()) + time),
                _ => std::thread::sleep(time),
            }
        }
    }

    impl Stages for Simulated {
        fn input(&mut self) -> Result<(), Stop> {
            self.execute(0);
            Ok(())
        }
        fn transfer(&mut self) -> Result<bool, Stop> {
            self.execute(1);
            Ok(self.milliseconds[1] > 0)
        }
        fn compute(&mut self) -> Result<(), Stop> {
            self.execute(2);
            if self.reads_back {
                self.synchronize();
            }
            Ok(())
        }
        fn full(&mut self) -> Result<(), Stop> {
            match self.overlapped {
                true => {
                    let [input, transfer, compute] = self.milliseconds;
                    std::thread::sleep(Duration::from_millis(input.max(transfer + compute)));
                }
                false => (0..3).for_each(|stage| self.execute(stage)),
            }
            Ok(())
        }
        fn synchronize(&self) {
            if let Some(idle_at) = &self.device {
                std::thread::sleep(idle_at.get().saturating_duration_since(Instant::now()));
            }
        }
        fn is_overlapped(&self) -> bool {
            self.overlapped
        }
        fn is_asynchronous(&self) -> bool {
            self.device.is_some()
        }
    }

    fn measured(milliseconds: [u64; 3], overlapped: bool, gpu: bool, reads_back: bool) -> StageSeconds {
        let device = gpu.then(|| std::cell::Cell::new(Instant::now()));
        time(&mut Simulated { milliseconds, overlapped, device, reads_back }, 1, 3, Duration::from_millis(1)).unwrap()
    }

    /// Returns whether a stage took as long as its sleep, which never ends early, but late on a busy machine.
    fn lasts(seconds: f64, milliseconds: u64) -> bool {
        seconds >= 0.001 * milliseconds as f64 && seconds < 0.001 * milliseconds as f64 + 0.02
    }

    #[test]
    fn each_stage_is_timed_by_itself() {
        for slowest in 0..3 {
            let mut milliseconds = [1, 1, 1];
            milliseconds[slowest] = 30;
            let StageSeconds { input, transfer, compute, full, issue, .. } =
                measured(milliseconds, false, false, false);
            assert!(lasts(input, milliseconds[0]) && lasts(transfer, milliseconds[1]), "{input} {transfer}");
            assert!(lasts(compute, milliseconds[2]) && lasts(full, 32), "{compute} {full}");
            assert_eq!(issue, None);
        }
        let overlapped = measured([30, 2, 10], true, false, false);
        assert!(overlapped.overlapped && lasts(overlapped.full, 30), "{overlapped:?}");
    }

    #[test]
    fn reading_back_holds_the_host_for_the_whole_step() {
        let free = measured([0, 0, 30], false, true, false);
        assert!(lasts(free.compute, 30) && free.issue.unwrap() < 0.015, "{free:?}");
        let held = measured([0, 0, 30], false, true, true);
        assert!(held.issue.unwrap() >= 0.03, "{held:?}");
    }
}
