//! The isolation plot (Playbook E13): the best trial for each value of one hyperparameter, after optimizing over all
//! the others.
//!
//! The best of more trials is better by luck alone. So each point also has its budget-matched value: the expected best
//! of as many trials as the value with the fewest trials has.

use crate::best_of_k::{bootstrap_interval, chance_of_better, expected_best, quantile_of_best};
use crate::hyperparameter::{value_in, varied_hyperparameter};
use crate::{AnalysisError, ranked};
use serde::{Serialize, Serializer};
use tunebook_study::{Direction, Distribution, Objective, Scale, StudyDefinition, Trial, TrialState, Value};

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
    /// One point for each value of a list, or for each bucket of a range, in order.
    pub points: Vec<IsolationPoint>,
    /// The number of trials that `budget_matched` assumes: the smallest number of trials of any point that has trials.
    pub matched_trials: usize,
    /// The best point against the second best. None if fewer than two points have a complete trial.
    pub comparison: Option<Comparison>,
}

/// How sure it is that the best point is better than the second best.
///
/// The probability rests on the trials of the study (its study variance). The variance of training the same
/// configuration again is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The index of the best point.
    pub best: usize,
    /// The index of the second best point.
    pub second: usize,
    /// The number k of trials that are drawn from each of the two: half of the trials of the smaller one.
    pub drawn: usize,
    /// The probability that the best of k trials of the best point is better than the best of k trials of the second
    /// best ([`chance_of_better`]). None if k is below 2.
    pub probability: Option<f64>,
}

/// The values of the hyperparameter that one point stands for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// One value of a list.
    Value(Value),
    /// The values from the smallest to the largest that a trial of this bucket has. Buckets do not overlap.
    Range([f64; 2]),
}

/// The best over the nuisance hyperparameters for one bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IsolationPoint {
    /// The values that the point stands for.
    #[serde(flatten)]
    pub bucket: Bucket,
    /// The best objective, in the metric's own sign. None if no trial is complete.
    pub objective: Option<f64>,
    /// The number of the trial that has the best objective.
    pub trial: Option<u32>,
    /// The complete and infeasible trials of this bucket, by number. Each such trial of the study is in exactly one
    /// point. The JSON holds only how many they are.
    #[serde(serialize_with = "count")]
    pub trials: Vec<BucketTrial>,
    /// The number of infeasible trials among them.
    pub infeasible: usize,
    /// The 95 % interval of the best that another study with as many trials in this bucket would find (study variance).
    pub interval: Option<[f64; 2]>,
    /// The expected best of `matched_trials` of the trials. It is the median best if a draw may hold infeasible trials
    /// only, and None if the median is infeasible too.
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
/// A list has one point for each value. A range has `buckets` buckets with about the same number of trials, by default
/// √n of n trials, but at least 4 and at most 10. Trials with equal values stay in one bucket, so that there may be
/// fewer buckets.
///
/// It is an error if the hyperparameter is unknown or does not vary, or if no trial has an objective.
pub fn isolation(
    definition: &StudyDefinition,
    trials: &[Trial],
    label: &str,
    buckets: Option<usize>,
    objective: &Objective,
) -> Result<Isolation, AnalysisError> {
    let hyperparameter = varied_hyperparameter(&definition.space, label)?;
    let counted: Vec<(&Trial, &Value)> = trials
        .iter()
        .filter(|trial| matches!(trial.state, TrialState::Complete | TrialState::Infeasible))
        .filter_map(|trial| Some((trial, value_in(&definition.space, hyperparameter, trial)?)))
        .collect();
    if !counted.iter().any(|(trial, _)| trial.state == TrialState::Complete && objective.of(trial).is_some()) {
        return Err(AnalysisError::NoObjective { metric: objective.metric.clone() });
    }
    let groups: Vec<(Bucket, Vec<Trial>)> = match &hyperparameter.distribution {
        Distribution::Choice { values } => values
            .iter()
            .map(|value| {
                let group = counted.iter().filter(|(_, v)| v.same_as(value)).map(|(trial, _)| (*trial).clone());
                (Bucket::Value(value.clone()), group.collect())
            })
            .collect(),
        distribution => bucketed(distribution, counted, buckets),
    };
    let matched_trials = groups.iter().map(|(_, group)| group.len()).filter(|n| *n > 0).min().unwrap_or(0);
    let comparison = compare(&groups, objective);
    let points = groups.into_iter().map(|(bucket, group)| point(bucket, &group, objective, matched_trials)).collect();
    Ok(Isolation {
        hyperparameter: hyperparameter.label(),
        scale: hyperparameter.distribution.scale(),
        direction: objective.direction,
        metric: objective.metric.clone(),
        points,
        matched_trials,
        comparison,
    })
}

