//! How a study stands.

use serde::Serialize;
use tunebook_study::{Objective, Params, Trial, TrialState};

/// Trials by state; running ones are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Ended with an objective.
    pub complete: usize,
    /// Diverged, non-finite, or out of memory.
    pub infeasible: usize,
    /// Ended early by a rule.
    pub stopped: usize,
    /// Ended by a fault.
    pub failed: usize,
    /// Interrupted.
    pub cancelled: usize,
}

/// The trials of a study by state.
pub fn counts(trials: &[Trial]) -> Counts {
    let count = |state| trials.iter().filter(|trial| trial.state == state).count();
    Counts {
        complete: count(TrialState::Complete),
        infeasible: count(TrialState::Infeasible),
        stopped: count(TrialState::Stopped),
        failed: count(TrialState::Failed),
        cancelled: count(TrialState::Cancelled),
    }
}

/// The best trial of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Best {
    /// Its number.
    pub trial: u32,
    /// Its objective, in the metric's own sign.
    pub objective: f64,
    /// The step that reached it.
    pub step: u64,
    /// Its active hyperparameters.
    pub params: Params,
}

/// The best complete trial; of equals the first.
pub fn best(trials: &[Trial], objective: &Objective) -> Option<Best> {
    let trial = *ranked(trials, objective).first()?;
    let (value, step) = objective.of(trial)?;
    Some(Best { trial: trial.number, objective: value, step, params: trial.params.clone() })
}

/// Complete trials with an objective, the best first; of equals the first.
pub fn ranked<'a>(trials: &'a [Trial], objective: &Objective) -> Vec<&'a Trial> {
    let mut ranked: Vec<(f64, &Trial)> = trials
        .iter()
        .filter(|trial| trial.state == TrialState::Complete)
        .filter_map(|trial| Some((objective.direction.minimized(objective.of(trial)?.0), trial)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.number.cmp(&b.1.number)));
    ranked.into_iter().map(|(_, trial)| trial).collect()
}
