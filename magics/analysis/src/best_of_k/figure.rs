//! The figure of the best of k (Playbook I6): what studies with fewer trials would have found, and what more would buy.

use super::Objectives;
use crate::configurations;
use crate::metric_bounds::metric_bounds;
use crate::thinning::thinned_to;
use crate::{AnalysisError, MAX_POINTS};
use serde::Serialize;
use tunebook_study::{Direction, Objective, Trial};

/// The distribution of the best of k configurations of a study, for each k.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestOfK {
    /// The metric that judges the trials.
    pub metric: String,
    /// Whether a smaller or a larger objective is better.
    pub direction: Direction,
    /// One point for each number of configurations, thinned to [`crate::MAX_POINTS`], and to fewer in a large study.
    pub points: Vec<BestOfKPoint>,
    /// How many points there would be, if some were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinned: Option<usize>,
    /// n, the number of configurations, the infeasible ones included.
    pub configurations: usize,
    /// The number of infeasible ones among them.
    pub infeasible: usize,
    /// Up to this k, which is n/2, the spread says how studies of k configurations differ. Above it, the draws are more
    /// and more the same configurations, so that the spread shrinks to nothing at k = n.
    pub reliable_to: usize,
    /// How much better the best of n is than the expected best of ⌈n/2⌉ ([`Objectives::gain_of_last_doubling`]).
    pub gain_of_last_doubling: Option<f64>,
    /// The 95 % interval of the best that an independent study of n configurations finds.
    pub next_best: Option<[Option<f64>; 2]>,
}

/// The distribution of the best of k configurations, drawn without replacement. Objectives are in the metric's own
/// sign. A quantile is None where it is an infeasible configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestOfKPoint {
    /// The number of configurations that are drawn.
    pub k: usize,
    /// The lower quartile, the median and the upper quartile.
    pub quartiles: [Option<f64>; 3],
    /// The 5th and the 95th percentile.
    pub range: [Option<f64>; 2],
    /// The expectation. None if a draw may hold infeasible configurations only.
    pub expected: Option<f64>,
}

/// Returns the distribution of the best of k for each k up to the number of finished configurations.
///
/// A point costs time in proportion to the number n of configurations, so there are at most 20 million / n of them, but
/// at least 100. It is an error if no configuration has an objective.
pub fn best_of_k(trials: &[Trial], objective: &Objective) -> Result<BestOfK, AnalysisError> {
    let finished = configurations(trials, objective).into_iter().filter(|configuration| configuration.is_finished);
    let values: Vec<Option<f64>> = finished.map(|configuration| configuration.objective).collect();
    let group = Objectives::new(values.iter().copied(), objective.direction);
    if group.best().is_none() {
        return Err(AnalysisError::NoObjective { metric: objective.metric.clone() });
    }
    let n = group.count();
    let all: Vec<usize> = (1..=n).collect();
    let most = (20_000_000 / n).clamp(100, MAX_POINTS);
    // The half is in words and in the chart, so it has a point.
    let mut ks = thinned_to(&all, if n > most { most - 1 } else { most });
    ks.push((n / 2).max(1));
    ks.sort_unstable();
    ks.dedup();
    Ok(BestOfK {
        metric: objective.metric.clone(),
        direction: objective.direction,
        thinned: (ks.len() < n).then_some(n),
        points: ks.into_iter().map(|k| point(&group, k, objective.direction)).collect(),
        configurations: n,
        infeasible: values.iter().filter(|value| value.is_none()).count(),
        reliable_to: n / 2,
        gain_of_last_doubling: group.gain_of_last_doubling(),
        next_best: group.prediction_interval(objective.direction, metric_bounds(objective, trials)),
    })
}

fn point(group: &Objectives, k: usize, direction: Direction) -> BestOfKPoint {
    let at = |q: f64| group.quantile_of_best(k, q).map(|y| direction.minimized(y));
    // The lower quantiles of a maximized metric are the upper ones of its minimized values.
    let [q1, median, q3, p5, p95] = match direction {
        Direction::Minimize => [0.25, 0.5, 0.75, 0.05, 0.95],
        Direction::Maximize => [0.75, 0.5, 0.25, 0.95, 0.05],
    }
    .map(at);
    let expected = group.expected_best(k).map(|y| direction.minimized(y));
    BestOfKPoint { k, quartiles: [q1, median, q3], range: [p5, p95], expected }
}
