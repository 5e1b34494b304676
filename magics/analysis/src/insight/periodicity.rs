//! H4: metrics that repeat, which they do if the data do: validation examples that are trained on, or an order of the
//! data that is the same in each epoch.

use super::series::Series;
use super::{Evidence, Finding, Severity, TOP, number};
use crate::resampling::median;
use tunebook_study::{HyperparameterDomain, Trial};

/// A metric repeats if its correlation with itself, a period later, is above this.
const CORRELATED: f64 = 0.5;
/// Within a period the correlation falls at least so far, or the curve is smooth and not periodic.
const FALL: f64 = 0.3;
/// A series has at least so many periods.
const PERIODS: usize = 3;
/// A shorter series is not judged.
const LEAST_POINTS: usize = 20;
/// Two periods are the same if they differ by less than this share, or by one evaluation.
const SAME: f64 = 0.15;
/// At least so many of the best trials must repeat with the same period.
const MOST: usize = 4;

/// What a metric repeats with.
struct Period {
    /// In evaluations.
    lag: usize,
    /// In steps.
    steps: f64,
    correlation: f64,
}

/// Returns the period of a series, if it repeats. Its points must be equally far from each other.
fn period(series: &Series) -> Option<Period> {
    let n = series.len();
    if n < LEAST_POINTS {
        return None;
    }
    let distances: Vec<f64> = series.steps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let distance = median(distances.clone());
    if distance <= 0.0 || distances.iter().filter(|d| (**d - distance).abs() > 0.1 * distance).count() > 2 {
        return None;
    }
    let found = (2..=n / PERIODS).filter_map(|lag| {
        let residuals = detrended(&series.values, lag);
        let correlation = correlation_at(&residuals, lag)?;
        let least = (1..lag).filter_map(|k| correlation_at(&residuals, k)).fold(f64::INFINITY, f64::min);
        let repeats = correlation > CORRELATED && correlation - least > FALL;
        repeats.then_some(Period { lag, steps: lag as f64 * distance, correlation })
    });
    // A period is also found at its multiples, so that the first peak that is nearly as high as the highest counts.
    let found: Vec<Period> = found.collect();
    let best = found.iter().map(|period| period.correlation).fold(0.0, f64::max);
    let first = found.iter().find(|period| period.correlation >= best - 0.1)?.lag;
    let peak = found.into_iter().filter(|period| (first..=first + first / 3).contains(&period.lag));
    peak.max_by(|a, b| a.correlation.total_cmp(&b.correlation))
}

/// The values without their trend: the moving average over one period, which holds nothing of what repeats.
fn detrended(values: &[f64], lag: usize) -> Vec<f64> {
    let half = lag / 2;
    let weight = |offset: usize| if lag.is_multiple_of(2) && (offset == 0 || offset == 2 * half) { 0.5 } else { 1.0 };
    (half..values.len() - half)
        .map(|i| {
            let sum: f64 = (0..=2 * half).map(|offset| weight(offset) * values[i - half + offset]).sum();
            values[i] - sum / lag as f64
        })
        .collect()
}

/// The correlation of values with those `lag` later.
fn correlation_at(values: &[f64], lag: usize) -> Option<f64> {
    let n = values.len();
    if n < 2 * lag + 3 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let covariance = |k: usize| (0..n - k).map(|i| (values[i] - mean) * (values[i + k] - mean)).sum::<f64>();
    let variance = covariance(0);
    let size = values.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    // What is left of a smooth trend is rounding.
    (variance > n as f64 * (1e-9 * (mean.abs() + size)).powi(2) && variance > 0.0)
        .then(|| covariance(lag) / variance * n as f64 / (n - lag) as f64)
}

/// Finds that a metric of most of the best trials repeats with the same period.
pub(super) fn finding<'a>(
    evidence: &Evidence<'_>,
    curves: impl Iterator<Item = (&'a Trial, &'a Series, &'a Series)> + Clone,
) -> Option<Finding> {
    let trials = curves.clone().count().min(TOP);
    let metrics = [evidence.objective.metric.clone(), super::curves::TRAINING_LOSS.to_string()];
    metrics.into_iter().enumerate().find_map(|(i, metric)| {
        let of = |(trial, objective, training): (&'a Trial, &'a Series, &'a Series)| {
            let period = period(if i == 0 { objective } else { training })?;
            Some((trial, period))
        };
        let found: Vec<(&Trial, Period)> = curves.clone().filter_map(of).collect();
        let middle = median(found.iter().map(|(_, period)| period.steps).collect());
        let near = |(_, period): &&(&Trial, Period)| {
            let evaluation = period.steps / period.lag as f64;
            (period.steps - middle).abs() <= (SAME * middle).max(1.01 * evaluation)
        };
        let same: Vec<&(&Trial, Period)> = found.iter().filter(near).collect();
        if same.len() < MOST {
            return None;
        }
        let correlation = median(same.iter().map(|(_, period)| period.correlation).collect());
        let epoch = same.iter().find_map(|(trial, _)| steps_of_epoch(evidence, trial));
        let is_epoch = epoch.filter(|epoch| (middle / epoch - 1.0).abs() <= SAME);
        let about = match (is_epoch, epoch) {
            (Some(epoch), _) => format!(" One epoch has {} steps.", number(epoch)),
            (None, Some(epoch)) => format!(" One epoch has {} steps, so the period is not the epoch.", number(epoch)),
            (None, None) => String::new(),
        };
        let message = format!(
            "{metric} repeats about every {} steps in {} of the {trials} best trials: its correlation with itself that many \
             steps later is {} (median).{about}",
            number(middle),
            same.len(),
            number(correlation)
        );
        let advice = "Check three causes: validation examples that are also training examples, data that are not \
                      shuffled again in each epoch, and a learning rate that rises and falls.";
        let finding = Finding::new(
            "periodic-metric",
            Severity::Warning,
            "H4 Evaluating model performance: setting up periodic evaluations",
            message,
            advice,
        )
        .with("period", middle)
        .with("correlation", correlation)
        .with("repeating", same.len() as f64)
        .with("of_best", trials as f64);
        Some(epoch.iter().fold(finding, |finding, epoch| finding.with("epoch", *epoch)))
    })
}

/// The steps of one epoch, if the workload says how many training examples it has.
fn steps_of_epoch(evidence: &Evidence<'_>, trial: &Trial) -> Option<f64> {
    let known = evidence.workload?.hyperparameter("batch_size")?;
    let examples = match known.domain {
        HyperparameterDomain::Range { high: Some(high), .. } if high < 1e9 => high,
        _ => return None,
    };
    let batch = trial.params.get("batch_size").unwrap_or(&known.default).as_f64().filter(|size| *size > 0.0)?;
    Some(examples / batch)
}
