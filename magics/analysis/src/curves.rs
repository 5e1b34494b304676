//! Training curves (Playbook E6): every metric over the training steps of some trials, where they overfit (E7), and the
//! norms of their gradients (I10).

use crate::insight::{Overfitting, overfitting_of};
use crate::{MAX_POINTS, thinned_curve};
use indexmap::IndexMap;
use serde::Serialize;
use tunebook_study::{Measurement, Objective, Trial};

/// The number of bins of a histogram of gradient norms.
const BINS: usize = 30;

/// A trial with what it measured.
pub struct MeasuredTrial<'a> {
    pub trial: &'a Trial,
    /// Its measurements in the order of their steps.
    pub measurements: Vec<Measurement>,
    /// The gradient norm of each step. Empty if it is not known.
    pub gradient_norms: Vec<f64>,
}

/// The training curves of some trials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curves {
    /// The trials, in the order in which they were passed.
    pub trials: Vec<Curve>,
}

/// The training curves of one trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// The number of the trial.
    pub trial: u32,
    /// Points (step, value) by metric. Values that are not finite are left out. Of more than [`crate::MAX_POINTS`], the
    /// ends, the best step and the extremes of each part are kept.
    pub metrics: IndexMap<String, Vec<(u64, f64)>>,
    /// The numbers of points of the metrics of which not all are kept.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub thinned: IndexMap<String, usize>,
    /// The training step at which the objective was measured. None if the trial has no objective.
    pub best_step: Option<u64>,
    /// Where the objective gets worse while the training loss still falls. None if it does not.
    pub overfitting: Option<Overfitting>,
    /// None if the norms are not known.
    pub gradient_norms: Option<GradientNorms>,
}

/// The gradient norms of all steps of a trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GradientNorms {
    /// The number of steps with a finite norm above 0.
    pub steps: usize,
    pub p50: f64,
    /// The 90th percentile, where clipping may start (Playbook I13).
    pub p90: f64,
    pub max: f64,
    /// A histogram: the lower end of each bin, and the share of the steps in it. The ends have equal ratios. It is not
    /// part of the JSON.
    #[serde(skip)]
    pub histogram: Vec<(f64, f64)>,
    /// The ratio of the ends of a bin.
    #[serde(skip)]
    pub ratio: f64,
}

/// Returns the curves of trials.
pub fn curves(trials: &[MeasuredTrial<'_>], objective: &Objective) -> Curves {
    let curve = |MeasuredTrial { trial, measurements, gradient_norms: norms }: &MeasuredTrial<'_>| {
        let mut metrics: IndexMap<String, Vec<(u64, f64)>> = IndexMap::new();
        for measurement in measurements {
            for (name, value) in &measurement.metrics {
                if let Some(value) = value {
                    metrics.entry(name.clone()).or_default().push((measurement.step, *value));
                }
            }
        }
        let best_step = objective.of(trial).map(|(_, step)| step);
        let long = metrics.iter().filter(|(_, points)| points.len() > MAX_POINTS);
        let thinned = long.map(|(name, points)| (name.clone(), points.len())).collect();
        for points in metrics.values_mut() {
            *points = thinned_curve(points, |(_, value)| *value, |(step, _)| Some(*step) == best_step);
        }
        Curve {
            trial: trial.number,
            metrics,
            thinned,
            best_step,
            overfitting: overfitting_of(trial, measurements, objective),
            gradient_norms: gradient_norms(norms),
        }
    };
    Curves { trials: trials.iter().map(curve).collect() }
}

fn gradient_norms(norms: &[f64]) -> Option<GradientNorms> {
    let mut sorted: Vec<f64> = norms.iter().copied().filter(|norm| norm.is_finite() && *norm > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let (least, max) = (*sorted.first()?, *sorted.last()?);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    // A little more than needed, so that the largest norm lies inside the last bin.
    let ratio = (max / least).powf(1.0 / BINS as f64).max(1.01) * (1.0 + 1e-9);
    let mut counts = vec![0_usize; BINS];
    for norm in &sorted {
        let bin = ((norm / least).ln() / ratio.ln()) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    let share = |count: usize| count as f64 / sorted.len() as f64;
    let histogram = counts.iter().enumerate().map(|(i, count)| (least * ratio.powi(i as i32), share(*count))).collect();
    Some(GradientNorms { steps: sorted.len(), p50: at(0.5), p90: at(0.9), max, histogram, ratio })
}

#[cfg(test)]
mod tests {
    use super::gradient_norms;

    #[test]
    fn the_histogram_holds_every_step_and_the_percentiles_are_those_of_the_norms() {
        let norms: Vec<f64> = (1..=1001).map(|i| 0.01 * f64::from(i)).chain([f64::NAN, 0.0]).collect();
        let found = gradient_norms(&norms).unwrap();
        assert_eq!((found.steps, found.max), (1001, 10.01));
        assert!((found.p50 - 5.01).abs() < 1e-9 && (found.p90 - 9.01).abs() < 1e-9, "{found:?}");
        assert!((found.histogram.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(found.histogram[0].0 == 0.01 && found.histogram[29].0 * found.ratio >= 10.01);
        // All norms may be equal, or there may be none.
        assert_eq!(gradient_norms(&[2.0, 2.0]).unwrap().histogram[0], (2.0, 1.0));
        assert_eq!(gradient_norms(&[]), None);
    }
}
