//! Runs the trials of a study: hands proposed configurations to free slots, and writes what trials report to the store
//! before it reaches the screen.

use super::changes::{self, Watch};
use super::environment::environment;
use super::observer::{TrialEnd, TrialObserver};
use super::plan::SweepPlan;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::Context;
use crossbeam_channel::{after, select};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tunebook_pool::{Pool, PoolEvent, default_slots};
use tunebook_study::protocol::{DataSource, Event, TrialId, TrialRequest};
use tunebook_study::sampler::{Proposals, trial_seed};
use tunebook_study::store::{HyperparameterUse, NewTrial, StudyWriter, trials_folder};
use tunebook_study::{Summaries, TrialState, Value, WorkloadReference};

/// Running trials get this much time to end after an interrupt. Then their processes are killed.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(600);
/// A trial counts as failed once its slot has ended by itself this many times.
const SLOT_LOSSES: u32 = 3;

/// A run ends once so many trials have ended and all of them failed with the same reason: the others would fail too.
pub const SAME_FAILURES: usize = 5;

/// How a run of a study ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// All trials have ended.
    Completed,
    /// The user interrupted the run.
    Interrupted,
    /// The time limit of `--budget` was reached.
    OutOfBudget,
    /// The first [`SAME_FAILURES`] trials that ended failed with the same reason.
    AllFail,
}

/// Runs the trials with these numbers.
///
/// After an error too, no trial is left running. Trials that did not end are recorded as cancelled, so that `--resume`
/// runs them again.
pub fn run(
    context: &Context,
    plan: &SweepPlan,
    writer: &mut StudyWriter,
    numbers: Vec<u32>,
    observer: &mut dyn TrialObserver,
    interrupt: &Interrupt,
) -> Result<RunOutcome> {
    let started = Instant::now();
    let watch = Watch::new(writer, &plan.definition)?;
    let mut pool = warm_pool(context, plan, writer)?;
    let proposals = Proposals::resuming(&plan.definition, &writer.store().trials(writer.study())?);
    let mut run = StudyRun {
        plan,
        writer,
        observer,
        interrupt,
        proposals,
        watch,
        folder: trials_folder(&context.store_file(), &plan.name)?,
        waiting: numbers.into_iter().rev().collect(),
        losses: HashMap::new(),
        recorded_data: vec![],
        failures: Some(vec![]),
        hyperparameters: HyperparameterUse::default(),
        started: HashMap::new(),
    };
    let outcome = run.trials(&mut pool, started);
    // After an interrupt or an error of the store, trials may still run.
    let running: Vec<TrialId> = pool.running().cloned().collect();
    pool.cancel_all(INTERRUPT_PATIENCE);
    for trial in running {
        let cancelled = run.finish(&trial, TrialState::Cancelled, Some("interrupted".into()), None);
        // The first error is the one to report.
        if outcome.is_ok() {
            cancelled?;
        }
    }
    let hyperparameters = std::mem::take(&mut run.hyperparameters);
    let use_recorded = writer.record_use(&hyperparameters);
    let seconds_added = writer.add_seconds(started.elapsed().as_secs_f64());
    *context.pool.lock() = Some(pool);
    let outcome = outcome?;
    use_recorded?;
    seconds_added?;
    Ok(outcome)
}

/// Returns the warm slots of the last sweep if this study needs the same ones, otherwise new slots.
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
    let warm = context.pool.lock().take();
    Ok(warm.filter(|pool| pool.specs() == specs).unwrap_or_else(|| Pool::new(specs)))
}

struct StudyRun<'a> {
    plan: &'a SweepPlan,
    writer: &'a mut StudyWriter,
    observer: &'a mut dyn TrialObserver,
    interrupt: &'a Interrupt,
    proposals: Proposals,
    watch: Watch,
    /// The folder that holds a folder for each trial.
    folder: PathBuf,
    /// The numbers of the trials that wait for a slot. The next one is the last.
    waiting: Vec<u32>,
    /// How often the slot of a trial ended by itself, by the number of the trial.
    losses: HashMap<u32, u32>,
    /// The data files that are recorded already.
    recorded_data: Vec<DataSource>,
    /// The reasons of the trials that failed, without their numbers. None once a trial ended in another way.
    failures: Option<Vec<String>>,
    /// When each trial started.
    started: HashMap<u32, Instant>,
    /// The hyperparameters that trials read, and those that they did not read.
    hyperparameters: HyperparameterUse,
}

