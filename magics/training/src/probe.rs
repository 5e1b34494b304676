//! Probes: steps that are taken to be measured (Playbook B1, B2, B4). See [`tunebook_study::probe`].

mod stages;

use crate::batches::Batches;
use crate::catalogue::{Catalogue, Trainable};
use crate::data::{Data, Examples, begin_to_record, recorded};
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::{Autocast, accelerator_memory, device, synchronize};
use crate::panics;
use crate::trainer::{Steps, Stop};
use crate::worker::resident;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tch::Device;
use tunebook_study::probe::{MemoryUse, ProbeAnswer, ProbeRequest, ProbeTask};
use tunebook_study::protocol::{TrialId, TrialRequest};
use tunebook_study::{Value, WorkloadReference};

/// Steps of a probe for memory: the first makes the optimizer's state, the second shows what remains.
const FIT_STEPS: usize = 3;
/// Steps of a probe that verifies a size.
const VERIFY_STEPS: usize = 20;
/// Steps that warm a size up at least, unless two blocks of five agree before.
const WARM_STEPS: usize = 10;
/// A block of steps lasts about this long at least, so that a clock read costs nothing and a lost time slice shows.
const BLOCK: Duration = Duration::from_millis(10);
/// How often each size is visited, in turn.
const VISITS: usize = 5;
/// How long a visit lasts at least, with as many steps at least, and at most.
const VISIT: Duration = Duration::from_millis(400);
const VISIT_STEPS: usize = 4;
const VISIT_AT_MOST: Duration = Duration::from_secs(4);

/// Answers the request on standard input.
pub(crate) fn main(catalogue: &Catalogue) -> ExitCode {
    let request = std::io::read_to_string(std::io::stdin()).unwrap_or_default();
    let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let request: ProbeRequest =
            serde_json::from_str(&request).map_err(|error| Stop::Failed(format!("no request: {error}")))?;
        probe(catalogue, &request)
    }));
    let stop = match attempt {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(stop)) => stop,
        Err(_) => Stop::from_message(&panics::last().unwrap_or_else(|| "a panic".into())),
    };
    answer(&match stop {
        Stop::Infeasible(reason) => ProbeAnswer::OutOfMemory { batch_size: 0, reason },
        stop => ProbeAnswer::Failed { reason: stop.outcome().1.unwrap_or_default() },
    });
    ExitCode::SUCCESS
}

fn answer(answer: &ProbeAnswer) {
    if let Ok(text) = serde_json::to_string(answer) {
        println!("{text}");
    }
}

fn probe(catalogue: &Catalogue, request: &ProbeRequest) -> Result<(), Stop> {
    let name = &request.workload;
    let (Some(trainable), Some(description)) = (catalogue.find(name), catalogue.describe(name)) else {
        return Err(Stop::Failed(format!("this worker has no workload `{name}`")));
    };
    let Trainable::Workload(workload) = trainable else {
        return Err(Stop::Failed(format!("`{name}` is a training function: its steps are its own")));
    };
    let device = device().map_err(Stop::Failed)?;
    let mut params = request.params.clone();
    if !matches!(request.task, ProbeTask::Noise { .. }) {
        // The model does not depend on the batch size; a small one is within every domain.
        params.insert("batch_size".into(), Value::Int(1));
        for ghost in ["ghost_batch_size", "micro_batch_size"] {
            params.entry(ghost.into()).or_insert(Value::Int(0));
        }
    }
    let hp = Hyperparameters::new(&description, &params)?;
    begin_to_record();
    let data = resident(workload.data(&hp)?.checked()?, device);
    let files: Vec<String> = recorded().into_iter().map(|source| source.sha256).collect();
    answer(&ProbeAnswer::Loaded { examples: data.train.count() as u64, data: files.join(" ") });
    if request.task == ProbeTask::Load {
        return Ok(());
    }
    let trial = TrialRequest {
        trial: TrialId { study: "probe".into(), number: 1 },
        workload: WorkloadReference::Builtin { name: name.clone() },
        params: Default::default(),
        seed: 0,
        objective: description.objective.metric.clone(),
        direction: description.objective.direction,
        directory: std::env::temp_dir(),
        timeout: None,
        worker: None,
        until: None,
        noise_every: None,
    };
    let batch_size = hp.get("batch_size");
    let _precision = Autocast::begin(hp.precision());
    let mut probe = Probe { steps: Steps::new(workload.as_ref(), &data, hp, &trial, device)?, data: &data, device };
    let waiting = Waiting::begin();
    match &request.task {
        ProbeTask::Load => {}
        ProbeTask::Fit { batch_size } => probe.fit(*batch_size, FIT_STEPS)?,
        ProbeTask::Verify { batch_size } => probe.fit(*batch_size, VERIFY_STEPS)?,
        ProbeTask::Time { batch_sizes, evaluate } => probe.time(batch_sizes, *evaluate)?,
        ProbeTask::Stages { batch_size } => probe.stages(*batch_size)?,
        ProbeTask::Noise { at, pairs, small, large } => probe.noise(batch_size, at, *pairs, (*small, *large))?,
    }
    answer(&ProbeAnswer::Done { waited: waiting.share() });
    Ok(())
}

struct Probe<'a> {
    steps: Steps<'a>,
    data: &'a Data,
    device: Device,
}

