//! The loop that runs a study: proposals go to free slots, what trials report goes to the store and then on the screen.

use super::environment::environment;
use super::plan::SweepPlan;
use super::watch::Watch;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::Context;
use crossbeam_channel::{after, select};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tunebook_pool::{Pool, PoolEvent, default_slots};
use tunebook_study::protocol::{DataSource, Event, TrialId, TrialRequest};
use tunebook_study::sampler::trial_seed;
use tunebook_study::store::{NewTrial, StudyWriter, trials_folder};
use tunebook_study::{TrialState, Value, WorkloadReference};

/// How long trials have to end when the user interrupts.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(600);
/// How often a trial whose slot vanished is tried before it counts as failed.
const SLOT_LOSSES: u32 = 3;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All trials are there.
    Done,
    /// The user interrupted.
    Interrupted,
    /// The study's `--budget` is spent.
    OutOfBudget,
}

/// Runs the trials of these numbers. Whatever happens, no process is left behind and nothing recorded is lost.
pub fn run(
    context: &Context,
    plan: &SweepPlan,
    writer: &mut StudyWriter,
    numbers: Vec<u32>,
    live: &mut dyn Watch,
    interrupt: &Interrupt,
) -> Result<Ending> {
    let started = Instant::now();
    let mut pool = warm_pool(context, plan, writer)?;
    let mut run = Run {
        plan,
        writer,
        live,
        interrupt,
        folder: trials_folder(&context.settings.store, &plan.name)?,
        waiting: numbers.into_iter().rev().collect(),
        losses: HashMap::new(),
        data: vec![],
        started: HashMap::new(),
    };
    let result = run.trials(&mut pool, started);
    // Trials that still run (an interrupt, an error of the store) are ended and marked; they run again on resume.
    let cut_off: Vec<TrialId> = pool.running().cloned().collect();
    pool.cancel_all(INTERRUPT_PATIENCE);
    for trial in cut_off {
        let marked = run.finish(&trial, TrialState::Cancelled, Some("interrupted".into()), None);
        if result.is_ok() {
            marked?;
        }
    }
    let recorded = writer.add_seconds(started.elapsed().as_secs_f64());
    *context.pool.lock() = Some(pool);
    let ending = result?;
    recorded?;
    Ok(ending)
}

/// The slots of the last sweep if they are the right ones, else new ones.
fn warm_pool(context: &Context, plan: &SweepPlan, writer: &StudyWriter) -> Result<Pool> {
    let settings = &context.settings;
    let (devices, problem) = context.devices();
    if let (WorkloadReference::Builtin { .. } | WorkloadReference::Rust { .. }, Some(problem)) =
        (&plan.definition.workload, problem)
    {
        return Err(MagicError::new(ErrorName::WorkerError, problem, None));
    }
    let specs = default_slots(&devices, &settings.slot, &context.added_environment(), plan.options.parallel);
    let names: Vec<String> = specs.iter().map(|spec| spec.device.clone()).collect();
    writer.record_environment(&environment(devices.libtorch.as_deref(), &names))?;
    let kept = context.pool.lock().take();
    Ok(kept.filter(|pool| pool.specs() == specs).unwrap_or_else(|| Pool::new(specs)))
}

struct Run<'a> {
    plan: &'a SweepPlan,
    writer: &'a mut StudyWriter,
    live: &'a mut dyn Watch,
    interrupt: &'a Interrupt,
    folder: PathBuf,
    /// Numbers to run, the next one last.
    waiting: Vec<u32>,
    losses: HashMap<u32, u32>,
    data: Vec<DataSource>,
    started: HashMap<u32, Instant>,
}

