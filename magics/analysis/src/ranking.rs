//! The best trials of a study, and how many trials ended in each state.

use serde::Serialize;
use tunebook_study::{Objective, Params, Trial, TrialState};

/// The number of trials in each state. Running trials are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrialCounts {
    /// Trials that ended with an objective.
    pub complete: usize,
    /// Trials that diverged, became non-finite, or ran out of memory.
    pub infeasible: usize,
    /// Trials that a stopping rule ended early.
    pub stopped: usize,
    /// Trials that ended with an error.
    pub failed: usize,
    /// Trials that an interrupt ended.
    pub cancelled: usize,
}

/// Counts the trials of a study by state.
pub fn count_by_state(trials: &[Trial]) -> TrialCounts {
    let count = |state| trials.iter().filter(|trial| trial.state == state).count();
    TrialCounts {
        complete: count(TrialState::Complete),
        infeasible: count(TrialState::Infeasible),
        stopped: count(TrialState::Stopped),
        failed: count(TrialState::Failed),
        cancelled: count(TrialState::Cancelled),
    }
}

/// The best trial of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestTrial {
    /// The number of the trial.
    pub trial: u32,
    /// Its objective, in the metric's own sign.
    pub objective: f64,
    /// The training step at which the objective was measured.
    pub step: u64,
    /// Its active hyperparameters.
    pub params: Params,
}

/// Returns the best complete trial, or None if no trial has an objective. Of equals, the one with the lowest number
/// wins.
pub fn best_trial(trials: &[Trial], objective: &Objective) -> Option<BestTrial> {
    let trial = *ranked(trials, objective).first()?;
    let (value, step) = objective.of(trial)?;
    Some(BestTrial { trial: trial.number, objective: value, step, params: trial.params.clone() })
}

/// Returns the complete trials that have an objective, the best first, equals by their number.
pub fn ranked<'a>(trials: &'a [Trial], objective: &Objective) -> Vec<&'a Trial> {
    let mut ranked: Vec<(f64, &Trial)> = trials
        .iter()
        .filter(|trial| trial.state == TrialState::Complete)
        .filter_map(|trial| Some((objective.direction.minimized(objective.of(trial)?.0), trial)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.number.cmp(&b.1.number)));
    ranked.into_iter().map(|(_, trial)| trial).collect()
}
