//! E7 and E9 to E12, G3, H4: what the training curves of the best configurations say.

use super::series::Series;
use super::{Evidence, Experiment, Finding, Severity, best_of_scientific_values, number, periodicity};
use crate::resampling::median;
use crate::validation::validation_precision;
use crate::words::verb;
use serde::Serialize;
use std::collections::BTreeMap;
use tunebook_study::{Direction, Measurement, Objective, Role, Trial};

/// A rule needs curves with at least so many points.
const LEAST_POINTS: usize = 10;
/// The end of a curve has at least so many points, although a fifth of few evaluations would be fewer. With fewer, the
/// interval of a slope holds 0 whatever they are.
const LEAST_LAST: usize = 5;
/// A rule about the best configurations needs at least so many of them.
const MOST: usize = 4;
/// Overfitting is reported although no best trial overfits if at least this share of all trials does.
const MANY_OVERFIT: f64 = 0.3;
/// A hyperparameter regularizes if its name contains one of these words.
const REGULARIZATION: [&str; 6] = ["dropout", "weight_decay", "label_smoothing", "regulariz", "augment", "mixup"];
/// A rise of the training loss is looked for in windows of at least so many points. In fewer, noise alone rises beyond
/// its residuals too often.
const LEAST_WINDOW: usize = 8;
/// The metric of the training loss.
pub(super) const TRAINING_LOSS: &str = "train/loss";

/// The curves of one trial.
struct TrialCurves<'a> {
    number: u32,
    trial: &'a Trial,
    objective: Series,
    training: Series,
}

pub(super) fn findings<'a>(evidence: &Evidence<'a>, measured: &BTreeMap<u32, Vec<Measurement>>) -> Vec<Finding> {
    let of = |trial: &'a Trial| TrialCurves::new(trial, measured.get(&trial.number)?, evidence.objective);
    let middles = || evidence.ranked.iter().filter_map(|(_, configuration)| configuration.middle);
    let top: Vec<TrialCurves<'_>> = evidence.top().iter().filter_map(|(_, c)| of(c.middle?)).collect();
    let ranked: Vec<_> = middles().collect();
    let of_values: Vec<TrialCurves<'_>> =
        best_of_scientific_values(evidence.definition, &ranked).into_iter().filter_map(of).collect();
    let all: Vec<TrialCurves<'_>> = ranked.iter().copied().filter_map(of).collect();
    let improving = still_improving(evidence, &top);
    let [saturated, best_step] = reconciled(saturated_early(&top), best_step(&top), improving.is_some());
    let rules: [Option<Finding>; 7] = [
        overfitting(evidence, &of_values, &all),
        step_variance(evidence, &top),
        improving,
        saturated,
        training_loss_rising(&top),
        best_step,
        periodicity::finding(evidence, top.iter().map(|c| (c.trial, &c.objective, &c.training))),
    ];
    rules.into_iter().flatten().collect()
}

impl<'a> TrialCurves<'a> {
    /// The curves of a trial. None if they are too short for rules.
    fn new(trial: &'a Trial, measurements: &[Measurement], objective: &Objective) -> Option<Self> {
        let training = Series::new(measurements, TRAINING_LOSS, Direction::Minimize);
        let objective = Series::new(measurements, &objective.metric, objective.direction);
        (objective.len() >= LEAST_POINTS).then_some(Self { number: trial.number, trial, objective, training })
    }
}

/// The part of a training in which the objective gets worse while the training loss still falls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Overfitting {
    /// The step of the least smoothed objective.
    pub from: u64,
    /// The last step.
    pub to: u64,
    /// How much worse the objective is in the last tenth of the steps.
    pub rise: f64,
}

/// Returns where a trial overfits, if it does.
pub(crate) fn overfitting_of(
    trial: &Trial,
    measurements: &[Measurement],
    objective: &Objective,
) -> Option<Overfitting> {
    let curves = TrialCurves::new(trial, measurements, objective)?;
    let (rise, share) = overfits(&curves)?;
    let last = *curves.objective.steps.last()?;
    Some(Overfitting { from: (share * last).round() as u64, to: last as u64, rise })
}

