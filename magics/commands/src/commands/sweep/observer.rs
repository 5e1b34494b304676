//! How the engine tells a display what the trials of a running study do.

use crate::report::table::{duration, number};
use std::collections::HashMap;
use tunebook_study::store::{NewTrial, now};
use tunebook_study::{Measurement, MetricSummary, Summaries, Trial, TrialState};

/// Receives what happens to the trials of a running study. The engine calls it after an event is in the store.
pub trait TrialObserver {
    /// A trial starts, or starts again under the same number.
    fn started(&mut self, trial: &NewTrial);
    /// The trial with this number runs in a slot: its device, or the pool and a number.
    fn placed(&mut self, _number: u32, _place: &str) {}
    /// The trial with this number reported metrics.
    fn measured(&mut self, number: u32, measurement: &Measurement);
    /// The trial with this number ended.
    fn finished(&mut self, number: u32, end: TrialEnd);
    /// What the slots elsewhere do, as text, or that the sweep waits for a slot. It is called when that changes.
    fn slots(&mut self, _: String) {}
    /// Updates the display if something has changed. It is called at least every half second.
    fn refresh(&mut self);
}

/// How a trial ended.
pub struct TrialEnd {
    pub state: TrialState,
    pub reason: Option<String>,
    pub seconds: f64,
    /// What the store summarized. It may differ from what was shown while the trial ran, if steps were reported twice.
    pub summaries: Summaries,
}

/// The trials of a running study, kept in memory so that a display need not read the store again.
#[derive(Default)]
pub struct ObservedTrials {
    /// First the recorded trials, then those that started in this run, in the order in which they started.
    pub trials: Vec<Trial>,
    /// Where each trial is in the list, by its number.
    places: HashMap<u32, usize>,
    /// The slots of the trials of this run, by their numbers.
    slots: HashMap<u32, String>,
}

impl ObservedTrials {
    /// Starts with the recorded trials.
    pub fn new(recorded: Vec<Trial>) -> Self {
        let mut observed = Self::default();
        observed.set(recorded);
        observed
    }

    fn set(&mut self, trials: Vec<Trial>) {
        self.places = trials.iter().enumerate().map(|(place, trial)| (trial.number, place)).collect();
        self.trials = trials;
    }

    /// Sorts the trials by number.
    pub fn sort(&mut self) {
        let mut trials = std::mem::take(&mut self.trials);
        trials.sort_by_key(|trial| trial.number);
        self.set(trials);
    }

    /// The trial of a number.
    pub fn trial(&self, number: u32) -> Option<&Trial> {
        self.trials.get(*self.places.get(&number)?)
    }

    fn trial_mut(&mut self, number: u32) -> Option<&mut Trial> {
        self.trials.get_mut(*self.places.get(&number)?)
    }

    /// Adds a trial that starts. It replaces an earlier run of the same number.
    pub fn started(&mut self, trial: &NewTrial) {
        if self.places.contains_key(&trial.number) {
            let mut others = std::mem::take(&mut self.trials);
            others.retain(|t| t.number != trial.number);
            self.set(others);
        }
        self.places.insert(trial.number, self.trials.len());
        let NewTrial { number, configuration, params, seed } = trial.clone();
        self.trials.push(Trial {
            number,
            configuration,
            params,
            seed,
            state: TrialState::Running,
            reason: None,
            summaries: Default::default(),
            seconds: 0.0,
            started: now(),
        });
    }

    /// Records the slot of a trial.
    pub fn placed(&mut self, number: u32, place: &str) {
        self.slots.insert(number, place.into());
    }

    /// Adds reported metrics to the summaries of a trial.
    pub fn measured(&mut self, number: u32, measurement: &Measurement) {
        let Some(trial) = self.trial_mut(number) else { return };
        for (name, value) in &measurement.metrics {
            let Some(value) = value else { continue };
            let mut summary = trial.summaries.get(name).copied();
            MetricSummary::extend(&mut summary, *value, measurement.step);
            trial.summaries.extend(summary.map(|summary| (name.clone(), summary)));
        }
    }

    /// Records how a trial ended.
    pub fn finished(&mut self, number: u32, end: TrialEnd) {
        if let Some(trial) = self.trial_mut(number) {
            let TrialEnd { state, reason, seconds, summaries } = end;
            (trial.state, trial.reason, trial.seconds, trial.summaries) = (state, reason, seconds, summaries);
        }
    }

    /// Marks the trials that are still running as cancelled: the run has ended, and the store could not record how they
    /// ended.
    pub fn cancel_running(&mut self) {
        for trial in self.trials.iter_mut().filter(|trial| trial.state == TrialState::Running) {
            trial.state = TrialState::Cancelled;
        }
    }

    /// A line about each trial that runs: its slot, its last step, the last value of the metric (or of another one that
    /// it has), and its time.
    pub fn running(&self, metric: &str) -> impl Iterator<Item = String> {
        let running = self.trials.iter().filter(|trial| trial.state == TrialState::Running);
        running.map(move |trial| {
            let step = trial.summaries.values().map(|summary| summary.last.1).max();
            let known = trial.summaries.get_key_value(metric).or_else(|| trial.summaries.first());
            let said = match (step, known) {
                (Some(step), Some((metric, summary))) => format!("step {step}, {metric} {}", number(summary.last.0)),
                _ => "nothing reported yet".into(),
            };
            let slot = self.slots.get(&trial.number).map_or(String::new(), |slot| format!(" on {slot}"));
            format!("trial {}{slot}: {said}, {}", trial.number, duration(now() - trial.started))
        })
    }

    /// The number of trials that have ended and do not run again.
    pub fn ended(&self) -> usize {
        self.trials.iter().filter(|trial| !trial.state.runs_again()).count()
    }
}
