//! E3: a large share of the configurations cannot be used.

use super::changed::{cut_away, replaced};
use super::{Evidence, Experiment, Finding, Severity, number};
use crate::configurations::{Configuration, failed_configurations};
use crate::failures::Cause;
use crate::words::counted;
use indexmap::IndexMap;
use std::collections::{BTreeMap, HashSet};
use tunebook_study::{Distribution, Hyperparameter};

/// A larger share is a warning.
const LARGE: f64 = 0.3;
/// A larger share is probably a fault of the workload.
const NEARLY_ALL: f64 = 0.9;
const SECTION: &str = "E3 Examining the proportion of infeasible trials";

/// The part of one hyperparameter's values in which most configurations cannot be used.
struct Cut<'a> {
    hyperparameter: &'a Hyperparameter,
    /// The values, as they follow the name of the hyperparameter in a sentence.
    place: String,
    /// The value of a range at the cut.
    value: Option<f64>,
    /// What is left of the distribution. None if nothing is.
    rest: Option<Distribution>,
    /// The numbers of unusable configurations there, and of all there.
    unusable: usize,
    all: usize,
}

pub(super) fn finding(evidence: &Evidence<'_>) -> Option<Finding> {
    let worse_than_chance: HashSet<u32> = evidence.flags.worse_than_chance.iter().copied().collect();
    // A configuration counts by the trial in the middle of its seeds.
    let is_worse = |c: &Configuration<'_>| c.middle.is_some_and(|trial| worse_than_chance.contains(&trial.number));
    let (good, bad): (Vec<&Configuration<'_>>, Vec<&Configuration<'_>>) =
        evidence.ranked.iter().map(|(_, c)| c).partition(|c| !is_worse(c));
    let mut counts: BTreeMap<Cause, usize> = BTreeMap::new();
    let causes = evidence.infeasible.iter().map(|c| c.trials.iter().find_map(|t| Cause::of(t)).unwrap_or(Cause::Other));
    for cause in causes.chain(bad.iter().map(|_| Cause::WorseThanChance)) {
        *counts.entry(cause).or_default() += 1;
    }
    let failed = failed_configurations(evidence.trials);
    if !failed.is_empty() {
        counts.insert(Cause::Failed, failed.len());
    }
    let unusable: usize = counts.values().sum();
    let n = unusable + good.len();
    let share = unusable as f64 / n.max(1) as f64;
    if share <= LARGE {
        return None;
    }
    let mut by_cause: Vec<(&Cause, &usize)> = counts.iter().collect();
    by_cause.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let percent = |count: usize| 100.0 * count as f64 / n as f64;
    let classes: Vec<String> =
        by_cause.iter().map(|(cause, count)| format!("{count} {cause} ({:.0} %)", percent(**count))).collect();
    let mut message = format!(
        "{unusable} of {n} configurations gave no usable result ({:.0} %): {}.",
        100.0 * share,
        classes.join(", ")
    );
    let mut advice = "Find out why: look at their reasons and curves.".to_string();
    let mut finding = Finding::new(
        "infeasible-fraction",
        if share > NEARLY_ALL { Severity::Problem } else { Severity::Warning },
        SECTION,
        "".into(),
        "",
    )
    .with("infeasible", evidence.infeasible.len() as f64)
    .with("unusable", unusable as f64)
    .with("configurations", n as f64)
    .with("share", share);
    for (cause, count) in by_cause {
        finding = finding.with(cause.as_str(), *count as f64);
    }
    let unusable: Vec<&Configuration<'_>> = evidence.infeasible.iter().chain(&failed).chain(bad).collect();
    if share > NEARLY_ALL {
        advice = "This is likely a bug. Look for a fault in the workload before changing the search space.".into();
        if let Some((reason, count)) = commonest_reason(evidence) {
            message += &format!(" The commonest reason, of {}: {reason}.", counted(count, "trial"));
            finding = finding.with("commonest_reason", count as f64);
        }
    } else if let Some(cut) = best_cut(evidence, &good, &unusable) {
        let label = cut.hyperparameter.label();
        message += &format!(
            " {} of the {} with {label} {} gave no usable result.",
            cut.unusable,
            counted(cut.all, "configuration"),
            cut.place
        );
        advice = format!("Leave out {label} {}, or fix the cause.", cut.place);
        finding = finding.with("in_cut", cut.all as f64).with("unusable_in_cut", cut.unusable as f64);
        finding = cut.value.into_iter().fold(finding, |finding, value| finding.with("cut", value));
        let changes = cut.rest.map(|rest| (label.clone(), cut.hyperparameter.role, rest));
        let space = changes.and_then(|change| replaced(&evidence.definition.space, &[change]));
        finding.experiment = space.map(|space| Experiment::Changed { space, suffix: "cut" });
        finding.hyperparameter = Some(label);
    }
    Some(Finding { message, advice, ..finding })
}

