//! E1: the best configurations lie at the edge of a range. E4: they lie below the edge of instability.
//!
//! An edge needs two signs, because each alone is wrong too often: some of the best five lie there, which tells an edge
//! from a slope that ends before it, and all configurations there rank higher than the others, which tells it from
//! chance.

use super::{End, Evidence, Experiment, Finding, Severity, TOP, number};
use crate::percent::estimated_percent;
use crate::scaling::{Side, widened};
use crate::words::{counted, verb};
use tunebook_study::{Distribution, Hyperparameter, Scale};

/// The outer share of a range on each side that counts as its edge, in u.
const BAND: f64 = 0.1;
/// The outer share in which most of the best configurations lie if better ones lie beyond it.
const WIDE_BAND: f64 = 0.2;
/// In a small study, too few configurations lie in the wide band for a test. If all of these are among the best, those
/// in this share are ranked.
const HALF: f64 = 0.5;
/// So many of the best configurations are most of them.
const MOST: usize = 3;
/// The rules need at least as many configurations.
const LEAST: usize = 10;
/// The configurations at the edge are better than the others if chance would rank them as high at most this often.
const CHANCE: f64 = 0.02;
/// The same for those in the wide band, if only one of the best is at the edge.
const CHANCE_OF_WIDE: f64 = 0.005;
/// A hyperparameter with a smaller share of the variance does not matter enough for a warning.
const LEAST_SHARE: f64 = 0.05;

const SECTION: &str = "E1 Identifying bad search space boundaries";

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    if evidence.ranked.len() < LEAST {
        return vec![];
    }
    let mut found = vec![];
    for (hyperparameter, share) in evidence.ranges() {
        let placed = evidence.ranked.iter().filter_map(|(y, c)| Some((*y, evidence.u(hyperparameter, c)?)));
        let (objectives, all): (Vec<f64>, Vec<f64>) = placed.unzip();
        if let Some(edge) = instability_edge(evidence, hyperparameter, *share, &all) {
            found.push(edge);
            continue;
        }
        if all.len() < LEAST {
            continue;
        }
        let placed = (&all[..], &mean_ranks(&objectives)[..]);
        found.extend(
            [End::Low, End::High].into_iter().filter_map(|end| boundary(evidence, hyperparameter, *share, placed, end)),
        );
    }
    found
}

/// `all` holds the coordinate u of each ranked configuration that has one, and `ranks` their ranks.
fn boundary(
    evidence: &Evidence<'_>,
    hyperparameter: &Hyperparameter,
    share: f64,
    (all, ranks): (&[f64], &[f64]),
    end: End,
) -> Option<Finding> {
    let (n, of_best) = (all.len(), all.len().min(TOP));
    let outer = |part: f64| {
        let part = part.max(end_value(&hyperparameter.distribution, end));
        let is_there: Vec<bool> =
            all.iter().map(|u| if end == End::Low { *u < part } else { *u > 1.0 - part }).collect();
        Outer {
            part,
            count: is_there.iter().filter(|is_there| **is_there).count(),
            of_best: is_there[..of_best].iter().filter(|is_there| **is_there).count(),
            chance: chance_of_ranks(ranks, &is_there),
        }
    };
    let (band, wide) = (outer(BAND), outer(WIDE_BAND));
    let half = outer(HALF);
    let best_is_there =
        all.first().is_some_and(|u| if end == End::Low { *u < band.part } else { *u > 1.0 - band.part });
    let all_are_good = best_is_there && wide.of_best == wide.count;
    let better = match (band.of_best, wide.of_best) {
        (0, _) => return None,
        (2.., MOST..) if band.chance <= CHANCE => &band,
        (_, MOST..) if wide.chance <= CHANCE_OF_WIDE => &wide,
        _ if all_are_good && half.chance <= CHANCE => &half,
        _ => return None,
    };
    let severity = match (band.of_best >= MOST, share >= LEAST_SHARE) {
        (true, true) => Severity::Problem,
        (true, false) | (false, true) => Severity::Warning,
        (false, false) => return None,
    };
    let label = hyperparameter.label();
    // Of 1 − v, a large coordinate is a small value.
    let is_reversed = hyperparameter.distribution.scale() == Scale::OneMinusLog;
    let at_value = if (end == End::Low) != is_reversed { End::Low } else { End::High };
    let side = if at_value == End::Low { "lower" } else { "upper" };
    let place = |outer: &Outer| match outer.part {
        part if part == BAND => format!("in the {side} tenth of its range"),
        part if part == WIDE_BAND => format!("in the {side} fifth of its range"),
        part if part == HALF => format!("in the {side} half of its range"),
        _ => format!("at the {side} end of its range"),
    };
    // Of a sampler that tries more where results are good, how often chance ranks as high is not known.
    let by_chance = match evidence.is_exchangeable() {
        true => {
            let (they, share) = (verb(better.count, "it", "they"), estimated_percent(better.chance, 0));
            format!(": if {label} did not matter, {they} would rank as high in {share} of studies")
        }
        false => String::new(),
    };
    let message = format!(
        "{} of the {of_best} best configurations {} {label} {} ({}), compared with {} of all {n}. The {} {} {} better \
         than the others{by_chance}. {label} explains {} of the variance.",
        band.of_best,
        verb(band.of_best, "has", "have"),
        place(&band),
        hyperparameter.distribution,
        band.count,
        counted(better.count, "configuration"),
        place(better),
        verb(better.count, "is", "are"),
        estimated_percent(share, 0)
    );
    let grown = if end == End::Low { Side::Low } else { Side::High };
    let wider = widened(&evidence.definition.space, hyperparameter, &[grown], evidence.workload);
    let advice = match wider {
        Some(_) => "Widen the range on this side and run the study on: better values may lie beyond it.",
        None => "The range cannot be widened on this side. Look at what limits it.",
    };
    let finding = Finding::new("boundary", severity, SECTION, message, advice)
        .with("best_at_edge", band.of_best as f64)
        .with("of_best", of_best as f64)
        .with("at_edge", band.count as f64)
        .with("configurations", n as f64)
        .with("ranked_high", better.count as f64)
        .with("share_of_variance", share);
    let finding = if evidence.is_exchangeable() { finding.with("chance", better.chance) } else { finding };
    Some(Finding { hyperparameter: Some(label), side: Some(end), experiment: wider.map(Experiment::Wider), ..finding })
}

