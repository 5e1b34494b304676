//! The optimization history: the objective of each trial in the order of proposal, and the best so far.

use crate::ranked_configurations;
use std::collections::BTreeMap;
use tunebook_study::{Direction, Objective, Params, Trial, TrialState};

/// The history of a study, with one entry for each trial that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizationHistory {
    /// The metric that the study optimizes.
    pub metric: String,
    /// Whether a smaller or a larger value of the metric is better.
    pub direction: Direction,
    /// The trials, by number.
    pub trials: Vec<HistoryTrial>,
}

/// One trial of an [`OptimizationHistory`].
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryTrial {
    /// The number of the trial.
    pub number: u32,
    /// The state in which the trial ended.
    pub state: TrialState,
    /// Its objective, in the metric's own sign. None if the trial is not complete.
    pub objective: Option<f64>,
    /// The objective of the best configuration whose last seed is this trial or one before it: the median over its
    /// seeds. None while there is none.
    pub best_so_far: Option<f64>,
    /// Its active hyperparameters.
    pub params: Params,
}

/// Returns the history of the trials that ended. Trials that run, or that will run again, are left out.
pub fn optimization_history(trials: &[Trial], objective: &Objective) -> OptimizationHistory {
    let mut ended: Vec<&Trial> = trials.iter().filter(|trial| !trial.state.runs_again()).collect();
    ended.sort_by_key(|trial| trial.number);
    // The number of the last seed of each configuration, with the median over its seeds.
    let medians: BTreeMap<u32, f64> = ranked_configurations(trials, objective)
        .into_iter()
        .filter_map(|configuration| Some((configuration.trials.last()?.number, configuration.objective?)))
        .collect();
    let mut best_so_far: Option<f64> = None;
    let entry = |trial: &Trial| {
        let complete = trial.state == TrialState::Complete;
        if let Some(median) = medians.get(&trial.number)
            && best_so_far.is_none_or(|best| objective.direction.better(*median, best))
        {
            best_so_far = Some(*median);
        }
        HistoryTrial {
            number: trial.number,
            state: trial.state,
            objective: objective.of(trial).map(|(value, _)| value).filter(|_| complete),
            best_so_far,
            params: trial.params.clone(),
        }
    };
    let trials = ended.into_iter().map(entry).collect();
    OptimizationHistory { metric: objective.metric.clone(), direction: objective.direction, trials }
}