/// Returns how far the objective rises after its minimum, if it does so beyond its noise while the training loss falls.
fn overfits(curves: &TrialCurves<'_>) -> Option<(f64, f64)> {
    let series = &curves.objective;
    let (at, least) = series.least();
    let last = *series.steps.last()?;
    if series.steps[at] >= 0.9 * last {
        return None;
    }
    let end = &series.values[series.at(0.9)..];
    let rise = end.iter().sum::<f64>() / end.len() as f64 - least;
    let fall = series.values[0] - least;
    if rise <= (3.0 * series.noise_from(0.75)).max(0.05 * fall) {
        return None;
    }
    let training = &curves.training;
    let from = training.steps.partition_point(|step| *step < series.steps[at]);
    let (_, [_, high], _) = training.rise(from, training.len())?;
    (high < 0.0).then_some((rise, series.steps[at] / last))
}

/// Looks at the best trial of each scientific value, and at all trials: selection hides overfitting, because it favours
/// trials that happen to overfit less, for example by a small learning rate.
fn overfitting(evidence: &Evidence<'_>, of_values: &[TrialCurves<'_>], all: &[TrialCurves<'_>]) -> Option<Finding> {
    let found = |curves: &[TrialCurves<'_>]| -> Vec<(u32, f64, f64)> {
        curves.iter().filter_map(|c| overfits(c).map(|(rise, share)| (c.number, rise, share))).collect()
    };
    let (of_best, of_all) = (found(of_values), found(all));
    let share = of_all.len() as f64 / all.len().max(1) as f64;
    let is_hidden = of_best.is_empty() && share >= MANY_OVERFIT && of_all.len() >= MOST;
    let (number_of_first, rise, at) = *of_best.first().or(of_all.first().filter(|_| is_hidden))?;
    let others = match of_best.len() {
        2.. => {
            let numbers: Vec<String> = of_best[1..].iter().map(|(number, ..)| number.to_string()).collect();
            format!(" (likewise trial {})", numbers.join(", "))
        }
        _ => String::new(),
    };
    let message = format!(
        "{} of the {} best trials of the scientific values {}. Of all {} trials, {} {} ({:.0} %). In trial \
         {number_of_first}{others} the objective gets worse by {} after {:.0} % of its steps, while the training loss \
         still falls.",
        of_best.len(),
        of_values.len(),
        verb(of_best.len(), "overfits", "overfit"),
        all.len(),
        of_all.len(),
        verb(of_all.len(), "overfits", "overfit"),
        100.0 * share,
        number(rise),
        100.0 * at
    );
    let advice = match regularization_that_is_scientific(evidence) {
        None => "Tune regularization as a nuisance: dropout, label smoothing, weight decay. Do not prefer the value \
                 that happens to overfit less."
            .to_string(),
        Some(names) => format!(
            "This study measures regularization ({names}), so overfitting is a part of its result: compare the best \
             trials of its values, each with its best checkpoint."
        ),
    };
    let severity = if is_hidden { Severity::Info } else { Severity::Warning };
    let finding =
        Finding::new("overfitting", severity, "E7 Examining the training curves: overfitting", message, &advice);
    Some(
        finding
            .with("overfitting", of_best.len() as f64)
            .with("trials", of_values.len() as f64)
            .with("overfitting_of_all", of_all.len() as f64)
            .with("all_trials", all.len() as f64)
            .with("rise", rise)
            .with("best_step_share", at),
    )
}

/// Returns the labels of the scientific hyperparameters that regularize.
fn regularization_that_is_scientific(evidence: &Evidence<'_>) -> Option<String> {
    let regularizes = |name: &str| REGULARIZATION.iter().any(|word| name.to_lowercase().contains(word));
    let hyperparameters = evidence.varied.iter().map(|(h, _)| h);
    let named: Vec<String> =
        hyperparameters.filter(|h| h.role == Role::Scientific && regularizes(&h.name)).map(|h| h.label()).collect();
    (!named.is_empty()).then(|| named.join(", "))
}

