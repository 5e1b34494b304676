//! `--stop-early`: which running trials are stopped, and what must be said of a study with stopped trials.

use crate::error::Result;
use crate::report::table::number;
use std::collections::{HashMap, HashSet};
use tunebook_analysis::early_stopped;
use tunebook_study::protocol::TrialId;
use tunebook_study::store::{AcceptedChange, Store, StudyRecord, StudyWriter};
use tunebook_study::{
    EarlyStopping, Measurement, Params, StopEarly, StudyDefinition, Trial, TrialState, Value, WorkloadReference,
};

/// With a lower rank correlation, curves cross too often to be judged at the step at which trials were stopped.
const LEAST_CORRELATION: f64 = 0.7;

/// The rule of a run, and the trials that it stops.
pub struct Stops {
    rule: EarlyStopping,
    metric: String,
    /// Workloads report step 0 before they train, where the objective says nothing about the hyperparameters yet.
    first_step: u64,
    /// The last step that each trial has reported in any attempt.
    reached: HashMap<u32, u64>,
    /// The last step of the earlier attempts of each trial that runs again.
    reached_before: HashMap<u32, u64>,
    /// The steps at which trials are stopped whatever they reach, by number: those of a replay stop where they did.
    stop_at: HashMap<u32, u64>,
    /// Why each trial that is asked to end is stopped.
    stopping: HashMap<u32, String>,
    to_ask: Vec<TrialId>,
}

