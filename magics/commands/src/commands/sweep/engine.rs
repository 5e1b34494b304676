//! Runs the trials of a study: hands proposed configurations to free slots, and writes what trials report to the store
//! before it reaches the screen.

use super::changes::{self, Watch};
use super::copied;
use super::early_stopping::Stops;
use super::environment::environment;
use super::losses::{Loss, Losses};
use super::observer::{TrialEnd, TrialObserver};
use super::plan::SweepPlan;
use super::run_context::RunContext;
use super::slots::{self, Places, Slots};
use super::trial_options::{self, TrialOptions};
use crate::commands::workload::description_in;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::{Context, Share};
use crossbeam_channel::{after, select};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tunebook_pool::{Pool, PoolError, PoolEvent, SlotMessage};
use tunebook_study::protocol::{DataSource, Event, TrialId, TrialRequest};
use tunebook_study::sampler::{Proposals, trial_seed};
use tunebook_study::store::{HyperparameterUse, NewTrial, StudyWriter, trials_folder};
use tunebook_study::{Params, Summaries, TrialState, Value, WorkloadReference};

/// Running trials get this much time to end after an interrupt. Then their processes are killed.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(600);

/// What is said of a sweep that has no slot because others use them.
pub const WAITS: &str = "waits: other sweeps use all slots";

/// The run of a study without a result ends once so many trials have ended in it and all of them failed with the same
/// reason: the others would fail too.
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
    /// The study has no result, and the first [`SAME_FAILURES`] trials that ended in this run failed with the same
    /// reason.
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
    let session = RunContext::new(context, &plan.options)?;
    run_in((context, &session), plan, writer, numbers, observer, interrupt)
}

/// The same with the session as it was when the run began: a run in the background may begin after it has changed.
pub fn run_in(
    (context, session): (&Context, &RunContext),
    plan: &SweepPlan,
    writer: &mut StudyWriter,
    numbers: Vec<u32>,
    observer: &mut dyn TrialObserver,
    interrupt: &Interrupt,
) -> Result<RunOutcome> {
    let started = Instant::now();
    writer.begin_run();
    let tracked = copied::tracked(session, &plan.definition)?;
    let watch = Watch::new(writer, &plan.definition, &tracked, &session.folder)?;
    let folder = trials_folder(&session.store, &plan.name)?;
    let (mut pool, limit) = warm_pool((context, session), plan, writer, &folder)?;
    let options = numbers.iter().map(|number| (*number, plan.options.of_trial(*number)));
    trial_options::record(writer.store(), writer.study(), options)?;
    let recorded = writer.store().trials(writer.study())?;
    let proposals = Proposals::resuming(&plan.definition, &recorded);
    let has_result = recorded.iter().any(|trial| !trial.state.runs_again() && trial.state != TrialState::Failed);
    let stops = Stops::resuming(&plan.definition, writer.store(), writer.study(), &numbers)?;
    let mut run = StudyRun {
        context,
        session,
        share: context.sharing.join(&plan.name, limit, numbers.len(), pool.usage()),
        plan,
        places: Places::read(writer.store(), writer.study())?,
        writer,
        observer,
        interrupt,
        proposals,
        stops,
        watch,
        folder,
        waiting: numbers.into_iter().rev().collect(),
        losses: HashMap::new(),
        shown: (Instant::now(), None),
        pools_version: None,
        recorded_data: vec![],
        recorded_validation: vec![],
        failures: (!has_result).then(Vec::new),
        hyperparameters: HyperparameterUse::default(),
        started: HashMap::new(),
        params: HashMap::new(),
    };
    let outcome = run.trials(&mut pool, started);
    // After an interrupt or an error of the store, trials may still run.
    let running: Vec<TrialId> = pool.running().cloned().collect();
    pool.cancel_all(INTERRUPT_PATIENCE);
    // The first error is the one to report.
    let mut cancelled = Ok(());
    for trial in running {
        cancelled = cancelled.and(run.finish(&trial, TrialState::Cancelled, Some("interrupted".into()), None));
    }
    let places = run.places.write(run.writer.store(), run.writer.study(), true);
    let hyperparameters = std::mem::take(&mut run.hyperparameters);
    drop(run);
    let use_recorded = writer.record_use(&hyperparameters);
    let seconds_added = writer.end_run();
    let kept = writer.keep_file();
    // A slot elsewhere holds a machine that others wait for.
    pool.release_far();
    context.pools.lock().ended(&plan.name, pool.status());
    *context.pool.lock() = Some(pool);
    // It says more than what the writer met when its file was gone.
    kept?;
    let outcome = outcome?;
    cancelled?;
    places?;
    use_recorded?;
    seconds_added?;
    Ok(outcome)
}

