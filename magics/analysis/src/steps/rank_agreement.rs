//! How far the ranks of two rounds agree (Playbook G8): conclusions of short trainings may fail in longer ones.

use crate::configurations::configurations;
use serde::Serialize;
use tunebook_study::{Objective, StudyDefinition, Trial, Value};

/// How far the ranks of the configurations of two rounds agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankAgreement {
    /// The number of configurations that both rounds have trained.
    pub configurations: usize,
    /// Spearman's rank correlation of their objectives.
    pub correlation: f64,
    /// Its 95 % interval, by Fisher's z with the standard error of Bonett and Wright (2000).
    pub interval: [f64; 2],
    /// Whether the best of the one round is the best of the other.
    pub same_best: bool,
}

/// With fewer common configurations, a rank correlation says nothing.
const LEAST_COMMON: usize = 6;

/// Compares the configurations that two rounds of a study have in common: those with equal values of everything that
/// varies in the first one. None if there are fewer than six with an objective.
pub fn rank_agreement(
    definition: &StudyDefinition,
    trials: &[Trial],
    others: &[Trial],
    objective: &Objective,
) -> Option<RankAgreement> {
    let varied: Vec<&str> = definition
        .space
        .hyperparameters()
        .iter()
        .filter(|h| h.distribution.varies())
        .map(|h| h.name.as_str())
        .collect();
    let key =
        |trial: &Trial| varied.iter().map(|name| trial.params.get(*name).map(Value::to_string)).collect::<Vec<_>>();
    let of = |trials: &[Trial]| -> Vec<(Vec<Option<String>>, f64)> {
        let all = configurations(trials, objective);
        let finished = all.iter().filter(|configuration| configuration.is_finished);
        let judged = finished.filter_map(|c| Some((key(c.trials[0]), objective.direction.minimized(c.objective?))));
        judged.collect()
    };
    let (first, second) = (of(trials), of(others));
    let pairs: Vec<(f64, f64)> = first
        .iter()
        .filter_map(|(key, y)| second.iter().find(|(other, _)| other == key).map(|(_, other)| (*y, *other)))
        .collect();
    let (correlation, interval) = spearman(&pairs)?;
    let least = |of: fn(&(f64, f64)) -> f64| {
        pairs.iter().enumerate().min_by(|a, b| of(a.1).total_cmp(&of(b.1))).map(|(i, _)| i)
    };
    let same_best = least(|pair| pair.0) == least(|pair| pair.1);
    Some(RankAgreement { configurations: pairs.len(), correlation, interval, same_best })
}

/// Spearman's rank correlation with its 95 % interval. None for fewer than six pairs, or if all values of one side are
/// equal.
pub(crate) fn spearman(pairs: &[(f64, f64)]) -> Option<(f64, [f64; 2])> {
    let n = pairs.len();
    if n < LEAST_COMMON {
        return None;
    }
    // Equal values share the mean of their ranks.
    let ranks = |values: Vec<f64>| -> Vec<f64> {
        let below = |x: f64| values.iter().filter(|y| **y < x).count() as f64;
        let equal = |x: f64| values.iter().filter(|y| **y == x).count() as f64;
        values.iter().map(|x| below(*x) + 0.5 * (equal(*x) - 1.0)).collect()
    };
    let (a, b) = (ranks(pairs.iter().map(|p| p.0).collect()), ranks(pairs.iter().map(|p| p.1).collect()));
    let middle = (n - 1) as f64 / 2.0;
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>();
    let correlation = sum(&a, &b) / (sum(&a, &a) * sum(&b, &b)).sqrt();
    if !correlation.is_finite() {
        return None;
    }
    let z = correlation.clamp(-0.999_999, 0.999_999).atanh();
    let error = ((1.0 + 0.5 * correlation * correlation) / (n - 3) as f64).sqrt();
    Some((correlation, [(z - 1.96 * error).tanh(), (z + 1.96 * error).tanh()]))
}

#[cfg(test)]
mod tests {
    use super::spearman;

    #[test]
    fn the_rank_correlation_is_spearmans() {
        let pairs: Vec<(f64, f64)> = [106., 100., 86., 101., 99., 103., 97., 113., 112., 110.]
            .into_iter()
            .zip([7., 27., 2., 50., 28., 29., 20., 12., 6., 17.])
            .collect();
        let (correlation, [low, high]) = spearman(&pairs).unwrap();
        assert!((correlation + 0.175_757_6).abs() < 1e-6, "{correlation}");
        assert!(low < correlation && correlation < high);
        assert_eq!(spearman(&pairs[..5]), None);
        assert_eq!(spearman(&[(1.0, 2.0); 8]), None, "equal values have no ranks");
    }
}
