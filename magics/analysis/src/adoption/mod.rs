//! Whether one configuration is better than another, from new training runs of both (Playbook F4; methods 2.e.4).
//!
//! The decision rests on ranks: an exact Mann–Whitney test, and the share of pairs of runs in which the candidate is
//! better. Both stay valid if the runs of the two share their seeds, because what seeds have in common only makes equal
//! configurations look more alike. The interval of the difference is that of the pairs of runs with the same seed.
//!
//! Equal configurations are called different in at most 5 % of cases: the candidate better in 3 %, and worse in 2 %.
//! The larger part is where a decision depends on it. With five runs of each, it is what allows 3 of the 25 pairs to be
//! the wrong way round, and not only 2; skewed noise needs that (`tests/calibration/adoption.rs`).

mod rank_sum;
mod replication;
mod signed_rank;

pub use replication::{LEAST_CONFIGURATIONS, Replication, replication};

use crate::Level;
use crate::metric_bounds::metric_bounds;
use crate::resampling::median;
use crate::runs::{Run, Runs, runs_of};
use crate::student::mean_interval;
use rank_sum::{RankSum, rank_sum, smallest_p};
use serde::Serialize;
use signed_rank::signed_rank;
use tunebook_study::{Direction, Objective, Trial};

/// A verdict is possible if complete separation of the runs has at most this two-sided probability.
const SIGNIFICANT: f64 = 0.05;
/// The candidate is better if equal configurations look as much better with at most this probability.
const BETTER: f64 = 0.03;
/// It is worse if equal configurations look as much worse with at most this probability.
const WORSE: f64 = 0.02;
/// A candidate is adopted if it is better in at least this share of the pairs of runs. With eight runs, a single bad
/// one is an eighth of the pairs.
const PROBABILITY: f64 = 0.85;
/// The same for a candidate with infeasible runs. One that does not train with every seed must be better in spite of
/// it.
const PROBABILITY_IF_INFEASIBLE: f64 = 0.9;
/// So many new runs of each configuration are needed for [`Level::L2`].
const RUNS_OF_L2: usize = 5;

/// What new runs of a candidate and of a baseline say. Differences are candidate − baseline, in the metric's own sign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Adoption {
    pub metric: String,
    pub direction: Direction,
    /// The Hodges–Lehmann estimate of the difference. None if it is not finite, because of infeasible runs.
    pub difference: Option<f64>,
    /// Its 95 % interval: that of the mean of the differences of runs with the same seed, by Student's t distribution,
    /// and never without the difference. None if a run is infeasible, or with fewer than two pairs.
    pub interval: Option<[f64; 2]>,
    /// The share of pairs (run of the candidate, run of the baseline) in which the candidate is better. An infeasible
    /// run is worse than all others. Equal runs count half.
    pub probability_better: Option<f64>,
    /// The two-sided p-value of the exact Mann–Whitney test. None if no result of so few runs could be significant.
    pub p_value: Option<f64>,
    /// The probability that the runs of the candidate are as far ahead, or farther, if both are equal: the one-sided
    /// p-value of the same test, by which the candidate is adopted.
    pub p_value_better: Option<f64>,
    /// The smallest p-value that so many runs can have.
    pub smallest_p_value: f64,
    /// If the runs are too few for a verdict: how many of each configuration are enough.
    pub repeats_needed: Option<usize>,
    /// The number of seeds with which both were run.
    pub pairs: usize,
    /// The two-sided p-value of the exact Wilcoxon signed-rank test of these pairs. None without pairs.
    pub paired_p_value: Option<f64>,
    /// How well it is supported that the two differ.
    pub level: Level,
    /// Whether the candidate should be adopted.
    pub adopt: bool,
    /// The share of pairs in which the candidate must be better to be adopted.
    pub probability_needed: f64,
    /// What repeats of the whole study say. None if there are none, or if they cannot say anything about the two.
    pub replication: Option<Replication>,
    pub candidate_runs: Runs,
    pub baseline_runs: Runs,
}

