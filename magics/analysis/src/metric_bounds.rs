//! Values that a metric cannot have. A prediction that goes beyond them is cut there.

use tunebook_study::{Objective, Trial};

/// Returns the least and the largest possible value of a metric, where they are known.
///
/// A metric is known by the last part of its name, as in `valid/error`: `error` and `accuracy` are fractions, and a
/// `loss` is at least 0. Nothing is known if a trial of the study has a value beyond that, as an error in percent or
/// the loss of a density has.
pub(crate) fn metric_bounds<'a>(
    objective: &Objective,
    trials: impl IntoIterator<Item = &'a Trial> + Clone,
) -> [Option<f64>; 2] {
    let bounds = match objective.metric.rsplit('/').next() {
        Some("error" | "accuracy") => [Some(0.0), Some(1.0)],
        Some("loss") => [Some(0.0), None],
        _ => [None, None],
    };
    let summaries = || trials.clone().into_iter().filter_map(|trial| trial.summaries.get(&objective.metric));
    let is_within = bounds[0].is_none_or(|low| summaries().all(|summary| summary.min.0 >= low))
        && bounds[1].is_none_or(|high| summaries().all(|summary| summary.max.0 <= high));
    if is_within { bounds } else { [None, None] }
}

/// Cuts an interval at the bounds. An open end stays open.
pub(crate) fn cut(interval: [Option<f64>; 2], [low, high]: [Option<f64>; 2]) -> [Option<f64>; 2] {
    interval.map(|end| end.map(|y| y.clamp(low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY))))
}