fn step_variance(evidence: &Evidence<'_>, top: &[TrialCurves<'_>]) -> Option<Finding> {
    if top.len() < MOST {
        return None;
    }
    let noise = median(top.iter().map(|c| c.objective.noise_from(0.75)).collect());
    let best = evidence.top();
    let gap = best[best.len() - 1].0 - best[0].0;
    if noise <= 0.5 * gap || noise == 0.0 {
        return None;
    }
    let message = format!(
        "Late in training the objective varies from evaluation to evaluation by {} (standard deviation), and the {} best \
         trials differ by {} in all: their order may be chance.",
        number(noise),
        best.len(),
        number(gap)
    );
    let advice = "Use a larger batch or more validation data, decay the learning rate, or average the parameters.";
    let finding = Finding::new(
        "step-variance",
        Severity::Warning,
        "E9 Examining the training curves: step-to-step variance",
        message,
        advice,
    );
    let finding = finding.with("noise", noise).with("gap", gap).with("of_best", best.len() as f64);
    let value = evidence.objective.direction.minimized(best[0].0);
    let precision = validation_precision(evidence.trials, evidence.objective, value, Some(gap));
    Some(match precision {
        Some(found) => finding.with("validation_standard_error", found.standard_error),
        None => finding,
    })
}

fn still_improving(evidence: &Evidence<'_>, top: &[TrialCurves<'_>]) -> Option<Finding> {
    let improves = |c: &&TrialCurves<'_>| {
        let series = &c.objective;
        let from = series.at(0.8).min(series.len() - LEAST_LAST);
        let Some((rise, [_, high])) = series.robust_rise(from) else { return false };
        let (_, least) = series.least();
        best_share(series) > 0.75 && high < 0.0 && -rise >= 0.02 * (series.values[0] - least)
    };
    let found = top.iter().filter(improves).count();
    if found < MOST {
        return None;
    }
    let message = format!(
        "{found} of the {} best trials still improve in the last fifth of their steps, by the 95 % interval of the \
         slope there: the number of steps limits them.{}",
        top.len(),
        if evidence.is_exchangeable() {
            ""
        } else {
            " The slope is measured within a trial, so the sampler has no influence on it."
        }
    );
    let advice = "Train longer, with the decay of the learning rate tuned again, or look at the schedule.";
    let finding = Finding::new(
        "still-improving",
        Severity::Warning,
        "E10 Examining the training curves: still improving",
        message,
        advice,
    )
    .with("improving", found as f64)
    .with("of_best", top.len() as f64);
    Some(Finding { experiment: Some(Experiment::Steps(2.0)), ..finding })
}

/// Returns the step of the best value as a share of all steps.
fn best_share(series: &Series) -> f64 {
    let best = series.values.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
    series.steps[best] / series.steps[series.len() - 1]
}

/// Returns the share of the steps after which the smoothed objective is within `near` of its minimum.
fn reached(series: &Series, near: f64) -> f64 {
    let (_, least) = series.least();
    let first = series.smooth.iter().position(|y| *y <= least + near).unwrap_or(0);
    series.steps[first] / series.steps[series.len() - 1]
}

