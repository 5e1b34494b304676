//! Training curves (Playbook E6): every metric over the steps of some trials.

use crate::thinned;
use indexmap::IndexMap;
use serde::Serialize;
use tunebook_study::{Measurement, Objective, Trial};

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curves {
    /// The trials, the best first.
    pub trials: Vec<Curve>,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Its number.
    pub trial: u32,
    /// Points \[step, value\] by metric; what was not finite is absent.
    pub metrics: IndexMap<String, Vec<(u64, f64)>>,
    /// The step of its best checkpoint.
    pub best_step: Option<u64>,
}

/// The curves of trials with what they reported.
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
