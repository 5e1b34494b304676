//! The isolation plot (Playbook E13): the best configuration for each value of one hyperparameter, after optimizing
//! over all the others.
//!
//! The best of more configurations is better by luck alone. So each point also has its budget-matched value: the
//! expected best of as many configurations as the value with the fewest has.

mod buckets;
mod comparison;

pub use buckets::Bucket;
pub(crate) use comparison::compare;
pub use comparison::{Comparison, Level};

use crate::AnalysisError;
use crate::best_of_k::Objectives;
use crate::configurations::{Configuration, configurations, failed_configurations};
use crate::hyperparameter::{value_in, varied_hyperparameter};
use crate::metric_bounds::metric_bounds;
use buckets::{Group, grouped};
use serde::{Serialize, Serializer};
use tunebook_study::{Direction, Objective, Params, Scale, StudyDefinition, Trial, TrialState, Value};

/// The isolation of one hyperparameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Isolation {
    /// The label of the hyperparameter.
    pub hyperparameter: String,
    /// The scale on which the values of the hyperparameter are drawn. It is not part of the JSON.
    #[serde(skip)]
    pub scale: Scale,
    /// Whether a smaller or a larger objective is better.
    pub direction: Direction,
    /// The metric that judges the trials.
    pub metric: String,
    /// One point for each value of a list or of a range of few whole numbers, or for each bucket of another range, in
    /// order.
    pub points: Vec<IsolationPoint>,
    /// The number of configurations that `budget_matched` assumes: the smallest number of any point that has some.
    #[serde(rename = "matched_trials")]
    pub matched: usize,
    /// The best point against the second best. None if fewer than two points have an objective.
    pub comparison: Option<Comparison>,
}

/// The best over the nuisance hyperparameters for one bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IsolationPoint {
    /// The values that the point stands for.
    #[serde(flatten)]
    pub bucket: Bucket,
    /// The objective of the best configuration, by the median over its seeds, in the metric's own sign. None if no
    /// configuration has one.
    pub objective: Option<f64>,
    /// The number of the trial in the middle of the best configuration's seeds.
    pub trial: Option<u32>,
    /// The active hyperparameters of that trial.
    pub params: Option<Params>,
    /// Whether the value switches off what the hyperparameter stands for: it is `false`, 0, `none` or `off`. Equally
    /// tuned, it is the baseline of the others.
    #[serde(rename = "baseline")]
    pub is_baseline: bool,
    /// The complete and infeasible trials of this bucket, by number. Each such trial of the study is in exactly one
    /// point. The JSON holds only how many they are.
    #[serde(serialize_with = "count")]
    pub trials: Vec<BucketTrial>,
    /// The number of finished configurations of this bucket.
    pub configurations: usize,
    /// The number of these configurations that have no objective, because the median over their seeds is infeasible.
    pub infeasible: usize,
    /// The number of other configurations of this bucket: those whose trials all failed.
    pub failed: usize,
    /// The 95 % interval of the best that an independent study with as many configurations in this bucket finds (study
    /// variance). An end is None if it is not known.
    pub interval: Option<[Option<f64>; 2]>,
    /// The least and the largest objective among the seeds of the best configuration (trial variance). None if it has
    /// one seed.
    pub seeds: Option<[f64; 2]>,
    /// The expected best of `matched` of the configurations. It is the median best if a draw may hold infeasible
    /// configurations only, and None if the median is infeasible too.
    pub budget_matched: Option<f64>,
}

/// One trial of an [`IsolationPoint`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketTrial {
    /// The number of the trial.
    pub number: u32,
    /// Its objective, in the metric's own sign. None if the trial is infeasible or did not report the metric.
    pub objective: Option<f64>,
}

fn count<S: Serializer>(trials: &[BucketTrial], serializer: S) -> Result<S::Ok, S::Error> {
    trials.len().serialize(serializer)
}