fn saturated_early(top: &[TrialCurves<'_>]) -> Option<Finding> {
    let count = |wanted: &dyn Fn(&Series) -> bool| top.iter().filter(|c| wanted(&c.objective)).count();
    let fall = |series: &Series| series.values[0] - series.least().1;
    let at_once = count(&|series| {
        fall(series) > 0.0 && reached(series, (3.0 * series.noise_from(0.75)).max(0.01 * fall(series))) <= 0.1
    });
    let early = count(&|series| fall(series) > 0.0 && reached(series, 0.05 * fall(series)) <= 0.5);
    let (severity, found, share, factor) = match (at_once, early) {
        (MOST.., _) => (Severity::Warning, at_once, "10 %", 0.25),
        (_, MOST..) => (Severity::Info, early, "half", 0.5),
        _ => return None,
    };
    let what = if severity == Severity::Warning { "have all" } else { "have 95 %" };
    let message = format!(
        "{found} of the {} best trials {what} of their improvement in the first {share} of their steps. They train for \
         longer than needed.",
        top.len()
    );
    let advice = "Train for fewer steps and run more trials instead.";
    let finding = Finding::new(
        "saturated-early",
        severity,
        "E11 Examining the training curves: saturated early",
        message,
        advice,
    )
    .with("saturated", found as f64)
    .with("of_best", top.len() as f64);
    Some(Finding { experiment: Some(Experiment::Steps(factor)), ..finding })
}

/// Lets the findings about the number of steps not advise fewer and more of them side by side. Curves that improve at
/// their end beyond their noise are not saturated. Curves that have all of their improvement at once are, also where
/// their best evaluation happens to be late. Of other curves it is undecided.
fn reconciled(saturated: Option<Finding>, best_step: Option<Finding>, is_improving: bool) -> [Option<Finding>; 2] {
    let is_late = best_step.as_ref().is_some_and(|finding| finding.id == "best-step-late");
    match saturated {
        Some(_) if is_improving => [None, best_step],
        Some(found) if is_late && found.severity == Severity::Warning => [Some(found), None],
        Some(found) if is_late => [None, best_step.map(|late| undecided(&found, late))],
        saturated => [saturated, best_step],
    }
}

/// The finding about curves that improve mostly in the first half and have their best evaluation late.
fn undecided(saturated: &Finding, late: Finding) -> Finding {
    let count = |finding: &Finding, name: &str| finding.evidence.get(name).copied().unwrap_or_default();
    let early = count(saturated, "saturated");
    let message = format!(
        "{early} of the {} best trials have 95 % of their improvement in the first half of their steps, and all {} have \
         their best evaluation in the last quarter.",
        count(saturated, "of_best"),
        count(&late, "late")
    );
    let advice = "So these curves do not decide between fewer and more steps. Train the best configuration with more \
                  steps before the number of steps is changed."
        .to_string();
    Finding { message, advice, experiment: None, ..late }.with("saturated", early)
}

/// Whether the training loss rises over some stretch of training after its beginning.
fn rises(series: &Series) -> bool {
    let n = series.len();
    if n < LEAST_POINTS {
        return false;
    }
    let start = series.at(0.1);
    let least = series.smooth.iter().copied().fold(f64::INFINITY, f64::min);
    let most = series.smooth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [5, 3, 2, 1].into_iter().any(|part| {
        let length = (n / part).max(LEAST_WINDOW);
        let mut from = start;
        while from + LEAST_WINDOW <= n {
            let to = (from + length).min(n);
            if let Some((rise, [low, _], residual)) = series.rise(from, to)
                && low > 0.0
                && rise > 4.0 * residual
                && rise >= 0.2 * (most - least)
            {
                return true;
            }
            if to == n {
                break;
            }
            from += (length / 4).max(1);
        }
        false
    })
}

fn training_loss_rising(top: &[TrialCurves<'_>]) -> Option<Finding> {
    let found: Vec<u32> = top.iter().filter(|c| rises(&c.training)).map(|c| c.number).collect();
    if found.len() < 2 {
        return None;
    }
    let names: Vec<String> = found.iter().map(u32::to_string).collect();
    let message = format!(
        "The training loss rises during the training of {} of the {} best trials ({}).",
        found.len(),
        top.len(),
        names.join(", ")
    );
    let advice =
        "Look for a fault in the workload, or for a learning rate that is too large in a part of the schedule.";
    let finding = Finding::new(
        "training-loss-rising",
        Severity::Problem,
        "E12 Examining the training curves: training loss",
        message,
        advice,
    );
    Some(finding.with("rising", found.len() as f64).with("of_best", top.len() as f64))
}

fn best_step(top: &[TrialCurves<'_>]) -> Option<Finding> {
    if top.len() < MOST {
        return None;
    }
    let shares: Vec<f64> = top.iter().map(|c| best_share(&c.objective)).collect();
    let (early, late) = (shares.iter().filter(|s| **s <= 0.1).count(), shares.iter().filter(|s| **s >= 0.75).count());
    let section = "G3 Deciding how long to train when training is not compute-bound";
    if early == shares.len() {
        let message = format!("All {early} best trials have their best evaluation in the first 10 % of their steps.");
        let advice = "Train for far fewer steps.";
        let finding = Finding::new("best-step-early", Severity::Warning, section, message, advice);
        let finding = finding.with("early", early as f64).with("of_best", shares.len() as f64);
        return Some(Finding { experiment: Some(Experiment::Steps(0.25)), ..finding });
    }
    if late < MOST || late < shares.len() {
        return None;
    }
    let message = format!("All {late} best trials have their best evaluation in the last quarter of their steps.");
    let advice = "Longer training may help: train longer with the decay of the learning rate tuned again.";
    let finding = Finding::new("best-step-late", Severity::Info, section, message, advice);
    let finding = finding.with("late", late as f64).with("of_best", shares.len() as f64);
    Some(Finding { experiment: Some(Experiment::Steps(1.5)), ..finding })
}
