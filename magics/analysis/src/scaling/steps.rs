//! Steps to the target at one batch size: of the best configuration, the median over its repeats.

use crate::resampling::{RESAMPLES, Resampler, median, middle};
use std::collections::BTreeMap;
use tunebook_study::{Distribution, Objective, Params, SearchSpace, Trial};

/// The outer share of a search space, on each side, that counts as its edge; in u, the coordinate in which it is sampled
/// evenly.
pub const EDGE: f64 = 0.1;

/// What the trials of a size say.
#[derive(Clone, Debug, PartialEq)]
pub struct StepsToTarget {
    /// Of the best configuration, the median over its repeats; `None` where none reaches the target.
    pub steps: Option<f64>,
    /// 95 % of that, by the bootstrap over configurations and repeats.
    pub interval: Option<[f64; 2]>,
    /// Trials that ended.
    pub trials: usize,
    /// Configurations whose median reached the target.
    pub reached: usize,
    /// The best configuration.
    pub params: Option<Params>,
    /// Steps of each repeat of each configuration; infinite where it did not reach the target.
    repeats: Vec<Vec<f64>>,
}

/// Reads the trials of a size, each of which was trained until it reached the target, or gave up.
pub fn steps_to_target(trials: &[Trial], objective: &Objective, target: f64) -> StepsToTarget {
    let minimized = |value: f64| objective.direction.minimized(value);
    let mut configurations: BTreeMap<u32, (&Trial, Vec<f64>)> = BTreeMap::new();
    let ended = || trials.iter().filter(|trial| !trial.state.runs_again());
    for trial in ended() {
        let reached = objective.of(trial).filter(|(value, _)| minimized(*value) <= minimized(target));
        let steps = reached.map_or(f64::INFINITY, |(_, step)| step.max(1) as f64);
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
        // Where many draws hold no configuration that reaches the target, the upper end is not known.
        found.interval = (draws.len() >= RESAMPLES * 39 / 40).then(|| middle(&draws));
    }
    found
}

impl StepsToTarget {
    /// The steps that another such study would find: configurations and, within each, repeats drawn with replacement.
    pub(super) fn drawn(&self, resampler: &mut Resampler) -> Option<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..self.repeats.len() {
            let repeats = &self.repeats[resampler.below(self.repeats.len())];
            let again = repeats.iter().map(|_| repeats[resampler.below(repeats.len())]).collect();
            least = least.min(median(again));
        }
        least.is_finite().then_some(least)
    }
}

/// Which end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its lower one, in u.
    Low,
    /// Its upper one.
    High,
}

/// Whether the learning rate (or, where that is not tuned, the first range of the space) of the best configuration lies at the edge
/// of its search space, or no trial lies beyond it: the hyperparameter and the side.
pub fn edge(space: &SearchSpace, params: &Params, trials: &[Trial]) -> Option<(String, Side)> {
    let is_range = |distribution: &Distribution| {
        !matches!(distribution, Distribution::Choice { .. } | Distribution::Constant { .. })
    };
    let ranges = || {
        space
            .hyperparameters()
            .iter()
            .filter(|h| is_range(&h.distribution))
            .filter(|h| space.active(&h.name, params).is_some_and(|active| active.label() == h.label()))
    };
    let judged = ranges().find(|h| h.name == "lr").or_else(|| ranges().next())?;
    // A value outside of the range stems from before it was changed, and is no edge of this one.
    let u = judged.distribution.to_unit(params.get(&judged.name)?)?;
    let tried = trials.iter().filter_map(|trial| judged.distribution.to_unit(trial.params.get(&judged.name)?));
    let (least, most) = tried.fold((u, u), |(least, most), tried: f64| (least.min(tried), most.max(tried)));
    match u {
        u if u < EDGE || (u == least && u < most) => Some((judged.name.clone(), Side::Low)),
        u if u > 1.0 - EDGE || (u == most && u > least) => Some((judged.name.clone(), Side::High)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{Hyperparameter, Role};

    #[test]
    fn the_edge_is_the_outer_tenth_of_the_learning_rates_range() {
        let mut space = SearchSpace::new();
        let mut declare = |name: &str, distribution| {
            let (name, role, conditions) = (name.into(), Role::Nuisance, vec![]);
            space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
        };
        declare("momentum", Distribution::uniform(0.0, 1.0).unwrap());
        declare("lr", Distribution::log_uniform(1e-4, 10.0).unwrap());
        let params = |lr: f64| Params::from([("lr".to_string(), lr.into()), ("momentum".to_string(), 0.99.into())]);
        let at = |lr: f64| edge(&space, &params(lr), &[]);
        assert_eq!(at(2.0), None, "momentum may lie where it likes");
        assert_eq!(at(5.0), Some(("lr".into(), Side::High)));
        assert_eq!(at(2e-4), Some(("lr".into(), Side::Low)));
        assert_eq!(edge(&SearchSpace::new(), &Params::new(), &[]), None);
        let trial = |lr: f64| Trial {
            number: 1,
            configuration: 0,
            params: params(lr),
            seed: 0,
            state: tunebook_study::TrialState::Complete,
            reason: None,
            summaries: Default::default(),
            seconds: 0.0,
            started: 0.0,
        };
        let among = |lr: f64| edge(&space, &params(lr), &[trial(0.01), trial(0.1), trial(1.0)]);
        assert_eq!((among(0.1), among(1.0)), (None, Some(("lr".into(), Side::High))), "nothing lies beyond it");
    }
}