/// Isolates one hyperparameter, which `label` names.
///
/// A list has one point for each value, and so has a range of at most ten whole numbers, or of at most `buckets` if
/// that is given. Another range has `buckets` buckets with about the same number of configurations, by default √n of n,
/// but at least 4 and at most 10. Equal values stay in one bucket, so that there may be fewer buckets.
///
/// It is an error if the hyperparameter is unknown or does not vary, or if no configuration has an objective.
pub fn isolation(
    definition: &StudyDefinition,
    trials: &[Trial],
    label: &str,
    buckets: Option<usize>,
    objective: &Objective,
) -> Result<Isolation, AnalysisError> {
    let hyperparameter = varied_hyperparameter(&definition.space, label)?;
    let placed: Vec<(Configuration<'_>, &Value)> = configurations(trials, objective)
        .into_iter()
        .filter_map(|configuration| {
            let value = value_in(&definition.space, hyperparameter, configuration.trials[0])?;
            Some((configuration, value))
        })
        .collect();
    if !placed.iter().any(|(configuration, _)| configuration.is_finished && configuration.objective.is_some()) {
        return Err(AnalysisError::NoObjective { metric: objective.metric.clone() });
    }
    let groups: Vec<(Group<'_>, Objectives)> = grouped(&hyperparameter.distribution, placed, buckets)
        .into_iter()
        .map(|(bucket, group)| {
            let finished = group.iter().filter(|configuration| configuration.is_finished);
            let values: Vec<Option<f64>> = finished.map(|configuration| configuration.objective).collect();
            ((bucket, group), Objectives::new(values, objective.direction))
        })
        .collect();
    let matched = groups.iter().map(|(_, values)| values.count()).filter(|n| *n > 0).min().unwrap_or(0);
    let bounds = metric_bounds(objective, trials);
    let comparison = compare(&groups.iter().map(|(_, values)| values.clone()).collect::<Vec<_>>());
    let mut points: Vec<IsolationPoint> =
        groups.into_iter().map(|(group, values)| point(group, &values, objective, matched, bounds)).collect();
    for failed in failed_configurations(trials) {
        let Some(value) = value_in(&definition.space, hyperparameter, failed.trials[0]) else { continue };
        // A value between two buckets counts with the nearer one.
        let distance = |point: &IsolationPoint| point.bucket.distance(value, &hyperparameter.distribution);
        let distances = points.iter_mut().filter_map(|point| Some((distance(point)?, point)));
        if let Some((_, point)) = distances.min_by(|a, b| a.0.total_cmp(&b.0)) {
            point.failed += 1;
        }
    }
    Ok(Isolation {
        hyperparameter: hyperparameter.label(),
        scale: hyperparameter.distribution.scale(),
        direction: objective.direction,
        metric: objective.metric.clone(),
        points,
        matched,
        comparison,
    })
}

impl Isolation {
    /// Whether configurations have several trials each, so that there are fewer configurations than trials.
    pub fn has_seeds(&self) -> bool {
        self.points.iter().any(|point| point.configurations < point.trials.len())
    }
}

fn point(
    (bucket, group): Group<'_>,
    values: &Objectives,
    objective: &Objective,
    matched: usize,
    bounds: [Option<f64>; 2],
) -> IsolationPoint {
    // Minimizing a maximized metric changes its sign; doing it again restores the sign.
    let sign = |y: f64| objective.direction.minimized(y);
    let value_of = |trial: &Trial| {
        let complete = trial.state == TrialState::Complete;
        objective.of(trial).map(|(value, _)| value).filter(|_| complete)
    };
    let finished =
        || group.iter().filter(|configuration| configuration.is_finished && configuration.objective.is_some());
    let best = finished().min_by(|a, b| {
        let of = |configuration: &Configuration<'_>| configuration.objective.map_or(f64::INFINITY, sign);
        of(a).total_cmp(&of(b))
    });
    let seeds = best.filter(|best| best.trials.len() > 1).and_then(|best| {
        let values: Option<Vec<f64>> = best.trials.iter().map(|trial| value_of(trial)).collect();
        let values = values?;
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        Some([low, values.into_iter().fold(f64::NEG_INFINITY, f64::max)])
    });
    let budget_matched = values.expected_best(matched).or_else(|| values.quantile_of_best(matched, 0.5)).map(sign);
    let mut trials: Vec<BucketTrial> = group
        .iter()
        .flat_map(|configuration| &configuration.trials)
        .map(|trial| BucketTrial { number: trial.number, objective: value_of(trial) })
        .collect();
    trials.sort_by_key(|trial| trial.number);
    IsolationPoint {
        is_baseline: matches!(&bucket, Bucket::Value(value) if is_off(value)),
        bucket,
        objective: best.and_then(|best| best.objective),
        trial: best.and_then(|best| Some(best.middle?.number)),
        params: best.and_then(|best| Some(best.middle?.params.clone())),
        trials,
        configurations: values.count(),
        infeasible: values.count() - values.sorted().len(),
        failed: 0,
        interval: values.prediction_interval(objective.direction, bounds),
        seeds,
        budget_matched,
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Bool(on) => !on,
        Value::Text(text) => ["none", "off"].contains(&text.to_lowercase().as_str()),
        other => other.as_f64() == Some(0.0),
    }
}
