//! What a step spends its time on: each stage is timed by itself, in turn with the others (Playbook B4).

use crate::batches::Batches;
use crate::data::Examples;
use crate::libtorch::synchronize;
use crate::trainer::{Steps, Stop};
use std::time::{Duration, Instant};
use tch::Device;
use tunebook_study::probe::StageSeconds;

/// The stages of a step, each of which can be taken alone.
pub(super) trait Stages {
    /// Makes a batch: loading, augmentation.
    fn input(&mut self) -> Result<(), Stop>;
    /// Copies a batch to the device; false where there is nothing to copy.
    fn transfer(&mut self) -> Result<bool, Stop>;
    /// Forward, backward and update on a batch that is there.
    fn compute(&mut self) -> Result<(), Stop>;
    /// A whole step, as training takes it.
    fn full(&mut self) -> Result<(), Stop>;
    /// Waits until the device has done all that it was given.
    fn synchronize(&self);
    /// Whether the input is made ahead, while the model computes.
    fn is_overlapped(&self) -> bool;
    /// Whether the host could run ahead of the device.
    fn is_asynchronous(&self) -> bool;
}

/// Medians over some visits of each stage, which last `least` or `block` turns, whichever is longer.
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
        input.push(timed(stages, block, least, Stages::input)?);
        if copies {
            transfer.push(timed(stages, block, least, |stages| stages.transfer().map(drop))?);
        }
        compute.push(timed(stages, block, least, Stages::compute)?);
        full.push(timed(stages, block, least, Stages::full)?);
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

/// Seconds of one turn of a piece of work.
fn timed<S: Stages>(
    stages: &mut S,
    block: usize,
    least: Duration,
    mut work: impl FnMut(&mut S) -> Result<(), Stop>,
) -> Result<f64, Stop> {
    // The host may run far ahead of the device, so one whole turn says how many of them last long enough.
    stages.synchronize();
    let first = Instant::now();
    work(stages)?;
    stages.synchronize();
    let enough = least.as_secs_f64() / first.elapsed().as_secs_f64().max(1e-9);
    let turns = block.max(enough.min(1e6) as usize + 1);
    let started = Instant::now();
    for _ in 0..turns {
        work(stages)?;
    }
    stages.synchronize();
    Ok(started.elapsed().as_secs_f64() / turns as f64)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Those of a workload's step.
pub(super) struct StepStages<'a, 'w> {
    pub steps: &'a mut Steps<'w>,
    pub batches: Batches,
    /// A batch as the loader leaves it.
    pub host: Examples,
    /// A batch as the model is given it.
    pub varied: Examples,
    pub device: Device,
}

impl Stages for StepStages<'_, '_> {
    fn input(&mut self) -> Result<(), Stop> {
        let batch = self.batches.make()?;
        let _ = self.steps.augment(&batch);
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
        self.steps.step(&self.varied, false)
    }

    fn full(&mut self) -> Result<(), Stop> {
        let batch = self.batches.next()?;
        self.steps.step(&batch, true)
    }

    fn synchronize(&self) {
        synchronize(self.device);
    }

    fn is_overlapped(&self) -> bool {
        self.batches.are_made_ahead()
    }

    fn is_asynchronous(&self) -> bool {
        self.device.is_cuda()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose stages sleep; the device works behind the host's back until it is waited for.
    struct Slow {
        milliseconds: [u64; 3],
        overlapped: bool,
        /// When the device will be idle; `None`: there is no device of its own.
        device: Option<std::cell::Cell<Instant>>,
        reads_back: bool,
    }

    impl Slow {
        fn on(&self, stage: usize) {
            let time = Duration::from_millis(self.milliseconds[stage]);
            match &self.device {
                Some(idle_at) if stage == 2 => idle_at.set(idle_at.get().max(Instant::now()) + time),
                _ => std::thread::sleep(time),
            }
        }
    }

    impl Stages for Slow {
        fn input(&mut self) -> Result<(), Stop> {
            self.on(0);
            Ok(())
        }
        fn transfer(&mut self) -> Result<bool, Stop> {
            self.on(1);
            Ok(self.milliseconds[1] > 0)
        }
        fn compute(&mut self) -> Result<(), Stop> {
            self.on(2);
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
                false => (0..3).for_each(|stage| self.on(stage)),
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
        time(&mut Slow { milliseconds, overlapped, device, reads_back }, 1, 3, Duration::from_millis(1)).unwrap()
    }

    /// A sleep never ends early, and on a busy machine it ends late.
    fn lasts(seconds: f64, milliseconds: u64) -> bool {
        seconds >= 0.001 * milliseconds as f64 && seconds < 0.001 * milliseconds as f64 + 0.02
    }

    #[test]
    fn each_stage_is_timed_by_itself() {
        for slow in 0..3 {
            let mut milliseconds = [1, 1, 1];
            milliseconds[slow] = 30;
            let StageSeconds { input, transfer, compute, full, issue, .. } =
                measured(milliseconds, false, false, false);
            assert!(lasts(input, milliseconds[0]) && lasts(transfer, milliseconds[1]), "{input} {transfer}");
            assert!(lasts(compute, milliseconds[2]) && lasts(full, 32), "{compute} {full}");
            assert_eq!(issue, None);
        }
        let ahead = measured([30, 2, 10], true, false, false);
        assert!(ahead.overlapped && lasts(ahead.full, 30), "{ahead:?}");
    }

    #[test]
    fn a_step_that_waits_for_its_gpu_holds_the_host_as_long_as_it_takes() {
        let free = measured([0, 0, 30], false, true, false);
        assert!(lasts(free.compute, 30) && free.issue.unwrap() < 0.015, "{free:?}");
        let held = measured([0, 0, 30], false, true, true);
        assert!(held.issue.unwrap() >= 0.03, "{held:?}");
    }
}
