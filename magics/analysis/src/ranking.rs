//! The best configurations of a study, and how many trials ended in each state.

use crate::ranked_configurations;
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

/// The best configuration of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestTrial {
    /// The number of the trial in the middle of its seeds.
    pub trial: u32,
    /// The median objective over its seeds, in the metric's own sign.
    pub objective: f64,
    /// The training step at which that trial's objective was measured.
    pub step: u64,
    /// Its active hyperparameters.
    pub params: Params,
    /// The number of its seeds.
    pub repeats: usize,
}

/// Returns the best configuration, or None if none has an objective. Of equals, the first one wins.
pub fn best_trial(trials: &[Trial], objective: &Objective) -> Option<BestTrial> {
    let best = ranked_configurations(trials, objective).into_iter().next()?;
    let trial = best.middle?;
    Some(BestTrial {
        trial: trial.number,
        objective: best.objective?,
        step: objective.of(trial)?.1,
        params: trial.params.clone(),
        repeats: best.trials.len(),
    })
}

/// Returns one trial of each finished configuration that has an objective, the best configuration first: the one in the
/// middle of its seeds.
pub fn ranked<'a>(trials: &'a [Trial], objective: &Objective) -> Vec<&'a Trial> {
    ranked_configurations(trials, objective).into_iter().filter_map(|configuration| configuration.middle).collect()
}
