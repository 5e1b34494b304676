//! `--stop-early`: which running trials are stopped, and what must be said of a study with stopped trials.

use crate::error::Result;
use crate::report::table::number;
use std::collections::HashMap;
use tunebook_analysis::early_stopped;
use tunebook_study::protocol::TrialId;
use tunebook_study::store::{AcceptedChange, Store, StudyRecord, StudyWriter};
use tunebook_study::{EarlyStopping, Measurement, StopEarly, StudyDefinition, Trial, TrialState, WorkloadReference};

/// With a lower rank correlation, curves cross too often to be judged at the step at which trials were stopped.
const LEAST_CORRELATION: f64 = 0.7;

/// The rule of a run, and the trials that it stops.
pub struct Stops {
    rule: EarlyStopping,
    metric: String,
    /// Workloads report step 0 before they train, where the objective says nothing about the hyperparameters yet.
    first_step: u64,
    /// The steps at which trials are stopped whatever they reach, by number: those of a replay stop where they did.
    stop_at: HashMap<u32, u64>,
    /// Why each trial that is asked to end is stopped.
    stopping: HashMap<u32, String>,
    to_ask: Vec<TrialId>,
}

impl Stops {
    /// The rule of a run. It knows the recorded trials of the study.
    pub fn resuming(definition: &StudyDefinition, store: &Store, study: &StudyRecord) -> Result<Self> {
        let metric = definition.objective.metric.clone();
        let first_step = u64::from(!matches!(definition.workload, WorkloadReference::Command(_)));
        let mut rule = EarlyStopping::new(definition.stop_early, &definition.objective);
        if !definition.stop_early.is_none() {
            let mut trials: Vec<Trial> = store.trials(study)?;
            trials.retain(|trial| !trial.state.runs_again());
            // In the order in which they ended.
            trials.sort_by(|a, b| (a.started + a.seconds).total_cmp(&(b.started + b.seconds)));
            for trial in trials {
                rule.started(trial.number, trial.configuration);
                for measurement in store.measurements(study, trial.number)? {
                    if let Some(Some(value)) = measurement.metrics.get(&metric)
                        && measurement.step >= first_step
                    {
                        rule.measured(trial.number, measurement.step, *value);
                    }
                }
                rule.ended(trial.number, trial.state);
            }
        }
        Ok(Self { rule, metric, first_step, stop_at: HashMap::new(), stopping: HashMap::new(), to_ask: vec![] })
    }

    /// A trial is to be stopped at this step, whatever it reaches.
    pub fn stop_at(&mut self, number: u32, step: u64) {
        self.stop_at.insert(number, step);
    }

    /// A trial starts.
    pub fn started(&mut self, number: u32, configuration: u32) {
        self.stopping.remove(&number);
        self.rule.started(number, configuration);
    }

    /// A trial goes on from a checkpoint of its own, and measured this in an earlier attempt. That does not stop it.
    pub fn known(&mut self, number: u32, measurement: &Measurement) {
        let value = measurement.metrics.get(&self.metric).filter(|_| measurement.step >= self.first_step);
        if let Some(value) = value.copied().flatten() {
            self.rule.measured(number, measurement.step, value);
        }
    }

    /// A trial has measured its metrics.
    pub fn measured(&mut self, trial: &TrialId, measurement: &Measurement) {
        let value = measurement.metrics.get(&self.metric).filter(|_| measurement.step >= self.first_step);
        let verdict =
            value.copied().flatten().and_then(|value| self.rule.measured(trial.number, measurement.step, value));
        let at = self.stop_at.get(&trial.number).filter(|at| measurement.step >= **at);
        let verdict = verdict.or_else(|| at.map(|at| format!("stopped at step {at}, as the recorded trial was")));
        if let Some(reason) = verdict.filter(|_| !self.is_stopping(trial.number)) {
            self.stopping.insert(trial.number, reason);
            self.to_ask.push(trial.clone());
        }
    }

    /// The trials that have to be asked to end. Each is returned once.
    pub fn take_to_ask(&mut self) -> impl Iterator<Item = TrialId> {
        self.to_ask.drain(..)
    }

    /// Whether a trial was asked to end.
    pub fn is_stopping(&self, number: u32) -> bool {
        self.stopping.contains_key(&number)
    }

    /// A trial ended. Returns its state and reason: one that was asked to end and was cancelled is stopped. One that
    /// came to its end before it read the request keeps its state.
    pub fn ended(&mut self, number: u32, state: TrialState, reason: Option<String>) -> (TrialState, Option<String>) {
        let why = self.stopping.remove(&number).filter(|_| state == TrialState::Cancelled);
        let (state, reason) = if why.is_some() { (TrialState::Stopped, why) } else { (state, reason) };
        self.rule.ended(number, state);
        (state, reason)
    }
}

/// Records that a study goes on with another rule than it had, from the trial `first` on. Returns the sentence that
/// says so; none if the rule is the same.
pub fn change_rule(writer: &mut StudyWriter, now: StopEarly, first: Option<u32>) -> Result<Option<String>> {
    let before = writer.study().definition.clone();
    let rule = before.stop_early;
    if rule == now {
        return Ok(None);
    }
    let (at_trial, after) = (first.unwrap_or(1), Some(now.to_string()));
    writer.accept_changes(&[AcceptedChange {
        what: "--stop-early".into(),
        before: rule.to_string(),
        after,
        at_trial,
    }])?;
    writer.redefine(&StudyDefinition { stop_early: now, ..before })?;
    Ok(Some(format!(
        "The earlier trials of this study ran with `--stop-early {rule}`, and those of this run with `--stop-early \
         {now}`. Stopped trials stay stopped."
    )))
}

/// Warns if what trials had reached where others were stopped says little about what they reached at their end.
pub fn crossing_note(store: &Store, study: &StudyRecord, trials: &[Trial]) -> Result<Option<String>> {
    let objective = &study.definition.objective;
    let measured = |step| store.measurements_at(study, step);
    let Some(found) = early_stopped(trials, objective, measured)? else { return Ok(None) };
    Ok((found.correlation < LEAST_CORRELATION).then(|| {
        format!(
            "Curves cross: over the {} complete trials, {} at step {}, where most trials were stopped, has a rank \
             correlation of {} (95 % interval {} to {}) with its value at the end. Below {LEAST_CORRELATION}, a trial \
             that was stopped may have been a good one; `--stop-early none` under another name trains all to their end.",
            found.complete,
            objective.metric,
            found.step,
            number(found.correlation),
            number(found.interval[0]),
            number(found.interval[1]),
        )
    }))
}
