//! The isolation plot (Playbook E13): the best trial for each value of one hyperparameter, after optimizing over all the
//! others.
//!
//! The best of more trials is better by luck alone, so beside it stands the budget-matched value: the expected best of as
//! many trials as the least-tried value has.

use crate::best_of_k::{bootstrap_interval, chance_of_better, expected_best, quantile_of_best};
use crate::{AnalysisError, ranked};
use serde::Serialize;
use tunebook_study::{
    Direction, Distribution, Hyperparameter, Objective, SearchSpace, StudyDefinition, Trial, TrialState, Value,
};

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Isolation {
    /// Label of the hyperparameter.
    pub hyperparameter: String,
    /// Which way the objective is better.
    pub direction: Direction,
    /// The metric.
    pub metric: String,
    /// One for each value or bucket, in order.
    pub points: Vec<IsolationPoint>,
    /// Trials of the least-tried value that has any: what `budget_matched` is matched to.
    pub matched_trials: usize,
    /// The best place against the second best; null where only one has a complete trial.
    pub comparison: Option<Comparison>,
}

/// How sure the best place is, by the study's own trials (study variance; the variance of re-training is not in it).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Index of the best point.
    pub best: usize,
    /// Index of the second best.
    pub second: usize,
    /// Trials of each that a study of half the size draws.
    pub drawn: usize,
    /// Share of such studies in which the best comes out ahead; null with too few trials to draw from.
    pub probability: Option<f64>,
}

/// A value, or a bucket of values.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Exactly this value.
    Value(Value),
    /// From the first to the second.
    Range([f64; 2]),
}

/// The best over the nuisance hyperparameters at one place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IsolationPoint {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The best objective, in the metric's own sign.
    pub objective: Option<f64>,
    /// The trial that reached it.
    pub trial: Option<u32>,
    /// Trials here that ended complete or infeasible.
    pub trials: usize,
    /// Of them infeasible.
    pub infeasible: usize,
    /// 95 % of the bests that a study of as many trials here would find (study variance).
    pub interval: Option<[f64; 2]>,
    /// Expected best of `matched_trials` of the trials here (the median where too many are infeasible for a mean).
    pub budget_matched: Option<f64>,
}

/// The declaration that a label means, with something to compare.
pub(crate) fn declared<'a>(space: &'a SearchSpace, label: &str) -> Result<&'a Hyperparameter, AnalysisError> {
    let labels = |all: &mut dyn Iterator<Item = &Hyperparameter>| all.map(Hyperparameter::label).collect::<Vec<_>>();
    let Some(hyperparameter) = space.find(label) else {
        let branches = labels(&mut space.named(label));
        return Err(if branches.is_empty() {
            let known = labels(&mut space.hyperparameters().iter().filter(|h| !h.distribution.is_constant()));
            AnalysisError::UnknownHyperparameter { name: label.into(), known }
        } else {
            AnalysisError::Ambiguous { name: label.into(), labels: branches }
        });
    };
    let one_choice = matches!(&hyperparameter.distribution, Distribution::Choice { values } if values.len() == 1);
    if hyperparameter.distribution.is_constant() || one_choice {
        return Err(AnalysisError::Constant { name: label.into() });
    }
    Ok(hyperparameter)
}

/// A trial's value of a declaration, where that declaration is the active one.
pub(crate) fn value_in<'t>(
    space: &SearchSpace,
    hyperparameter: &Hyperparameter,
    trial: &'t Trial,
) -> Option<&'t Value> {
    let active = space.active(&hyperparameter.name, &trial.params)?;
    if active != hyperparameter {
        return None;
    }
    trial.params.get(&hyperparameter.name)
}