impl Run<'_> {
    fn trials(&mut self, pool: &mut Pool, started: Instant) -> Result<Ending> {
        let budget = self.plan.options.budget;
        loop {
            while pool.has_free_slot() && !self.interrupt.is_raised() {
                let Some(number) = self.waiting.pop() else { break };
                self.hand_over(pool, number)?;
            }
            if pool.running().next().is_none() && self.waiting.is_empty() {
                return Ok(Ending::Done);
            }
            self.live.refresh();
            self.writer.renew()?;
            let rest = budget.map(|budget| budget.saturating_sub(started.elapsed()));
            let wake = rest.map_or(Duration::from_millis(500), |rest| rest.min(Duration::from_millis(500)));
            let messages = pool.channel().clone();
            select! {
                recv(messages) -> message => if let Ok(message) = message {
                    self.take(pool, message)?;
                    // What else has come meanwhile is stored before the next look at the screen.
                    while let Ok(message) = messages.try_recv() {
                        self.take(pool, message)?;
                    }
                },
                recv(self.interrupt.channel()) -> _ => return Ok(Ending::Interrupted),
                recv(after(wake)) -> _ => {}
            }
            if budget.is_some_and(|budget| started.elapsed() >= budget) {
                return Ok(Ending::OutOfBudget);
            }
        }
    }

    /// Writes a trial down and gives it to a slot.
    fn hand_over(&mut self, pool: &mut Pool, number: u32) -> Result<()> {
        let definition = &self.plan.definition;
        let configuration = (number - 1) / definition.repeats;
        let params = definition.sampler.propose(&definition.space, definition.seed, u64::from(configuration));
        let Some(params) = params else { return Ok(()) };
        // A study may declare the seed itself; otherwise each trial has one of its own.
        let declared = params.get("seed").and_then(Value::as_i64).and_then(|seed| u64::try_from(seed).ok());
        let seed = declared.unwrap_or_else(|| trial_seed(definition.seed, number));
        let trial = NewTrial { number, configuration, params: params.clone(), seed };
        self.writer.start(&trial)?;
        self.started.insert(number, Instant::now());
        self.live.started(&trial);
        let request = TrialRequest {
            trial: TrialId { study: self.plan.name.clone(), number },
            workload: definition.workload.clone(),
            params,
            seed,
            objective: definition.objective.metric.clone(),
            direction: definition.objective.direction,
            directory: self.folder.join(number.to_string()),
            timeout: self.plan.options.timeout.map(|timeout| timeout.as_secs_f64()),
            worker: self.plan.worker.clone(),
            until: self.plan.options.until,
            noise_every: self.plan.options.noise_every,
        };
        let id = request.trial.clone();
        if let Err(error) = pool.run(request) {
            self.finish(&id, TrialState::Cancelled, Some(error.to_string()), None)?;
            return Err(MagicError::new(ErrorName::SlotError, error.to_string(), None));
        }
        Ok(())
    }

    fn take(&mut self, pool: &mut Pool, message: (u64, Option<Event>)) -> Result<()> {
        match pool.accept(message) {
            Some(PoolEvent::Trial(Event::Measured { trial, measurement })) => {
                self.writer.measured(trial.number, &measurement)?;
                self.live.measured(trial.number, &measurement);
                Ok(())
            }
            Some(PoolEvent::Trial(Event::Ended { trial, state, reason, seconds })) => {
                self.finish(&trial, state, reason, Some(seconds))
            }
            Some(PoolEvent::SlotLost { trial, reason }) => {
                let losses = self.losses.entry(trial.number).or_default();
                *losses += 1;
                let losses = *losses;
                if losses < SLOT_LOSSES {
                    // The machine was taken away, which says nothing of the trial: it runs again.
                    self.finish(&trial, TrialState::Cancelled, Some(reason), None)?;
                    self.waiting.push(trial.number);
                    return Ok(());
                }
                self.finish(&trial, TrialState::Failed, Some(format!("{reason}, {losses} times")), None)
            }
            Some(PoolEvent::Trial(Event::Loaded { data, .. })) => self.record_data(data),
            Some(PoolEvent::Trial(Event::Hello { .. } | Event::Started { .. })) | None => Ok(()),
        }
    }

    /// Notes the files that trials read, each once.
    fn record_data(&mut self, data: Vec<DataSource>) -> Result<()> {
        for source in data {
            if !self.data.contains(&source) {
                self.writer.record_data(&source)?;
                self.data.push(source);
            }
        }
        Ok(())
    }

    fn finish(
        &mut self,
        trial: &TrialId,
        state: TrialState,
        reason: Option<String>,
        seconds: Option<f64>,
    ) -> Result<()> {
        let began = self.started.get(&trial.number);
        let seconds = seconds.unwrap_or_else(|| began.map_or(0.0, |began| began.elapsed().as_secs_f64()));
        self.writer.finish(trial.number, state, reason.as_deref(), seconds)?;
        self.live.finished(trial.number, state, reason, seconds);
        Ok(())
    }
}
