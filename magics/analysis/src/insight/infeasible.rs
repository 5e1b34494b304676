//! E3: a large share of the configurations is infeasible.

use super::{Evidence, Finding, Severity, number};

/// A larger share is a warning.
const LARGE: f64 = 0.3;
/// A larger share is probably a fault of the workload.
const NEARLY_ALL: f64 = 0.9;
const SECTION: &str = "E3 Examining the proportion of infeasible trials";

pub(super) fn finding(evidence: &Evidence<'_>) -> Option<Finding> {
    let (infeasible, n) = (evidence.infeasible.len(), evidence.infeasible.len() + evidence.ranked.len());
    let share = infeasible as f64 / n.max(1) as f64;
    if share <= LARGE {
        return None;
    }
    let mut message = format!("{infeasible} of {n} configurations are infeasible ({:.0} %).", 100.0 * share);
    let (mut advice, mut hyperparameter) = ("Find out why: look at their reasons and curves.".to_string(), None);
    let severity = if share > NEARLY_ALL { Severity::Problem } else { Severity::Warning };
    if share > NEARLY_ALL {
        advice = "Look for a fault in the workload before changing the search space.".into();
    } else if let Some((label, is_above, at, pure)) = cut(evidence) {
        let side = if is_above { "above" } else { "below" };
        message += &format!(" {:.0} % of the configurations with a {label} {side} {} are.", 100.0 * pure, number(at));
        advice = format!("Cut the range of {label} {side} {}, or mend what makes training fail there.", number(at));
        hyperparameter = Some(label);
    }
    let finding = Finding::new("infeasible-fraction", severity, SECTION, message, &advice)
        .with("infeasible", infeasible as f64)
        .with("configurations", n as f64)
        .with("share", share);
    Some(Finding { hyperparameter, ..finding })
}

/// Returns the cut of one range that separates the infeasible configurations best: the label, whether they lie above,
/// the value, and the share of infeasible ones on that side. None if no cut separates more than half of them.
fn cut(evidence: &Evidence<'_>) -> Option<(String, bool, f64, f64)> {
    let mut best: Option<(f64, String, bool, f64, f64)> = None;
    for (hyperparameter, _) in evidence.ranges() {
        let u = |c| evidence.u(hyperparameter, c);
        let good: Vec<f64> = evidence.ranked.iter().filter_map(|(_, c)| u(c)).collect();
        let bad: Vec<f64> = evidence.infeasible.iter().filter_map(u).collect();
        for at in bad.iter().copied() {
            for is_above in [true, false] {
                let is_beyond = |u: &&f64| if is_above { **u >= at } else { **u <= at };
                let (hit, wrong) = (bad.iter().filter(is_beyond).count(), good.iter().filter(is_beyond).count());
                let score = hit as f64 - 2.0 * wrong as f64;
                if 2 * hit > bad.len() && best.as_ref().is_none_or(|(most, ..)| score > *most) {
                    let value = hyperparameter.distribution.from_unit(at).as_f64().unwrap_or(f64::NAN);
                    let pure = hit as f64 / (hit + wrong) as f64;
                    best = Some((score, hyperparameter.label(), is_above, value, pure));
                }
            }
        }
    }
    best.filter(|(score, ..)| *score > 0.0).map(|(_, label, is_above, at, pure)| (label, is_above, at, pure))
}