/// The isolation of one hyperparameter. `buckets`: how many for a range; by default √n, between 4 and 10.
pub fn isolation(
    definition: &StudyDefinition,
    trials: &[Trial],
    label: &str,
    buckets: Option<usize>,
    objective: &Objective,
) -> Result<Isolation, AnalysisError> {
    let hyperparameter = declared(&definition.space, label)?;
    let counted: Vec<(&Trial, &Value)> = trials
        .iter()
        .filter(|trial| matches!(trial.state, TrialState::Complete | TrialState::Infeasible))
        .filter_map(|trial| Some((trial, value_in(&definition.space, hyperparameter, trial)?)))
        .collect();
    if !counted.iter().any(|(trial, _)| trial.state == TrialState::Complete && objective.of(trial).is_some()) {
        return Err(AnalysisError::NoObjective { metric: objective.metric.clone() });
    }
    let arms: Vec<(Place, Vec<Trial>)> = match &hyperparameter.distribution {
        Distribution::Choice { values } => values
            .iter()
            .map(|value| {
                let here = counted.iter().filter(|(_, v)| v.same_as(value)).map(|(trial, _)| (*trial).clone());
                (Place::Value(value.clone()), here.collect())
            })
            .collect(),
        distribution => bucketed(distribution, counted, buckets),
    };
    let matched_trials = arms.iter().map(|(_, arm)| arm.len()).filter(|n| *n > 0).min().unwrap_or(0);
    let comparison = compare(&arms, objective);
    let points = arms.into_iter().map(|(place, arm)| point(place, &arm, objective, matched_trials)).collect();
    Ok(Isolation {
        hyperparameter: hyperparameter.label(),
        direction: objective.direction,
        metric: objective.metric.clone(),
        points,
        matched_trials,
        comparison,
    })
}

/// Minimized objectives in order, and the number of trials that have none.
fn sorted(arm: &[Trial], objective: &Objective) -> (Vec<f64>, usize) {
    let complete = ranked(arm, objective);
    let values = complete.iter().filter_map(|trial| Some(objective.direction.minimized(objective.of(trial)?.0)));
    let values: Vec<f64> = values.collect();
    let infeasible = arm.len() - values.len();
    (values, infeasible)
}

fn compare(arms: &[(Place, Vec<Trial>)], objective: &Objective) -> Option<Comparison> {
    let sorted: Vec<(Vec<f64>, usize)> = arms.iter().map(|(_, arm)| sorted(arm, objective)).collect();
    let mut order: Vec<usize> = (0..arms.len()).filter(|i| !sorted[*i].0.is_empty()).collect();
    order.sort_by(|i, j| sorted[*i].0[0].total_cmp(&sorted[*j].0[0]));
    let [mut best, mut second, ..] = order[..] else { return None };
    let of = |i: usize| (sorted[i].0.as_slice(), sorted[i].1);
    let drawn = arms[best].1.len().min(arms[second].1.len()) / 2;
    let chance = |a: usize, b: usize| if drawn >= 2 { chance_of_better(of(a), of(b), drawn) } else { None };
    let mut probability = chance(best, second);
    // Of equal bests the one goes first that more often comes out ahead.
    if sorted[best].0[0] == sorted[second].0[0] && probability.is_some_and(|p| p < 0.5) {
        (best, second) = (second, best);
        probability = chance(best, second);
    }
    Some(Comparison { best, second, drawn, probability })
}

/// Buckets of equal count, by the place of the values in the unit interval.
fn bucketed(
    distribution: &Distribution,
    counted: Vec<(&Trial, &Value)>,
    buckets: Option<usize>,
) -> Vec<(Place, Vec<Trial>)> {
    let mut placed: Vec<(f64, f64, &Trial)> = counted
        .into_iter()
        .filter_map(|(trial, value)| Some((distribution.to_unit(value)?, value.as_f64()?, trial)))
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.number.cmp(&b.2.number)));
    let n = placed.len();
    let default = ((n as f64).sqrt() as usize).clamp(4, 10);
    let m = buckets.unwrap_or(default).clamp(1, n.max(1));
    (0..m)
        .map(|i| &placed[i * n / m..(i + 1) * n / m])
        .filter(|bucket| !bucket.is_empty())
        .map(|bucket| {
            let values = bucket.iter().map(|(_, value, _)| *value);
            let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
            (Place::Range([low, high]), bucket.iter().map(|(_, _, trial)| (*trial).clone()).collect())
        })
        .collect()
}

fn point(place: Place, arm: &[Trial], objective: &Objective, matched: usize) -> IsolationPoint {
    let sign = |y: f64| objective.direction.minimized(y);
    let (sorted, infeasible) = sorted(arm, objective);
    let interval = bootstrap_interval(&sorted, infeasible).map(|[a, b]| {
        let (a, b) = (sign(a), sign(b));
        [a.min(b), a.max(b)]
    });
    let budget_matched = expected_best(&sorted, infeasible, matched)
        .or_else(|| quantile_of_best(&sorted, infeasible, matched, 0.5))
        .map(sign);
    IsolationPoint {
        place,
        objective: sorted.first().copied().map(sign),
        trial: ranked(arm, objective).first().map(|trial| trial.number),
        trials: arm.len(),
        infeasible: arm.iter().filter(|trial| trial.state == TrialState::Infeasible).count(),
        interval,
        budget_matched,
    }
}
