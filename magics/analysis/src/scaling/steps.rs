//! S(b), the steps to the target at one batch size (Shallue et al. 2018): the least over the configurations of the
//! median over the repeats of each.

use crate::resampling::{RESAMPLES, Resampler, median, percentile_interval};
use std::collections::BTreeMap;
use tunebook_study::{Objective, Params, Trial};

/// The interval is known only if at least this many samples of the bootstrap reach the target: its upper end is the
/// 97.5th percentile.
const NEEDED_RESAMPLES: usize = RESAMPLES * 39 / 40;

/// What the trials of one batch size say of the steps to the target.
#[derive(Clone, Debug, PartialEq)]
pub struct StepsToTarget {
    /// S(b), the median steps of the best configuration. None if no configuration reaches the target.
    pub steps: Option<f64>,
    /// The 95 % interval of S(b), by the bootstrap over configurations and repeats. None if its upper end is not known.
    pub interval: Option<[f64; 2]>,
    /// The number of trials that ended.
    pub trials: usize,
    /// The number of configurations whose median reaches the target.
    pub reached: usize,
    /// The hyperparameters of the best configuration.
    pub params: Option<Params>,
    /// For each configuration the steps of each repeat. They are infinite if the repeat did not reach the target.
    repeats: Vec<Vec<f64>>,
}

/// Reads the steps to the target from the trials of one batch size. Each trial was trained until it reached the target
/// or gave up. `target` is a value of the objective, in the metric's own sign.
pub fn steps_to_target(trials: &[Trial], objective: &Objective, target: f64) -> StepsToTarget {
    let mut configurations: BTreeMap<u32, (&Trial, Vec<f64>)> = BTreeMap::new();
    let ended = || trials.iter().filter(|trial| !trial.state.runs_again());
    for trial in ended() {
        let steps = step_of_target(trial, objective, target).map_or(f64::INFINITY, |step| step.max(1) as f64);
        configurations.entry(trial.configuration).or_insert((trial, vec![])).1.push(steps);
    }
    let medians: Vec<(&Trial, f64)> =
        configurations.values().map(|(trial, repeats)| (*trial, median(repeats.clone()))).collect();
    let finite = || medians.iter().filter(|(_, steps)| steps.is_finite());
    let best = finite().min_by(|a, b| a.1.total_cmp(&b.1));
    let mut found = StepsToTarget {
        steps: best.map(|(_, steps)| *steps),
        interval: None,
        trials: ended().count(),
        reached: finite().count(),
        params: best.map(|(trial, _)| trial.params.clone()),
        repeats: configurations.into_values().map(|(_, repeats)| repeats).collect(),
    };
    if found.steps.is_some() {
        let mut resampler = Resampler::new(2);
        let mut draws: Vec<f64> = (0..RESAMPLES).filter_map(|_| found.drawn(&mut resampler)).collect();
        draws.sort_by(f64::total_cmp);
        found.interval = (draws.len() >= NEEDED_RESAMPLES).then(|| percentile_interval(&draws));
    }
    found
}

/// Returns the step at which a trial reached the target, or None if it did not.
pub(super) fn step_of_target(trial: &Trial, objective: &Objective, target: f64) -> Option<u64> {
    let minimized = |value: f64| objective.direction.minimized(value);
    objective.of(trial).filter(|(value, _)| minimized(*value) <= minimized(target)).map(|(_, step)| step)
}

impl StepsToTarget {
    /// Returns the S(b) of a bootstrap sample: configurations are drawn with replacement, and repeats within each of
    /// them. None if no configuration of the sample reaches the target.
    pub(super) fn drawn(&self, resampler: &mut Resampler) -> Option<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..self.repeats.len() {
            let repeats = &self.repeats[resampler.index_below(self.repeats.len())];
            let again = repeats.iter().map(|_| repeats[resampler.index_below(repeats.len())]).collect();
            least = least.min(median(again));
        }
        least.is_finite().then_some(least)
    }
}
