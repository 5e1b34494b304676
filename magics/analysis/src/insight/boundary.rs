//! E1: the best configurations lie at the edge of a range. E4: they lie below the edge of instability.

use super::{End, Evidence, Experiment, Finding, Severity, TOP, number};
use crate::scaling::{Side, widened};
use tunebook_study::{Hyperparameter, Scale};

/// The outer share of a range on each side that counts as its edge, in u.
const BAND: f64 = 0.1;
/// With fewer configurations, the best one alone at an edge is a warning.
const MANY: usize = 30;
/// The rules need at least as many configurations.
const LEAST: usize = 10;
/// The band is over-represented among the best if chance would put as many there at most this often.
const CHANCE: f64 = 0.1;
/// A hyperparameter with a smaller share of the variance does not matter enough for a warning.
const LEAST_SHARE: f64 = 0.05;

const SECTION: &str = "E1 Identifying bad search space boundaries";

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    if evidence.ranked.len() < LEAST {
        return vec![];
    }
    let mut found = vec![];
    for (hyperparameter, share) in evidence.ranges() {
        if let Some(edge) = instability_edge(evidence, hyperparameter, *share) {
            found.push(edge);
            continue;
        }
        found.extend(
            [End::Low, End::High].into_iter().filter_map(|end| boundary(evidence, hyperparameter, *share, end)),
        );
    }
    found
}

fn boundary(evidence: &Evidence<'_>, hyperparameter: &Hyperparameter, share: f64, end: End) -> Option<Finding> {
    let is_at_edge = |u: f64| if end == End::Low { u < BAND } else { u > 1.0 - BAND };
    let all: Vec<f64> = evidence.ranked.iter().filter_map(|(_, c)| evidence.u(hyperparameter, c)).collect();
    let n = all.len();
    let in_band = all.iter().filter(|u| is_at_edge(**u)).count();
    let top: Vec<f64> = all.iter().take(TOP).copied().collect();
    let best_is_there = top.first().is_some_and(|u| is_at_edge(*u));
    let count = top.iter().filter(|u| is_at_edge(**u)).count();
    if n < LEAST {
        return None;
    }
    let mut severity = match count {
        3.. => Severity::Problem,
        2 => Severity::Warning,
        _ if best_is_there && n < MANY => Severity::Warning,
        _ => return None,
    };
    let chance = if count >= 2 { at_least(count, n, in_band, top.len()) } else { in_band as f64 / n as f64 };
    if chance > CHANCE {
        return None;
    }
    if share < LEAST_SHARE {
        if severity == Severity::Warning {
            return None;
        }
        severity = Severity::Warning;
    }
    let label = hyperparameter.label();
    // Of 1 − v, a large coordinate is a small value.
    let is_reversed = hyperparameter.distribution.scale() == Scale::OneMinusLog;
    let at_value = if (end == End::Low) != is_reversed { End::Low } else { End::High };
    let side = if at_value == End::Low { "lower" } else { "upper" };
    let message = format!(
        "{count} of the {} best configurations have a {label} in the {side} tenth of its range ({}), which holds \
         {in_band} of all {n}; chance alone would put as many there in {:.0} % of cases. {label} explains {:.0} % of \
         the variance.",
        top.len(),
        hyperparameter.distribution,
        100.0 * chance,
        100.0 * share
    );
    let grown = if end == End::Low { Side::Low } else { Side::High };
    let wider = widened(&evidence.definition.space, &hyperparameter.name, &[grown], evidence.workload);
    let advice = match wider {
        Some(_) => "Widen the range on this side and run the study on: better values may lie beyond it.",
        None => "The range cannot be widened on this side. Look at what limits it.",
    };
    let finding = Finding::new("boundary", severity, SECTION, message, advice)
        .with("best_at_edge", count as f64)
        .with("of_best", top.len() as f64)
        .with("at_edge", in_band as f64)
        .with("configurations", n as f64)
        .with("chance", chance)
        .with("share_of_variance", share);
    Some(Finding { hyperparameter: Some(label), side: Some(end), experiment: wider.map(Experiment::Wider), ..finding })
}

/// Finds that all configurations above some value are infeasible and that the best ones lie just below it.
fn instability_edge(evidence: &Evidence<'_>, hyperparameter: &Hyperparameter, share: f64) -> Option<Finding> {
    let u = |c| evidence.u(hyperparameter, c);
    let largest = evidence.ranked.iter().filter_map(|(_, c)| u(c)).fold(f64::NEG_INFINITY, f64::max);
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
        "All {above} configurations with a {label} above {} are infeasible, and {close} of the {} best lie just below: \
         training is limited by its instability.",
        number(stable),
        top.len()
    );
    let advice = "Mend the instability before anything else, so that larger values can be used: learning rate warm-up, \
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

/// Returns the probability that at least `count` of `drawn` are among `marked` of `n`, drawn without replacement.
fn at_least(count: usize, n: usize, marked: usize, drawn: usize) -> f64 {
    let choose = |n: usize, k: usize| -> f64 {
        if k > n { 0.0 } else { (0..k).map(|i| (n - i) as f64 / (k - i) as f64).product() }
    };
    let exactly = |k: usize| choose(marked, k) * choose(n - marked, drawn - k) / choose(n, drawn);
    (count..=drawn.min(marked)).map(exactly).sum()
}
