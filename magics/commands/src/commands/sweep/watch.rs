//! Who watches trials while they run, and what they have said so far.

use tunebook_study::store::{NewTrial, now};
use tunebook_study::{Measurement, MetricSummary, Trial, TrialState};

/// Is told what trials do.
pub trait Watch {
    /// A trial begins.
    fn started(&mut self, trial: &NewTrial);
    /// A trial reported metrics.
    fn measured(&mut self, number: u32, measurement: &Measurement);
    /// A trial ended.
    fn finished(&mut self, number: u32, state: TrialState, reason: Option<String>, seconds: f64);
    /// Called now and then.
    fn refresh(&mut self);
}

/// The trials of a study as a watcher knows them: those that were recorded, and those that run.
#[derive(Default)]
pub struct Watched {
    /// In the order in which they began.
    pub trials: Vec<Trial>,
}

impl Watched {
    /// Those that were recorded and do not run again.
    pub fn recorded(trials: Vec<Trial>) -> Self {
        Self { trials: trials.into_iter().filter(|trial| !trial.state.runs_again()).collect() }
    }

    /// A trial begins, or begins again.
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

    /// A trial reported metrics.
    pub fn measured(&mut self, number: u32, measurement: &Measurement) {
        let Some(trial) = self.trials.iter_mut().find(|trial| trial.number == number) else { return };
        for (name, value) in &measurement.metrics {
            let Some(value) = value else { continue };
            let mut summary = trial.summaries.get(name).copied();
            MetricSummary::extend(&mut summary, *value, measurement.step);
            trial.summaries.extend(summary.map(|summary| (name.clone(), summary)));
        }
    }

    /// A trial ended.
    pub fn finished(&mut self, number: u32, state: TrialState, reason: Option<String>, seconds: f64) {
        if let Some(trial) = self.trials.iter_mut().find(|trial| trial.number == number) {
            (trial.state, trial.reason, trial.seconds) = (state, reason, seconds);
        }
    }

    /// How many have ended.
    pub fn ended(&self) -> usize {
        self.trials.iter().filter(|trial| !trial.state.runs_again()).count()
    }
}
