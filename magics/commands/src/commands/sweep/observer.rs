//! How the engine tells a display what the trials of a running study do.

use tunebook_study::store::{NewTrial, now};
use tunebook_study::{Measurement, MetricSummary, Trial, TrialState};

/// Receives what happens to the trials of a running study. The engine calls it after an event is in the store.
pub trait TrialObserver {
    /// A trial starts, or starts again under the same number.
    fn started(&mut self, trial: &NewTrial);
    /// The trial with this number reported metrics.
    fn measured(&mut self, number: u32, measurement: &Measurement);
    /// The trial with this number ended after so many seconds.
    fn finished(&mut self, number: u32, state: TrialState, reason: Option<String>, seconds: f64);
    /// Updates the display if something has changed. It is called at least every half second.
    fn refresh(&mut self);
}

/// The trials of a running study, kept in memory so that a display need not read the store again.
#[derive(Default)]
pub struct ObservedTrials {
    /// First the recorded trials, then those that started in this run, in the order in which they started.
    pub trials: Vec<Trial>,
}

impl ObservedTrials {
    /// Starts with the recorded trials. Trials that run again (cancelled or running ones) are left out.
    pub fn new(recorded: Vec<Trial>) -> Self {
        Self { trials: recorded.into_iter().filter(|trial| !trial.state.runs_again()).collect() }
    }

    /// Adds a trial that starts. It replaces an earlier run of the same number.
    pub fn started(&mut self, trial: &NewTrial) {
        self.trials.retain(|t| t.number != trial.number);
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

    /// Adds reported metrics to the summaries of a trial.
    pub fn measured(&mut self, number: u32, measurement: &Measurement) {
        let Some(trial) = self.trials.iter_mut().find(|trial| trial.number == number) else { return };
        for (name, value) in &measurement.metrics {
            let Some(value) = value else { continue };
            let mut summary = trial.summaries.get(name).copied();
            MetricSummary::extend(&mut summary, *value, measurement.step);
            trial.summaries.extend(summary.map(|summary| (name.clone(), summary)));
        }
    }

    /// Records how a trial ended.
    pub fn finished(&mut self, number: u32, state: TrialState, reason: Option<String>, seconds: f64) {
        if let Some(trial) = self.trials.iter_mut().find(|trial| trial.number == number) {
            (trial.state, trial.reason, trial.seconds) = (state, reason, seconds);
        }
    }

    /// The number of trials that have ended and do not run again.
    pub fn ended(&self) -> usize {
        self.trials.iter().filter(|trial| !trial.state.runs_again()).count()
    }
}