impl Stops {
    /// The rule of a run of the trials with these numbers. It knows the recorded trials of the study.
    pub fn resuming(definition: &StudyDefinition, store: &Store, study: &StudyRecord, numbers: &[u32]) -> Result<Self> {
        let metric = definition.objective.metric.clone();
        let first_step = u64::from(!matches!(definition.workload, WorkloadReference::Command(_)));
        let mut rule = EarlyStopping::new(definition.stop_early, &definition.objective);
        let mut reached = HashMap::new();
        if !definition.stop_early.is_none() {
            let numbers: HashSet<u32> = numbers.iter().copied().collect();
            let runs_again = |trial: &Trial| trial.state.runs_again() || numbers.contains(&trial.number);
            let (again, mut trials): (Vec<Trial>, Vec<Trial>) = store.trials(study)?.into_iter().partition(runs_again);
            for trial in again {
                let steps = store.measurements(study, trial.number)?.into_iter().map(|measurement| measurement.step);
                reached.extend(steps.max().map(|step| (trial.number, step)));
            }
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
        Ok(Self {
            rule,
            metric,
            first_step,
            reached,
            reached_before: HashMap::new(),
            stop_at: HashMap::new(),
            stopping: HashMap::new(),
            to_ask: vec![],
        })
    }

    /// A trial is to be stopped at this step, whatever it reaches.
    pub fn stop_at(&mut self, number: u32, step: u64) {
        self.stop_at.insert(number, step);
    }

    /// A trial starts, with these hyperparameters. If one of them is `steps`, the trial ends at that step.
    pub fn started(&mut self, number: u32, configuration: u32, params: &Params) {
        self.stopping.remove(&number);
        self.reached_before.extend(self.reached.get(&number).map(|step| (number, *step)));
        self.rule.started(number, configuration);
        if let Some(steps) = params.get("steps").and_then(Value::as_i64).and_then(|steps| u64::try_from(steps).ok()) {
            self.rule.ends_at(number, steps);
        }
    }

    /// A trial goes on from a checkpoint of its own, and measured this in an earlier attempt. That does not stop it.
    pub fn known(&mut self, number: u32, measurement: &Measurement) {
        let value = measurement.metrics.get(&self.metric).filter(|_| measurement.step >= self.first_step);
        if let Some(value) = value.copied().flatten() {
            self.rule.measured(number, measurement.step, value);
        }
    }

    /// A trial has measured its metrics.
    ///
    /// A worker that goes on from a checkpoint sends what it measured before once more. This does not stop its trial,
    /// although others have become better since then.
    pub fn measured(&mut self, trial: &TrialId, measurement: &Measurement) {
        let step = measurement.step;
        let value = measurement.metrics.get(&self.metric).filter(|_| step >= self.first_step);
        let verdict = value.copied().flatten().and_then(|value| self.rule.measured(trial.number, step, value));
        // A program does not repeat itself: what it sends is new.
        let is_repeated = self.first_step > 0 && self.reached_before.get(&trial.number).is_some_and(|at| step <= *at);
        let verdict = verdict.filter(|_| !is_repeated);
        let reached = self.reached.entry(trial.number).or_default();
        *reached = step.max(*reached);
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
            "Curves cross. Most trials were stopped at step {}. Over the {} complete trials, {} at that step has a \
             rank correlation of {} (95 % interval {} to {}) with its value at the end. Below {LEAST_CORRELATION}, a \
             stopped trial may have been a good one. `--stop-early none` under another name trains all trials to their \
             end.",
            found.step,
            found.complete,
            objective.metric,
            number(found.correlation),
            number(found.interval[0]),
            number(found.interval[1]),
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, definition};
    use tunebook_study::store::NewTrial;

    fn at(step: u64, error: f64) -> Measurement {
        Measurement { step, seconds: 1.0, metrics: [("valid/error".to_string(), Some(error))].into() }
    }

    /// Starts a trial, which measures this error at these steps. Returns the steps at which it was asked to end.
    fn asked(stops: &mut Stops, number: u32, params: &Params, error: f64, steps: &[u64]) -> Vec<u64> {
        let trial = TrialId { study: "depth".into(), number };
        stops.started(number, number, params);
        let asks = |step: &&u64| {
            stops.measured(&trial, &at(**step, error));
            stops.take_to_ask().count() > 0
        };
        steps.iter().filter(asks).copied().collect()
    }

    #[test]
    fn a_trial_is_not_stopped_by_what_it_measured_before_it_was_interrupted_or_at_its_last_step() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let mut store = context.store().unwrap();
        let definition = StudyDefinition { stop_early: StopEarly::Median, ..definition() };
        let study = store.create_study("depth", &definition).unwrap();
        let mut writer = store.write(study).unwrap();
        for number in 1..=5 {
            writer.start(&NewTrial { number, configuration: number, params: Params::new(), seed: 0 }).unwrap();
            let (error, state, steps) = match number {
                5 => (0.9, TrialState::Cancelled, &[10, 20][..]),
                _ => (0.1, TrialState::Complete, &[10, 20, 30, 40][..]),
            };
            steps.iter().for_each(|step| writer.measured(number, &at(*step, error)).unwrap());
            writer.finish(number, state, None, 1.0).unwrap();
        }
        let mut stops = Stops::resuming(&definition, writer.store(), writer.study(), &[]).unwrap();
        let none = Params::new();
        // This trial loses its slot while no trial can be stopped, because only four are complete.
        assert_eq!(asked(&mut stops, 6, &none, 0.9, &[10, 20]), Vec::<u64>::new());
        stops.ended(6, TrialState::Cancelled, None);
        assert_eq!(asked(&mut stops, 7, &none, 0.1, &[10, 20, 30, 40]), Vec::<u64>::new());
        stops.ended(7, TrialState::Complete, None);

        let steps = [10, 20, 30];
        assert_eq!(asked(&mut stops, 5, &none, 0.9, &steps), [30], "it was interrupted, as the store says");
        assert_eq!(asked(&mut stops, 6, &none, 0.9, &steps), [30], "it has lost its slot");
        assert_eq!(asked(&mut stops, 8, &none, 0.9, &steps), [10], "a trial that begins");
        let few: Params = [("steps".to_string(), 10.into())].into();
        assert_eq!(asked(&mut stops, 9, &few, 0.9, &[10]), Vec::<u64>::new(), "its last step");
    }
}