/// Returns the warm slots of the last sweep if this study needs the same ones, otherwise new slots; and how many trials
/// run at a time at most by the options of this study.
fn warm_pool(
    (context, session): (&Context, &RunContext),
    plan: &SweepPlan,
    writer: &StudyWriter,
    folder: &Path,
) -> Result<(Pool, usize)> {
    slots::check_any(session.without_local, &session.pools)?;
    let (mut devices, problem) = session.devices(context, &plan.definition.workload);
    if devices.devices.iter().any(|device| device.kind == "cuda") {
        // Slots are made of the GPUs with the most free memory.
        devices.driver = tunebook_pool::measure(&mut devices.devices, &session.environment);
    }
    if let (WorkloadReference::Builtin { .. } | WorkloadReference::Rust { .. }, Some(problem)) =
        (&plan.definition.workload, problem)
    {
        return Err(MagicError::new(ErrorName::WorkerError, problem, None));
    }
    let slots = Slots::of(context, session, &devices);
    let pools = slots::commands(session);
    let trained = description_in(context, Some(writer.store()), &plan.definition.workload);
    writer.record_environment(&environment(&devices, &slots.names(), pools, &session.folder, trained.as_ref()))?;
    let needs = slots::needs((context, session), plan, writer, &devices, folder)?;
    let Slots { here, far, limit } = slots;
    let warm = context.pool.lock().take();
    let mut pool = warm.filter(|pool| pool.specs() == here).unwrap_or_else(|| Pool::new(here));
    pool.begin();
    pool.set_far(far, needs, context.settings.guard.clone());
    Ok((pool, limit.unwrap_or(usize::MAX)))
}

/// An error of slots, after which so many trials are missing.
fn slot_error(message: String, missing: usize) -> MagicError {
    let help = match missing {
        1 => "1 trial is missing, and `--resume` runs it".to_string(),
        _ => format!("{missing} trials are missing, and `--resume` runs them"),
    };
    MagicError::new(ErrorName::SlotError, message, Some(help))
}

/// A reason without its numbers. Two reasons are the same if they differ only in these, such as the value of a
/// hyperparameter.
pub fn without_numbers(reason: &str) -> String {
    reason.replace(|c: char| c.is_ascii_digit() || "-+.e".contains(c), "")
}

struct StudyRun<'a> {
    context: &'a Context,
    /// The session as it was when the run began.
    session: &'a RunContext,
    /// What this study may use beside others that run.
    share: Share<'a>,
    plan: &'a SweepPlan,
    writer: &'a mut StudyWriter,
    observer: &'a mut dyn TrialObserver,
    interrupt: &'a Interrupt,
    proposals: Proposals,
    /// Which trials are stopped early.
    stops: Stops,
    watch: Watch,
    /// The folder that holds a folder for each trial.
    folder: PathBuf,
    /// The numbers of the trials that wait for a slot. The next one is the last.
    waiting: Vec<u32>,
    /// How far trials got and how often their slots ended by themselves, by their numbers.
    losses: HashMap<u32, Losses>,
    /// When what the slots do was last shown, and what.
    shown: (Instant, Option<String>),
    /// The version of the pools of the session that the slots follow. None before the first look at it.
    pools_version: Option<u64>,
    /// Where each trial runs.
    places: Places,
    /// The data files that are recorded already.
    recorded_data: Vec<DataSource>,
    /// The hashes of validation examples that are recorded.
    recorded_validation: Vec<String>,
    /// The reasons of the trials that failed in this run, without their numbers. None once the study has a result.
    failures: Option<Vec<String>>,
    /// When each trial started.
    started: HashMap<u32, Instant>,
    /// The values of each trial that started and has not ended.
    params: HashMap<u32, Params>,
    /// The hyperparameters that trials read, and those that they did not read.
    hyperparameters: HyperparameterUse,
}

