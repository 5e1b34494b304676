//! How well the objective at the step where trials were stopped early tells that at the end.

use crate::steps::spearman;
use std::collections::BTreeMap;
use tunebook_study::{Measurement, Objective, Trial, TrialState};

/// How the objective at the step at which most trials were stopped agrees with the objective at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStopped {
    /// The step at which most trials were stopped; of equals the earliest.
    pub step: u64,
    /// The number of complete trials that have a value at this step.
    pub complete: usize,
    /// Spearman's rank correlation over them.
    pub correlation: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

/// Compares the complete trials with themselves at the step at which most trials were stopped. None if no trial was
/// stopped, or if fewer than six complete trials have a value there. `measured` returns what trials measured at a step.
pub fn early_stopped<E>(
    trials: &[Trial],
    objective: &Objective,
    measured: impl FnOnce(u64) -> Result<BTreeMap<u32, Measurement>, E>,
) -> Result<Option<EarlyStopped>, E> {
    let mut steps: BTreeMap<u64, usize> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.state == TrialState::Stopped) {
        if let Some(summary) = trial.summaries.get(&objective.metric) {
            *steps.entry(summary.last.1).or_default() += 1;
        }
    }
    let Some((step, _)) = steps.into_iter().rev().max_by_key(|(_, count)| *count) else { return Ok(None) };
    let then = measured(step)?;
    let complete = trials.iter().filter(|trial| trial.state == TrialState::Complete);
    let pairs: Vec<(f64, f64)> = complete
        .filter_map(|trial| {
            let early = (*then.get(&trial.number)?.metrics.get(&objective.metric)?)?;
            Some((early, objective.of(trial)?.0))
        })
        .collect();
    Ok(spearman(&pairs).map(|(correlation, interval)| EarlyStopped {
        step,
        complete: pairs.len(),
        correlation,
        interval,
    }))
}