impl Probe<'_> {
    fn fit(&mut self, size: u64, steps: usize) -> Result<(), Stop> {
        let mut batches = self.batches(size)?;
        for _ in 0..steps {
            let batch = batches.next()?;
            self.steps.step(&batch, true)?;
        }
        let valid = self.data.valid.first(size as i64).to_device(self.device);
        let _ = self.steps.evaluate(&valid);
        synchronize(self.device);
        answer(&ProbeAnswer::Fits { memory: memory(self.device)? });
        Ok(())
    }

    fn batches(&self, size: u64) -> Result<Batches, Stop> {
        let count = self.data.train.count();
        if size as i64 > count {
            return Err(Stop::Failed(format!("a batch of {size} is more than the {count} training examples")));
        }
        Ok(self.steps.batches(size as i64))
    }

    /// Visits the sizes upwards and downwards in turn, so that a machine whose speed drifts is fair to all.
    fn time(&mut self, sizes: &[u64], evaluate: bool) -> Result<(), Stop> {
        let mut warm: Vec<(u64, Batches, usize)> = vec![];
        // The largest first: what it leaves in the allocator serves the others.
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

    /// Takes steps until they are steady; gives how many make a block.
    fn warm_up(&mut self, batches: &mut Batches, evaluate: bool) -> Result<usize, Stop> {
        let (mut last, mut taken) = (f64::INFINITY, 0);
        loop {
            let seconds = self.block(batches, 5, evaluate)?;
            taken += 5;
            if (seconds / last - 1.0).abs() < 0.05 || taken >= WARM_STEPS && seconds * taken as f64 > 0.05 {
                return Ok(((BLOCK.as_secs_f64() / seconds).ceil() as usize).clamp(1, 10_000));
            }
            last = seconds;
        }
    }

    /// Seconds a step, over some steps.
    fn block(&mut self, batches: &mut Batches, steps: usize, evaluate: bool) -> Result<f64, Stop> {
        synchronize(self.device);
        let started = Instant::now();
        for _ in 0..steps {
            let batch = batches.next()?;
            if evaluate {
                let _ = self.steps.evaluate(&batch);
            } else {
                self.steps.step(&batch, true)?;
            }
        }
        synchronize(self.device);
        Ok(started.elapsed().as_secs_f64() / steps as f64)
    }

    /// Times each stage by itself, in turn.
    fn stages(&mut self, size: u64) -> Result<(), Stop> {
        let mut batches = self.batches(size)?;
        let block = self.warm_up(&mut batches, false)?;
        let cached = batches.next()?;
        let varied = Examples { inputs: self.steps.augment(&cached), targets: cached.targets.shallow_clone() };
        let host = cached.to_device(Device::Cpu).pinned(self.device);
        let device = self.device;
        let mut steps = stages::StepStages { steps: &mut self.steps, batches, host, varied, device };
        answer(&ProbeAnswer::Stages { seconds: stages::time(&mut steps, block, VISITS, VISIT / 2)? });
        Ok(())
    }

    /// Trains, and pauses at steps to measure the norms of gradients.
    fn noise(&mut self, batch_size: u64, at: &[u64], pairs: u64, (small, large): (u64, u64)) -> Result<(), Stop> {
        let mut batches = self.batches(batch_size)?;
        let mut taken = 0;
        for &step in at {
            while taken < step {
                self.steps.train(&batches.next()?)?;
                taken += 1;
            }
            let mut measured = vec![];
            for draw in 0..pairs {
                let pair = self.steps.noise(draw, small, large)?;
                if !(pair.small.is_finite() && pair.large.is_finite()) {
                    break;
                }
                measured.push(pair);
            }
            let diverged = (measured.len() as u64) < pairs;
            answer(&ProbeAnswer::Noise { step, pairs: measured });
            if diverged {
                break;
            }
        }
        Ok(())
    }
}

/// What this process used of each kind of memory that can run out, and what it could have had.
fn memory(device: Device) -> Result<Vec<MemoryUse>, Stop> {
    let mut uses = vec![];
    if let Device::Cuda(index) = device {
        let memory = accelerator_memory(index).map_err(Stop::Failed)?;
        // What it holds now is free for itself.
        let limit = memory.free + memory.peak;
        uses.push(MemoryUse { kind: "device".into(), used: memory.peak, limit, hard: true });
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb * 1024)
    };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let (Some(peak), Some(now), Some(free)) =
        (kilobytes(&status, "VmHWM:"), kilobytes(&status, "VmRSS:"), kilobytes(&meminfo, "MemAvailable:"))
    {
        let group = control_group_free().unwrap_or(u64::MAX);
        uses.push(MemoryUse { kind: "resident".into(), used: peak, limit: free.min(group) + now, hard: false });
    }
    let (soft, _) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_AS).unwrap_or((u64::MAX, u64::MAX));
    if let Some(peak) = kilobytes(&status, "VmPeak:").filter(|_| soft < u64::MAX) {
        uses.push(MemoryUse { kind: "address_space".into(), used: peak, limit: soft, hard: true });
    }
    Ok(uses)
}

/// Bytes that the control group of this process may still use, where it has a limit (version 2).
fn control_group_free() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let number = |file: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok()?.trim().parse().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// How long this thread waits for a processor that others have (Linux: the second number of `schedstat`).
struct Waiting {
    started: Instant,
    before: u64,
}

impl Waiting {
    fn begin() -> Self {
        Self { started: Instant::now(), before: Self::nanoseconds() }
    }

    fn share(&self) -> f64 {
        Self::nanoseconds().saturating_sub(self.before) as f64 / self.started.elapsed().as_nanos().max(1) as f64
    }

    fn nanoseconds() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}