/// Returns the reason on record that most of the infeasible and failed trials have, with their number. Of equally
/// common ones it is that of the first trial.
fn commonest_reason<'a>(evidence: &Evidence<'a>) -> Option<(&'a str, usize)> {
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    let unusable = evidence.trials.iter().filter(|trial| Cause::of(trial).is_some());
    for reason in unusable.filter_map(|trial| trial.reason.as_deref()) {
        *counts.entry(reason.trim_end_matches('.')).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count)
}

/// Returns the cut of one hyperparameter that separates the unusable configurations best (a decision stump). None if no
/// cut separates more than half of them, or if it takes half as many others.
fn best_cut<'a>(evidence: &Evidence<'a>, good: &[&Configuration<'_>], bad: &[&Configuration<'_>]) -> Option<Cut<'a>> {
    let mut best: Option<(f64, Cut<'a>)> = None;
    for (h, _) in &evidence.varied {
        let u = |c: &&Configuration<'_>| evidence.u(h, c);
        let sorted = |configurations: &[&Configuration<'_>]| {
            let mut all: Vec<f64> = configurations.iter().filter_map(u).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let (good, all_bad) = (sorted(good), sorted(bad));
        // How many coordinates of each kind lie in a part of the values, and how well the part separates them.
        let scored = |count: &dyn Fn(&[f64]) -> usize| {
            let (hit, wrong) = (count(&all_bad), count(&good));
            let score = hit as f64 - 2.0 * wrong as f64;
            (2 * hit > bad.len() && score > 0.0).then_some((score, hit, wrong))
        };
        let is_better = |best: &Option<(f64, Cut<'a>)>, score| best.as_ref().is_none_or(|(most, _)| score > *most);
        if let Distribution::Choice { values } = &h.distribution {
            for (i, value) in values.iter().enumerate() {
                let at = h.distribution.to_unit(value).unwrap_or(f64::NAN);
                let is_there = |u: &&f64| (**u - at).abs() < 1e-9;
                let found = scored(&|values| values.iter().filter(is_there).count());
                if let Some((score, hit, wrong)) = found.filter(|(score, ..)| is_better(&best, *score)) {
                    let mut rest = values.clone();
                    rest.remove(i);
                    let (place, rest) = (format!("= {value}"), Distribution::choice(rest).ok());
                    let cut = Cut { hyperparameter: h, place, value: None, rest, unusable: hit, all: hit + wrong };
                    best = Some((score, cut));
                }
            }
            continue;
        }
        for at in &all_bad {
            for is_above in [true, false] {
                // The cut lies in the middle between the unusable configurations and the next good one.
                let next = match is_above {
                    true => good[..good.partition_point(|u| u < at)].last().copied().unwrap_or(0.0),
                    false => good[good.partition_point(|u| u <= at)..].first().copied().unwrap_or(1.0),
                };
                let cut = 0.5 * (at + next);
                let found = scored(&|values| match is_above {
                    true => values.len() - values.partition_point(|u| *u <= cut),
                    false => values.partition_point(|u| *u < cut),
                });
                if let Some((score, hit, wrong)) = found.filter(|(score, ..)| is_better(&best, *score)) {
                    let (rest, value) = cut_away(&h.distribution, cut, is_above);
                    let place = format!("{} {}", side_of_values(h, is_above), number(value));
                    let value = Some(value);
                    best =
                        Some((score, Cut { hyperparameter: h, place, value, rest, unusable: hit, all: hit + wrong }));
                }
            }
        }
    }
    best.map(|(_, cut)| cut)
}

/// Returns the word for one side of a range in u. Of 1 − v, a large coordinate is a small value.
fn side_of_values(hyperparameter: &Hyperparameter, is_above: bool) -> &'static str {
    let is_reversed = hyperparameter.distribution.scale() == tunebook_study::Scale::OneMinusLog;
    if is_above != is_reversed { "above" } else { "below" }
}