/// Compares the new runs of two configurations. Runs with the same number have the same seed.
pub fn adoption(candidate: &[Trial], baseline: &[Trial], objective: &Objective) -> Adoption {
    let (a, b) = (runs_of(candidate, objective), runs_of(baseline, objective));
    let values = |runs: &[Run]| runs.iter().map(|run| run.minimized).collect::<Vec<f64>>();
    let (x, y) = (values(&a), values(&b));
    let partner = |run: &Run| b.iter().find(|other| other.number == run.number);
    let pairs: Vec<(f64, f64)> = a.iter().filter_map(|run| Some((run.minimized, partner(run)?.minimized))).collect();
    let all_feasible = x.iter().chain(&y).all(|value| value.is_finite());
    let smallest = smallest_p(x.len(), y.len());
    let ranks: Option<RankSum> = rank_sum(&x, &y);
    let tested = ranks.filter(|_| smallest <= SIGNIFICANT);
    let is_better = tested.is_some_and(|ranks| ranks.p_value_smaller <= BETTER);
    let is_real = is_better || tested.is_some_and(|ranks| ranks.p_value_larger <= WORSE);
    let level = match (is_real, x.len().min(y.len())) {
        (false, _) => Level::L0,
        (true, runs) if runs < RUNS_OF_L2 => Level::L1,
        (true, _) => Level::L2,
    };
    let probability_better = ranks.map(|ranks| ranks.probability_smaller);
    let differences: Vec<f64> = pairs.iter().map(|(x, y)| x - y).collect();
    let shift = match all_feasible && differences.len() >= 2 {
        true => median(walsh_averages(&differences)),
        false => median(all_differences(&x, &y)),
    };
    let interval = mean_interval(&differences).filter(|_| all_feasible);
    let interval = interval.map(|[low, high]| [low.min(shift), high.max(shift)]);
    let own_sign = |value: f64| objective.direction.minimized(value);
    let bounds = metric_bounds(objective, candidate.iter().chain(baseline));
    let has_infeasible = x.iter().any(|value| !value.is_finite());
    let needed = if has_infeasible { PROBABILITY_IF_INFEASIBLE } else { PROBABILITY };
    Adoption {
        metric: objective.metric.clone(),
        direction: objective.direction,
        difference: Some(own_sign(shift)).filter(|shift| shift.is_finite()),
        interval: interval.map(|ends| sorted(ends.map(own_sign))),
        probability_better,
        p_value: tested.map(|ranks| ranks.p_value),
        p_value_better: tested.map(|ranks| ranks.p_value_smaller),
        smallest_p_value: smallest,
        repeats_needed: (smallest > SIGNIFICANT).then(repeats_needed),
        pairs: pairs.len(),
        paired_p_value: signed_rank(&pairs),
        level,
        adopt: is_better && level >= Level::L2 && probability_better.is_some_and(|chance| chance >= needed),
        probability_needed: needed,
        replication: None,
        candidate_runs: Runs::of(&a, objective, bounds),
        baseline_runs: Runs::of(&b, objective, bounds),
    }
}

impl Adoption {
    /// Adds what repeats of the whole study say. A gain that they confirm is at [`Level::L3`].
    pub fn with(self, replication: Option<Replication>) -> Self {
        let is_confirmed = self.adopt && replication.as_ref().is_some_and(|found| found.confirms);
        Self { level: if is_confirmed { Level::L3 } else { self.level }, replication, ..self }
    }
}

/// The least number of runs of each of two configurations with which a difference can be significant.
fn repeats_needed() -> usize {
    (1..).find(|n| smallest_p(*n, *n) <= SIGNIFICANT).unwrap_or(RUNS_OF_L2)
}

/// The means of each two differences, and the differences themselves.
fn walsh_averages(differences: &[f64]) -> Vec<f64> {
    let with = |(i, x): (usize, &f64)| differences[i..].iter().map(|y| 0.5 * (x + y)).collect::<Vec<f64>>();
    differences.iter().enumerate().flat_map(with).collect()
}

