//! Training curves (Playbook E6): every metric over the training steps of some trials.

use crate::thinned;
use indexmap::IndexMap;
use serde::Serialize;
use tunebook_study::{Measurement, Objective, Trial};

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
    /// Points (step, value) by metric, thinned to [`crate::MAX_POINTS`]. Values that are not finite are left out.
    pub metrics: IndexMap<String, Vec<(u64, f64)>>,
    /// The training step at which the objective was measured. None if the trial has no objective.
    pub best_step: Option<u64>,
}

/// Returns the curves of trials, each of which comes with its measurements in the order of their steps.
pub fn curves(trials: &[(&Trial, Vec<Measurement>)], objective: &Objective) -> Curves {
    let curve = |(trial, measurements): &(&Trial, Vec<Measurement>)| {
        let mut metrics: IndexMap<String, Vec<(u64, f64)>> = IndexMap::new();
        for measurement in measurements {
            for (name, value) in &measurement.metrics {
                if let Some(value) = value {
                    metrics.entry(name.clone()).or_default().push((measurement.step, *value));
                }
            }
        }
        let metrics = metrics.into_iter().map(|(name, points)| (name, thinned(&points))).collect();
        Curve { trial: trial.number, metrics, best_step: objective.of(trial).map(|(_, step)| step) }
    };
    Curves { trials: trials.iter().map(curve).collect() }
}