impl StudyRun<'_> {
    fn trials(&mut self, pool: &mut Pool, started: Instant) -> Result<RunOutcome> {
        let budget = self.plan.options.budget;
        loop {
            self.close_removed(pool);
            let allowed = self.share.update(self.waiting.len(), pool.usage());
            pool.set_limit(Some(allowed.trials));
            pool.set_granted(allowed.slots);
            pool.give_back(&allowed.back);
            if allowed.waits {
                pool.leave_devices();
            }
            while pool.has_free_slot() && !self.interrupt.is_raised() {
                let Some(number) = self.waiting.pop() else { break };
                self.start_trial(pool, number)?;
            }
            for lost in pool.tend(self.waiting.len()) {
                self.happened(lost)?;
            }
            if pool.running().next().is_none() {
                if self.waiting.is_empty() {
                    return Ok(RunOutcome::Completed);
                }
                if let Some(reason) = pool.stuck() {
                    return Err(slot_error(reason, self.waiting.len()));
                }
            }
            self.show_slots(pool, allowed.waits);
            self.places.write(self.writer.store(), self.writer.study(), false)?;
            self.observer.refresh();
            self.writer.renew()?;
            let rest = budget.map(|budget| budget.saturating_sub(started.elapsed()));
            // A slot that another study gives back sends no message.
            let pause = Duration::from_millis(if allowed.shared && !self.waiting.is_empty() { 50 } else { 500 });
            let wake = rest.map_or(pause, |rest| rest.min(pause));
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
            self.writer.store().check_file()?;
            if self.all_fail() && !self.waiting.is_empty() {
                return Ok(RunOutcome::AllFail);
            }
            if budget.is_some_and(|budget| started.elapsed() >= budget) {
                return Ok(RunOutcome::OutOfBudget);
            }
        }
    }

    /// Closes the slots of pools that were removed, and opens those of this machine if it was added again.
    fn close_removed(&mut self, pool: &mut Pool) {
        let pools = self.context.pools.lock();
        if self.pools_version != Some(pools.version()) {
            self.pools_version = Some(pools.version());
            pool.close(|spec| pools.is_removed(spec));
        }
    }

    /// Proposes the trial of a number from what has ended by now. None if a grid has no more.
    fn propose(&mut self, number: u32) -> Option<NewTrial> {
        let definition = &self.plan.definition;
        let configuration = (number - 1) / definition.repeats;
        let params = self.proposals.get(u64::from(configuration))?;
        // A study may declare the hyperparameter `seed`. Otherwise each trial has its own seed.
        let declared = params.get("seed").and_then(Value::as_i64).and_then(|seed| u64::try_from(seed).ok());
        let seed = declared.unwrap_or_else(|| trial_seed(definition.seed, number));
        Some(NewTrial { number, configuration, params, seed })
    }

    /// Records that a trial starts, and hands it to a free slot.
    fn start_trial(&mut self, pool: &mut Pool, number: u32) -> Result<()> {
        let definition = &self.plan.definition;
        let given = self.plan.options.given.get(&number);
        if let Some(step) = given.and_then(|given| given.stop_at) {
            self.stops.stop_at(number, step);
        }
        let Some(trial) = given.map(|given| given.trial.clone()).or_else(|| self.propose(number)) else {
            return Ok(());
        };
        let (configuration, params, seed) = (trial.configuration, trial.params.clone(), trial.seed);
        let TrialOptions { noise_every, training_metrics, until, fit } = self.plan.options.of_trial(number);
        // A trial that runs again has no result any more.
        self.proposals.learn(configuration, number, TrialState::Running, &Summaries::new());
        // Where files are copied, trials read what the files contained when the sweep began.
        let reads_copies = pool.next_reads_copies();
        if !reads_copies {
            self.watch.look(self.writer, number)?;
        }
        self.writer.start(&trial)?;
        self.started.insert(number, Instant::now());
        self.params.insert(number, params.clone());
        self.stops.started(number, configuration, &params);
        self.observer.started(&trial);
        let request = TrialRequest {
            trial: TrialId { study: self.plan.name.clone(), number },
            workload: definition.workload.clone(),
            params,
            seed,
            objective: definition.objective.metric.clone(),
            direction: definition.objective.direction,
            directory: self.folder.join(number.to_string()),
            timeout: self.session.timeout.map(|timeout| timeout.as_secs_f64()),
            worker: self.plan.worker.clone(),
            until,
            noise_every,
            training_metrics,
            fit,
        };
        let id = request.trial.clone();
        match pool.run(request) {
            Ok(place) => {
                self.observer.placed(number, &place);
                self.places.ran(number, place);
                // The slot that was to take it may have ended, and another one has it.
                if reads_copies && !pool.reads_copies(&id) {
                    self.watch.look(self.writer, number)?;
                }
            }
            // The last free slot has just ended.
            Err(PoolError::Full) => {
                self.finish(&id, TrialState::Cancelled, Some("its slot was lost".into()), None)?;
                self.waiting.push(number);
            }
            Err(error) => {
                self.finish(&id, TrialState::Cancelled, Some(error.to_string()), None)?;
                return Err(slot_error(error.to_string(), self.waiting.len() + 1));
            }
        }
        Ok(())
    }

    /// Tells the observer and `%pool` what the slots elsewhere do, twice a second, and whether the study waits for a
    /// slot.
    fn show_slots(&mut self, pool: &Pool, waits: bool) {
        let (next, shown) = &mut self.shown;
        if Instant::now() < *next {
            return;
        }
        *next = Instant::now() + Duration::from_millis(500);
        let status = pool.status();
        let lines: Vec<String> = waits.then(|| WAITS.to_string()).into_iter().chain(slots::line(&status)).collect();
        let line = (!lines.is_empty()).then(|| lines.join("\n"));
        self.context.pools.lock().runs(&self.plan.name, status);
        if line != *shown {
            *shown = line.clone();
            self.observer.slots(line.unwrap_or_default());
        }
    }

    /// Handles one message of a slot.
    fn handle(&mut self, pool: &mut Pool, message: SlotMessage) -> Result<()> {
        if let Some(event) = pool.accept(message) {
            self.happened(event)?;
        }
        self.stops.take_to_ask().for_each(|trial| pool.cancel(&trial));
        Ok(())
    }

    fn happened(&mut self, event: PoolEvent) -> Result<()> {
        match event {
            PoolEvent::Trial(Event::Measured { trial, measurement }) => {
                self.losses.entry(trial.number).or_default().reached(measurement.step);
                self.writer.measured(trial.number, &measurement)?;
                self.show_kept(trial.number);
                self.observer.measured(trial.number, &measurement);
                self.stops.measured(&trial, &measurement);
                Ok(())
            }
            PoolEvent::Trial(Event::Ended { trial, state, reason, seconds, unreported }) => {
                // A program that went on from its own checkpoint may have had nothing left to do.
                if unreported && self.writer.has_kept_objective(trial.number)? {
                    self.show_kept(trial.number);
                    return self.finish(&trial, TrialState::Complete, None, Some(seconds));
                }
                self.finish(&trial, state, reason, Some(seconds))
            }
            PoolEvent::SlotLost { trial, reason, .. } if self.stops.is_stopping(trial.number) => {
                self.finish(&trial, TrialState::Cancelled, Some(reason), None)
            }
            PoolEvent::SlotLost { trial, reason, said } => {
                match self.losses.entry(trial.number).or_default().lost(&reason, &said) {
                    Loss::Failed(reason) => self.finish(&trial, TrialState::Failed, Some(reason), None),
                    Loss::OutOfMemory(reason) => self.finish(&trial, TrialState::Infeasible, Some(reason), None),
                    // The slot may have ended for a reason outside of the trial, so the trial runs again.
                    Loss::RunsAgain(reason) => {
                        self.finish(&trial, TrialState::Cancelled, Some(reason), None)?;
                        self.waiting.push(trial.number);
                        Ok(())
                    }
                }
            }
            PoolEvent::Trial(Event::Loaded { trial, data, validation }) => {
                if let Some(hash) = validation.filter(|hash| !self.recorded_validation.contains(hash)) {
                    self.writer.record_validation_set(&hash)?;
                    self.recorded_validation.push(hash);
                }
                self.record_data(trial.number, data)
            }
            PoolEvent::Trial(Event::Used { trial, used, unused }) => {
                if let Some(params) = self.params.get(&trial.number) {
                    self.hyperparameters.add(&self.plan.definition.space, params, used, unused);
                }
                Ok(())
            }
            PoolEvent::Trial(Event::Hello { .. } | Event::Started { .. }) => Ok(()),
        }
    }

    /// Shows what a trial that goes on from a checkpoint of its own measured before.
    fn show_kept(&mut self, number: u32) {
        for kept in self.writer.take_kept(number) {
            self.observer.measured(number, &kept);
            self.stops.known(number, &kept);
        }
    }

    /// Records the data files that a trial read, each file once.
    fn record_data(&mut self, number: u32, data: Vec<DataSource>) -> Result<()> {
        for source in data {
            if !self.recorded_data.contains(&source) {
                changes::loaded(self.writer, &source, number, &self.session.folder)?;
                self.recorded_data.push(source);
            }
        }
        Ok(())
    }

    /// Whether the study has no result, and the first trials of this run failed with the same reason.
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
        self.params.remove(&trial.number);
        let (state, reason) = self.stops.ended(trial.number, state, reason);
        let started = self.started.get(&trial.number);
        let seconds = seconds.unwrap_or_else(|| started.map_or(0.0, |started| started.elapsed().as_secs_f64()));
        match state {
            TrialState::Failed => {
                if let Some(failures) = &mut self.failures {
                    failures.push(without_numbers(reason.as_deref().unwrap_or("")));
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
