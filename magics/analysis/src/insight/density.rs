//! E2: too few configurations near the best one. F3: the order of the best ones lies within the variance over seeds.

use super::{Evidence, Experiment, Finding, Severity, number};
use crate::best_of_k::Objectives;
use crate::configurations::minimized;
use crate::resampling::median;
use crate::words::verb;
use std::collections::HashSet;

/// The search is dense enough with so many good configurations.
const GOOD: usize = 3;
/// Without several seeds, a configuration is good within this share of the distance from the best to the median.
const GOOD_SHARE: f64 = 0.1;
/// Equal values seem to differ by less than this share of their mean, because numbers are rounded.
const ROUNDING: f64 = 1e-12;

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let deviation = trial_deviation(evidence);
    let mut found: Vec<Finding> = sampling_density(evidence, deviation).into_iter().collect();
    found.extend(deviation.and_then(|deviation| seed_variance(evidence, deviation)));
    found
}

/// Returns the standard deviation of the objective over seeds, pooled over the better half of the configurations. One
/// with an infeasible seed is left out: what such a seed reported before it ended is not its objective. None if all
/// seeds of each configuration have the same value: then nothing is known of the variance.
fn trial_deviation(evidence: &Evidence<'_>) -> Option<f64> {
    let (mut squares, mut degrees, mut largest) = (0.0, 0.0, 0.0_f64);
    for (_, configuration) in evidence.ranked.iter().take(evidence.ranked.len().div_ceil(2)) {
        let values: Vec<f64> = configuration.trials.iter().map(|trial| minimized(trial, evidence.objective)).collect();
        if values.len() > 1 && values.iter().all(|value| value.is_finite()) {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            squares += values.iter().map(|y| (y - mean).powi(2)).sum::<f64>();
            degrees += (values.len() - 1) as f64;
            largest = largest.max(mean.abs());
        }
    }
    let deviation = (degrees > 0.0).then(|| (squares / degrees).sqrt());
    deviation.filter(|deviation| *deviation > ROUNDING * largest)
}

fn sampling_density(evidence: &Evidence<'_>, deviation: Option<f64>) -> Option<Finding> {
    let (n, infeasible) = (evidence.ranked.len(), evidence.infeasible.len());
    if n < 4 {
        return None;
    }
    let (best, middle) = (evidence.ranked[0].0, median(evidence.ranked.iter().map(|(y, _)| *y).collect()));
    let near = deviation.map_or(GOOD_SHARE * (middle - best), |deviation| 2.0 * deviation);
    let good = evidence.ranked.iter().filter(|(y, _)| *y <= best + near).count();
    let all = evidence.ranked.iter().map(|(y, _)| *y).chain(std::iter::repeat_n(f64::INFINITY, infeasible));
    let gain = Objectives::of_minimized(all).gain_of_last_doubling()?;
    if good >= GOOD || gain <= near {
        return None;
    }
    let by =
        if deviation.is_some() { "2 standard deviations over seeds" } else { "a tenth of its distance to the median" };
    // What half of the configurations would find is known only if they are draws of which none is special.
    let of_half = match evidence.are_draws() {
        true => {
            format!(", and the best of half of the configurations would be worse by {} on average", number(gain))
        }
        false => String::new(),
    };
    let message = format!(
        "Only {good} of {n} configurations {} within {} of the best one ({by}){of_half}: there are too few points in \
         the good region.",
        verb(good, "lies", "lie"),
        number(near)
    );
    // Also configurations whose trials were stopped, have failed or were cancelled are part of the study.
    let recorded = evidence.trials.iter().map(|trial| trial.configuration).collect::<HashSet<_>>().len() as u64;
    let all = evidence.definition.sampler.configurations(&evidence.definition.space);
    let more = all.map_or(2 * recorded, |all| all.min(2 * recorded));
    let advice = match more > recorded {
        true => "Run more configurations of the same design, or narrow the search space around the good region.",
        false => {
            "The grid has no other configurations. Run a study in the good region, with ranges or with lists of more \
             values there."
        }
    };
    let finding = Finding::new(
        "sampling-density",
        Severity::Warning,
        "E2 Not sampling enough points in the search space",
        message,
        advice,
    )
    .with("good", good as f64)
    .with("configurations", n as f64)
    .with("near", near);
    let finding = if evidence.are_draws() { finding.with("gain_of_last_doubling", gain) } else { finding };
    let more = (more > recorded).then(|| Experiment::MoreConfigurations(u32::try_from(more).unwrap_or(u32::MAX)));
    Some(Finding { experiment: more, ..finding })
}

fn seed_variance(evidence: &Evidence<'_>, deviation: f64) -> Option<Finding> {
    let [(best, first), (second, _), ..] = &evidence.ranked[..] else { return None };
    let (gap, seeds) = (second - best, first.trials.len());
    // The variance of a median of normal values is about π/2 of that of their mean.
    let error = deviation * (std::f64::consts::PI / seeds as f64).sqrt();
    if gap > 2.0 * error {
        return None;
    }
    let message = format!(
        "The best configuration is better than the second best by {}. Their difference varies by {} (standard \
         deviation) over medians of {seeds} seeds. So their order may be chance.",
        number(gap),
        number(error)
    );
    let advice = "Train both with more new seeds before one is preferred, or take the simpler one.";
    let finding = Finding::new(
        "seed-variance",
        Severity::Info,
        "F3 Understanding whether to adopt a training pipeline change",
        message,
        advice,
    );
    Some(
        finding
            .with("gap", gap)
            .with("deviation", error)
            .with("trial_deviation", deviation)
            .with("seeds", seeds as f64),
    )
}