impl StudyRun<'_> {
    fn trials(&mut self, pool: &mut Pool, started: Instant) -> Result<RunOutcome> {
        let budget = self.plan.options.budget;
        loop {
            while pool.has_free_slot() && !self.interrupt.is_raised() {
                let Some(number) = self.waiting.pop() else { break };
                self.start_trial(pool, number)?;
            }
            if pool.running().next().is_none() && self.waiting.is_empty() {
                return Ok(RunOutcome::Completed);
            }
            self.observer.refresh();
            self.writer.renew()?;
            let rest = budget.map(|budget| budget.saturating_sub(started.elapsed()));
            let wake = rest.map_or(Duration::from_millis(500), |rest| rest.min(Duration::from_millis(500)));
            let messages = pool.channel().clone();
            select! {
                recv(messages) -> message => if let Ok(message) = message {
                    self.handle(pool, message)?;
                    // All waiting messages are stored before the display is updated, because drawing takes longer.
                    while let Ok(message) = messages.try_recv() {
                        self.handle(pool, message)?;
                    }
                },
                recv(self.interrupt.channel()) -> _ => return Ok(RunOutcome::Interrupted),
                recv(after(wake)) -> _ => {}
            }
            if self.all_fail() && !self.waiting.is_empty() {
                return Ok(RunOutcome::AllFail);
            }
            if budget.is_some_and(|budget| started.elapsed() >= budget) {
                return Ok(RunOutcome::OutOfBudget);
            }
        }
    }

    /// Proposes the configuration of a trial from what has ended by now, records that the trial starts, and hands it to
    /// a free slot.
    fn start_trial(&mut self, pool: &mut Pool, number: u32) -> Result<()> {
        let definition = &self.plan.definition;
        let configuration = (number - 1) / definition.repeats;
        let Some(params) = self.proposals.get(u64::from(configuration)) else { return Ok(()) };
        // A study may declare the hyperparameter `seed`. Otherwise each trial has its own seed.
        let declared = params.get("seed").and_then(Value::as_i64).and_then(|seed| u64::try_from(seed).ok());
        let seed = declared.unwrap_or_else(|| trial_seed(definition.seed, number));
        let trial = NewTrial { number, configuration, params: params.clone(), seed };
        // A trial that runs again has no result any more.
        self.proposals.learn(configuration, number, TrialState::Running, &Summaries::new());
        self.watch.look(self.writer, number)?;
        self.writer.start(&trial)?;
        self.started.insert(number, Instant::now());
        self.observer.started(&trial);
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
            training_metrics: self.plan.options.training_metrics,
            fit: self.plan.options.fit.clone(),
        };
        let id = request.trial.clone();
        if let Err(error) = pool.run(request) {
            self.finish(&id, TrialState::Cancelled, Some(error.to_string()), None)?;
            return Err(MagicError::new(ErrorName::SlotError, error.to_string(), None));
        }
        Ok(())
    }

    /// Handles one message of a slot.
    fn handle(&mut self, pool: &mut Pool, message: (u64, Option<Event>)) -> Result<()> {
        match pool.accept(message) {
            Some(PoolEvent::Trial(Event::Measured { trial, measurement })) => {
                self.writer.measured(trial.number, &measurement)?;
                self.observer.measured(trial.number, &measurement);
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
                    // The slot may have ended for a reason outside of the trial, so the trial runs again.
                    self.finish(&trial, TrialState::Cancelled, Some(reason), None)?;
                    self.waiting.push(trial.number);
                    return Ok(());
                }
                self.finish(&trial, TrialState::Failed, Some(format!("{reason}, {losses} times")), None)
            }
            Some(PoolEvent::Trial(Event::Loaded { trial, data })) => self.record_data(trial.number, data),
            Some(PoolEvent::Trial(Event::Used { used, unused, .. })) => {
                self.hyperparameters.used.extend(used);
                self.hyperparameters.unused.extend(unused);
                Ok(())
            }
            Some(PoolEvent::Trial(Event::Hello { .. } | Event::Started { .. })) | None => Ok(()),
        }
    }

    /// Records the data files that a trial read, each file once.
    fn record_data(&mut self, number: u32, data: Vec<DataSource>) -> Result<()> {
        for source in data {
            if !self.recorded_data.contains(&source) {
                changes::loaded(self.writer, &source, number)?;
                self.recorded_data.push(source);
            }
        }
        Ok(())
    }

    /// Whether the first trials failed with the same reason.
    fn all_fail(&self) -> bool {
        self.failures
            .as_ref()
            .is_some_and(|reasons| reasons.len() >= SAME_FAILURES && reasons.iter().all(|reason| *reason == reasons[0]))
    }

    /// Records how a trial ended. `seconds` is the time that the worker measured, if it reported one.
    fn finish(
        &mut self,
        trial: &TrialId,
        state: TrialState,
        reason: Option<String>,
        seconds: Option<f64>,
    ) -> Result<()> {
        let started = self.started.get(&trial.number);
        let seconds = seconds.unwrap_or_else(|| started.map_or(0.0, |started| started.elapsed().as_secs_f64()));
        match state {
            TrialState::Failed => {
                if let Some(failures) = &mut self.failures {
                    // Two reasons are the same if they differ only in numbers, such as the value of a hyperparameter.
                    let is_number = |c: char| c.is_ascii_digit() || "-+.e".contains(c);
                    failures.push(reason.as_deref().unwrap_or("").replace(is_number, ""));
                }
            }
            TrialState::Cancelled => {}
            _ => self.failures = None,
        }
        let summaries = self.writer.finish(trial.number, state, reason.as_deref(), seconds)?;
        let configuration = (trial.number - 1) / self.plan.definition.repeats;
        self.proposals.learn(configuration, trial.number, state, &summaries);
        self.observer.finished(trial.number, TrialEnd { state, reason, seconds, summaries });
        Ok(())
    }
}
