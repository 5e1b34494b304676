//! Configurations: all trials that differ in their seeds only. Whatever ranks or counts looks at configurations, each
//! by the median over its seeds, because the best single trial is the one with the luckiest seed.

use std::collections::BTreeMap;
use tunebook_study::{Objective, Trial, TrialState};

/// The trials of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration<'a> {
    /// The complete and infeasible trials, by number; of a failed configuration its failed ones.
    pub trials: Vec<&'a Trial>,
    /// Whether as many of its trials have ended as of any other configuration. If not, its median is that of fewer
    /// seeds, and it is not ranked yet. Neither is one with a seed that was stopped early, which has no final value.
    pub is_finished: bool,
    /// The median objective over the seeds, in the metric's own sign. An infeasible seed counts as worse than every
    /// objective. None if the median is an infeasible seed.
    pub objective: Option<f64>,
    /// The trial in the middle: the one that has the median, or of two the better one. None if the median is an
    /// infeasible seed.
    pub middle: Option<&'a Trial>,
}

/// Groups the complete and infeasible trials by configuration, in the order of their first trials.
pub fn configurations<'a>(trials: &'a [Trial], objective: &Objective) -> Vec<Configuration<'a>> {
    let by_index = ended(trials);
    let seeds = by_index.values().map(Vec::len).max().unwrap_or(0);
    let mut all: Vec<Configuration<'a>> = by_index
        .into_values()
        .filter_map(|trials| {
            let is_stopped = trials.iter().any(|trial| trial.state == TrialState::Stopped);
            let is_finished = trials.len() == seeds && !is_stopped;
            let judged = |trial: &&Trial| matches!(trial.state, TrialState::Complete | TrialState::Infeasible);
            let judged: Vec<&Trial> = trials.into_iter().filter(judged).collect();
            (!judged.is_empty()).then(|| configuration(judged, is_finished, objective))
        })
        .collect();
    all.sort_by_key(|configuration| configuration.trials[0].number);
    all
}

/// Returns the configurations whose trials that ended all failed. They have no objective.
pub(crate) fn failed_configurations(trials: &[Trial]) -> Vec<Configuration<'_>> {
    let has_failed = |trials: &Vec<&Trial>| trials.iter().all(|trial| trial.state == TrialState::Failed);
    let failed = ended(trials).into_values().filter(has_failed);
    failed.map(|trials| Configuration { trials, is_finished: true, objective: None, middle: None }).collect()
}

/// Groups the trials that ended by configuration, each group by number.
fn ended(trials: &[Trial]) -> BTreeMap<u32, Vec<&Trial>> {
    let mut ended: Vec<&Trial> = trials.iter().filter(|trial| !trial.state.runs_again()).collect();
    ended.sort_by_key(|trial| trial.number);
    let mut by_index: BTreeMap<u32, Vec<&Trial>> = BTreeMap::new();
    for trial in ended {
        by_index.entry(trial.configuration).or_default().push(trial);
    }
    by_index
}

fn configuration<'a>(trials: Vec<&'a Trial>, is_finished: bool, objective: &Objective) -> Configuration<'a> {
    let mut seeds: Vec<(f64, &Trial)> = trials.iter().map(|trial| (minimized(trial, objective), *trial)).collect();
    seeds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (low, high) = (seeds[(seeds.len() - 1) / 2], seeds[seeds.len() / 2]);
    let median = if low.0 == high.0 { low.0 } else { 0.5 * (low.0 + high.0) };
    let is_feasible = median.is_finite();
    Configuration {
        objective: is_feasible.then(|| objective.direction.minimized(median)),
        middle: is_feasible.then_some(low.1),
        trials,
        is_finished,
    }
}

/// Returns the minimized objective of a trial. It is infinite if the trial is not complete or did not report it.
pub(crate) fn minimized(trial: &Trial, objective: &Objective) -> f64 {
    let complete = trial.state == TrialState::Complete;
    let value = objective.of(trial).filter(|_| complete);
    value.map_or(f64::INFINITY, |(value, _)| objective.direction.minimized(value))
}

/// Returns the finished configurations that have an objective, the best first, equals by the number of their first
/// trial.
pub fn ranked_configurations<'a>(trials: &'a [Trial], objective: &Objective) -> Vec<Configuration<'a>> {
    let mut ranked: Vec<(f64, Configuration<'a>)> = configurations(trials, objective)
        .into_iter()
        .filter(|configuration| configuration.is_finished)
        .filter_map(|configuration| Some((objective.direction.minimized(configuration.objective?), configuration)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.into_iter().map(|(_, configuration)| configuration).collect()
}