/// Divides the trials into buckets of about equal count, ordered by the value's coordinate in the unit interval.
///
/// The i-th of the m − 1 cuts lies after i·n/m of the n trials. A cut that would part trials with equal values moves to
/// the nearer end of these trials, the lower one if both are equally near.
fn bucketed(
    distribution: &Distribution,
    counted: Vec<(&Trial, &Value)>,
    buckets: Option<usize>,
) -> Vec<(Bucket, Vec<Trial>)> {
    let mut placed: Vec<(f64, f64, &Trial)> = counted
        .into_iter()
        .filter_map(|(trial, value)| Some((distribution.to_unit(value)?, value.as_f64()?, trial)))
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.number.cmp(&b.2.number)));
    let n = placed.len();
    let default = ((n as f64).sqrt() as usize).clamp(4, 10);
    let m = buckets.unwrap_or(default).clamp(1, n.max(1));
    let cut = |i: usize| {
        let at = i * n / m;
        let Some(u) = placed.get(at).map(|(u, ..)| *u) else { return at };
        let (first, end) = (placed.partition_point(|(v, ..)| *v < u), placed.partition_point(|(v, ..)| *v <= u));
        if at - first <= end - at { first } else { end }
    };
    let cuts: Vec<usize> = (0..=m).map(cut).collect();
    let slices = cuts.windows(2).map(|ends| &placed[ends[0]..ends[1]]);
    slices
        .filter(|bucket| !bucket.is_empty())
        .map(|bucket| {
            let values = bucket.iter().map(|(_, value, _)| *value);
            let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
            (Bucket::Range([low, high]), bucket.iter().map(|(_, _, trial)| (*trial).clone()).collect())
        })
        .collect()
}

/// Returns the minimized objectives of a group in ascending order, and the number of its trials that have none.
fn minimized(group: &[Trial], objective: &Objective) -> (Vec<f64>, usize) {
    let complete = ranked(group, objective);
    let values = complete.iter().filter_map(|trial| Some(objective.direction.minimized(objective.of(trial)?.0)));
    let values: Vec<f64> = values.collect();
    let infeasible = group.len() - values.len();
    (values, infeasible)
}

fn compare(groups: &[(Bucket, Vec<Trial>)], objective: &Objective) -> Option<Comparison> {
    let sorted: Vec<(Vec<f64>, usize)> = groups.iter().map(|(_, group)| minimized(group, objective)).collect();
    let mut order: Vec<usize> = (0..groups.len()).filter(|i| !sorted[*i].0.is_empty()).collect();
    order.sort_by(|i, j| sorted[*i].0[0].total_cmp(&sorted[*j].0[0]));
    let [mut best, mut second, ..] = order[..] else { return None };
    let of = |i: usize| (sorted[i].0.as_slice(), sorted[i].1);
    let drawn = groups[best].1.len().min(groups[second].1.len()) / 2;
    let chance = |a: usize, b: usize| if drawn >= 2 { chance_of_better(of(a), of(b), drawn) } else { None };
    let mut probability = chance(best, second);
    // If both have the same best objective, the one that is more often better in a draw comes first.
    if sorted[best].0[0] == sorted[second].0[0] && probability.is_some_and(|p| p < 0.5) {
        (best, second) = (second, best);
        probability = chance(best, second);
    }
    Some(Comparison { best, second, drawn, probability })
}

fn point(bucket: Bucket, group: &[Trial], objective: &Objective, matched_trials: usize) -> IsolationPoint {
    // Minimizing a maximized metric changes its sign; doing it again restores the sign.
    let sign = |y: f64| objective.direction.minimized(y);
    let (sorted, infeasible) = minimized(group, objective);
    let interval = bootstrap_interval(&sorted, infeasible).map(|[a, b]| {
        let (a, b) = (sign(a), sign(b));
        [a.min(b), a.max(b)]
    });
    let budget_matched = expected_best(&sorted, infeasible, matched_trials)
        .or_else(|| quantile_of_best(&sorted, infeasible, matched_trials, 0.5))
        .map(sign);
    let mut trials: Vec<BucketTrial> = group
        .iter()
        .map(|trial| {
            let complete = trial.state == TrialState::Complete;
            let objective = objective.of(trial).map(|(value, _)| value).filter(|_| complete);
            BucketTrial { number: trial.number, objective }
        })
        .collect();
    trials.sort_by_key(|trial| trial.number);
    IsolationPoint {
        bucket,
        objective: sorted.first().copied().map(sign),
        trial: ranked(group, objective).first().map(|trial| trial.number),
        trials,
        infeasible: group.iter().filter(|trial| trial.state == TrialState::Infeasible).count(),
        interval,
        budget_matched,
    }
}