/// The differences between each run of the one and each of the other. Two infeasible runs are equal.
fn all_differences(x: &[f64], y: &[f64]) -> Vec<f64> {
    let difference = |x: f64, y: f64| if x == y { 0.0 } else { x - y };
    x.iter().flat_map(|x| y.iter().map(move |y| difference(*x, *y))).collect()
}

fn sorted([a, b]: [f64; 2]) -> [f64; 2] {
    if a <= b { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::{objective, trials};

    #[test]
    fn a_clear_gain_of_five_runs_is_adopted_and_three_runs_get_no_verdict() {
        let found =
            adoption(&trials(&[0.11, 0.12, 0.10, 0.13, 0.14]), &trials(&[0.21, 0.22, 0.20, 0.23, 0.25]), &objective());
        assert!((found.p_value.unwrap() - 2.0 / 252.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.probability_better, found.level, found.adopt), (Some(1.0), Level::L2, true));
        assert!((found.difference.unwrap() + 0.1).abs() < 0.01);
        let [low, high] = found.interval.unwrap();
        assert!(low < -0.1 && high > -0.11 && high < -0.09, "{found:?}");
        let three = adoption(&trials(&[0.1, 0.2, 0.3]), &trials(&[1.1, 1.2, 1.3]), &objective());
        assert_eq!((three.p_value, three.repeats_needed), (None, Some(4)));
        assert!(!three.adopt && three.level == Level::L0 && (three.smallest_p_value - 0.1).abs() < 1e-12);
        let four = adoption(&trials(&[0.1, 0.2, 0.3, 0.4]), &trials(&[1.1, 1.2, 1.3, 1.4]), &objective());
        assert_eq!((four.level, four.adopt), (Level::L1, false), "five runs are needed for L2");
    }

    #[test]
    fn an_infeasible_run_is_worse_than_all_others_and_leaves_the_interval_unknown() {
        let bad = f64::NAN;
        let found = adoption(&trials(&[bad, bad, bad, 0.1, 0.1]), &trials(&[0.2; 5]), &objective());
        assert_eq!((found.interval, found.difference), (None, None), "most pairs have an infeasible run");
        assert_eq!(found.probability_better, Some(0.4));
        assert_eq!(found.candidate_runs.infeasible, [1, 2, 3]);
        let one = adoption(&trials(&[bad, 0.1, 0.1, 0.1, 0.1]), &trials(&[0.2; 5]), &objective());
        assert!((one.difference.unwrap() + 0.1).abs() < 1e-12 && one.interval.is_none() && !one.adopt);
        let none = adoption(&[], &trials(&[0.2; 5]), &objective());
        assert_eq!((none.probability_better, none.p_value, none.adopt), (None, None, false));
    }

    /// With eight runs, one bad run is an eighth of the pairs.
    #[test]
    fn one_bad_run_of_eight_costs_no_verdict_but_an_infeasible_one_does() {
        let better = |last: f64| trials(&[0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, last]);
        let baseline = trials(&[0.21, 0.22, 0.23, 0.24, 0.25, 0.26, 0.27, 0.28]);
        let bad = adoption(&better(0.9), &baseline, &objective());
        assert_eq!((bad.probability_better, bad.adopt, bad.probability_needed), (Some(0.875), true, 0.85));
        let infeasible = adoption(&better(f64::NAN), &baseline, &objective());
        assert_eq!((infeasible.probability_better, infeasible.adopt), (Some(0.875), false));
        assert_eq!((infeasible.level, infeasible.probability_needed), (Level::L2, 0.9));
    }

    #[test]
    fn a_metric_that_is_maximized_keeps_its_sign() {
        let up = Objective { direction: Direction::Maximize, ..objective() };
        let found = adoption(&trials(&[5.0, 6.0, 7.0, 8.0, 9.0]), &trials(&[1.0, 2.0, 3.0, 4.0, 4.5]), &up);
        assert!(found.adopt && found.difference.unwrap() > 3.9, "{found:?}");
        let [low, high] = found.interval.unwrap();
        assert!(low < high && low > 3.0, "{found:?}");
    }
}
