//! S(b), the steps to the target at one batch size (Shallue et al. 2018): the least over the configurations of the
//! median over the repeats of each.

use crate::best_of_k::{Objectives, Tail};
use crate::resampling::median;
use std::collections::{BTreeMap, BTreeSet};
use tunebook_study::{Objective, Params, Trial};

/// What the trials of one batch size say of the steps to the target.
#[derive(Clone, Debug, PartialEq)]
pub struct StepsToTarget {
    /// S(b), the median steps of the best configuration. None if no configuration reaches the target.
    pub steps: Option<f64>,
    /// Where the S(b) of an independent, equal study lies in 95 % of cases. An end is None if it is not known.
    pub interval: Option<[Option<f64>; 2]>,
    /// The number of trials that ended.
    pub trials: usize,
    /// The number of configurations whose median reaches the target.
    pub reached: usize,
    /// The hyperparameters of the best configuration.
    pub params: Option<Params>,
    /// The standard deviation of ln S(b) over equal studies, roughly. None if it is not known.
    pub(super) deviation: Option<f64>,
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
    let mut medians: Vec<(&Trial, f64, &Vec<f64>)> =
        configurations.values().map(|(trial, repeats)| (*trial, median(repeats.clone()), repeats)).collect();
    medians.sort_by(|a, b| a.1.total_cmp(&b.1));
    let reached: Vec<&(&Trial, f64, &Vec<f64>)> = medians.iter().filter(|(_, steps, _)| steps.is_finite()).collect();
    let best = reached.first();
    // Ratios of steps, and not differences, are alike at small and large sizes.
    let logarithms = Objectives::of_minimized(medians.iter().map(|(_, steps, _)| steps.ln()));
    let noise = noise_of_medians(&reached);
    let dimensions = varied(trials);
    let tail = noise.map_or(Tail::Exponential, |noise| Tail::Cone { dimensions, noise });
    let deviation = match (logarithms.sorted(), noise) {
        // The best of a cone varies as the next best ones are spaced. In one dimension, quasi-random configurations lie
        // at nearly equal distances, and it varies less.
        (sorted @ [first, _, ..], Some(noise)) => {
            let k = sorted.len().min(SPACED);
            let spacing = (sorted[k - 1] - first) / (k - 1) as f64;
            let of_search = if dimensions < 2 { EVENLY_SPACED * spacing } else { spacing };
            Some(of_search.hypot(BEST_OF_NOISE * noise))
        }
        _ => None,
    };
    StepsToTarget {
        steps: best.map(|(_, steps, _)| *steps),
        interval: logarithms.next_best(tail).map(|ends| ends.map(|end| end.map(|log| log.exp().max(1.0)))),
        trials: ended().count(),
        reached: reached.len(),
        params: best.map(|(trial, ..)| trial.params.clone()),
        deviation,
    }
}

/// The spacing of so many of the best configurations says how much their best varies.
const SPACED: usize = 5;
/// In one dimension, the best of quasi-random configurations varies by this share of their spacing.
const EVENLY_SPACED: f64 = 1.0 / 3.0;
/// The standard deviation of the least of some tens of normal values, in standard deviations of one.
const BEST_OF_NOISE: f64 = 0.6;

/// Returns the standard deviation of ln of a configuration's median steps over seeds, from the better half of the
/// configurations that reached the target. None if no configuration has several seeds that did.
fn noise_of_medians(reached: &[&(&Trial, f64, &Vec<f64>)]) -> Option<f64> {
    let better = reached.iter().take(reached.len().div_ceil(2)).map(|(_, _, repeats)| *repeats);
    let (mut squares, mut degrees, mut seeds) = (0.0, 0.0, 0);
    for repeats in better.filter(|repeats| repeats.len() > 1 && repeats.iter().all(|steps| steps.is_finite())) {
        let mean = repeats.iter().map(|steps| steps.ln()).sum::<f64>() / repeats.len() as f64;
        squares += repeats.iter().map(|steps| (steps.ln() - mean).powi(2)).sum::<f64>();
        degrees += (repeats.len() - 1) as f64;
        seeds = seeds.max(repeats.len());
    }
    // The variance of the median of n normal values over that of one.
    let of_median = match seeds {
        0 => return None,
        2 => 0.5,
        3 => 0.449,
        4 => 0.298,
        5 => 0.287,
        n => std::f64::consts::FRAC_PI_2 / n as f64,
    };
    Some((squares / degrees * of_median).sqrt())
}

/// Returns the number of hyperparameters that have several values.
fn varied(trials: &[Trial]) -> usize {
    let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, value) in trials.iter().flat_map(|trial| &trial.params) {
        values.entry(name).or_default().insert(value.to_string());
    }
    values.values().filter(|values| values.len() > 1).count()
}

/// Returns the step at which a trial reached the target, or None if it did not.
pub(super) fn step_of_target(trial: &Trial, objective: &Objective, target: f64) -> Option<u64> {
    let minimized = |value: f64| objective.direction.minimized(value);
    objective.of(trial).filter(|(value, _)| minimized(*value) <= minimized(target)).map(|(_, step)| step)
}