/// The configurations in the outer part of a range.
struct Outer {
    /// The part, in u.
    part: f64,
    count: usize,
    of_best: usize,
    /// How often as many configurations, drawn at random, rank as high as these ([`chance_of_ranks`]).
    chance: f64,
}

/// Returns the share of a range of whole numbers, in u, that belongs to its first or last value. 0 for another range,
/// and for two values, each of which is an end.
fn end_value(distribution: &Distribution, end: End) -> f64 {
    let (Distribution::Int { low, high } | Distribution::LogInt { low, high }) = distribution else { return 0.0 };
    let [outer, next] = if end == End::Low { [*low, low + 1] } else { [*high, high - 1] };
    if high - low < 2 {
        return 0.0;
    }
    // The border lies in the middle between the two values.
    let u = |value: i64| distribution.to_unit(&value.into()).unwrap_or(f64::NAN);
    let border = 0.5 * (u(outer) + u(next));
    if end == End::Low { border } else { 1.0 - border }
}

/// Returns the ranks of sorted values, from 1 on. Equal values share the mean of their ranks.
fn mean_ranks(sorted: &[f64]) -> Vec<f64> {
    let mut ranks = Vec::with_capacity(sorted.len());
    for equal in sorted.chunk_by(|a, b| a == b) {
        let rank = ranks.len() as f64 + 0.5 * (equal.len() + 1) as f64;
        ranks.extend(std::iter::repeat_n(rank, equal.len()));
    }
    ranks
}

/// Returns the probability that as many configurations, drawn at random, have a sum of ranks that is not larger (the
/// one-sided test of Mann and Whitney, by its normal approximation).
fn chance_of_ranks(ranks: &[f64], is_there: &[bool]) -> f64 {
    let there: Vec<f64> =
        ranks.iter().zip(is_there).filter(|(_, is_there)| **is_there).map(|(rank, _)| *rank).collect();
    let (n, m) = (ranks.len() as f64, there.len() as f64);
    let variance = m * (n - m) * (n + 1.0) / 12.0;
    if variance == 0.0 {
        return 1.0;
    }
    let below_mean = 0.5 * m * (n + 1.0) - there.iter().sum::<f64>();
    0.5 * libm::erfc(below_mean / (2.0 * variance).sqrt())
}

/// Finds that all configurations above some value are infeasible and that the best ones lie just below it. `all` holds
/// the coordinate u of each ranked configuration that has one.
fn instability_edge(
    evidence: &Evidence<'_>,
    hyperparameter: &Hyperparameter,
    share: f64,
    all: &[f64],
) -> Option<Finding> {
    let u = |c| evidence.u(hyperparameter, c);
    let largest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let above = evidence.infeasible.iter().filter_map(u).filter(|u| *u > largest).count();
    let near = |u: f64| u > largest - BAND;
    let top: Vec<f64> = evidence.top().iter().filter_map(|(_, c)| u(c)).collect();
    let close = top.iter().filter(|u| near(**u)).count();
    let is_edge = above >= 3
        && above as f64 >= 0.8 * evidence.infeasible.len() as f64
        && top.first().is_some_and(|u| near(*u))
        && close >= 3
        && share >= LEAST_SHARE;
    if !is_edge {
        return None;
    }
    let is_reversed = hyperparameter.distribution.scale() == Scale::OneMinusLog;
    if is_reversed {
        return None;
    }
    let label = hyperparameter.label();
    let stable = hyperparameter.distribution.from_unit(largest).as_f64().unwrap_or(f64::NAN);
    let message = format!(
        "All {above} configurations with {label} above {} are infeasible, and {close} of the {} best lie just below: \
         training is limited by its instability.",
        number(stable),
        top.len()
    );
    let advice = "Fix the instability before anything else, so that larger values can be used: learning rate warm-up, \
                  then gradient clipping. `%stability` with the workload measures the edge, and `--fix` tries the remedies.";
    let finding = Finding::new(
        "instability-edge",
        Severity::Warning,
        "E4 How can optimization failures be debugged and mitigated?",
        message,
        advice,
    )
    .with("infeasible_above", above as f64)
    .with("infeasible", evidence.infeasible.len() as f64)
    .with("largest_feasible", stable)
    .with("best_near_edge", close as f64)
    .with("of_best", top.len() as f64)
    .with("share_of_variance", share);
    Some(Finding { hyperparameter: Some(label), side: Some(End::High), ..finding })
}
