//! The seconds of a step at each batch size: recorded ones if they still hold, otherwise measured before any trial
//! runs.

use crate::commands::throughput::{record_step_times, recorded_step_times, step_seconds, time_steps};
use crate::commands::workload::Workload;
use crate::error::{ErrorName, Result};
use crate::magic::Context;
use crate::probing::{Prober, TargetDevice, data_of};
use crate::report::Status;
use std::collections::BTreeMap;
use tunebook_analysis::{PointState, StepSeconds};
use tunebook_study::{Distribution, Hyperparameter, Params, SearchSpace};

/// What is known of the time of steps.
#[derive(Default)]
pub struct StepTimes {
    /// The seconds of a step, by batch size.
    pub seconds: BTreeMap<u64, StepSeconds>,
    /// The batch sizes that do not fit into memory.
    pub too_large: Vec<u64>,
    /// Why the times cannot be trusted. Empty if they can.
    pub doubts: Vec<String>,
    /// Whether the user interrupted their measurement.
    pub interrupted: bool,
}

/// Returns the constants of a search space that may change the time of a step: all but batch size, steps and seed.
pub fn timed_params(space: &SearchSpace) -> Params {
    let constant = |h: &Hyperparameter| match &h.distribution {
        Distribution::Constant { value } => Some((h.name.clone(), value.clone())),
        _ => None,
    };
    let mut params: Params = space.hyperparameters().iter().filter_map(constant).collect();
    params.retain(|name, _| !["batch_size", "steps", "seed"].contains(&name.as_str()));
    params
}

/// Returns the times of steps at these batch sizes. What is not recorded is measured if `may_measure` is set; otherwise
/// the times are incomplete, with a doubt.
pub fn step_times(
    context: &Context,
    workload: &Workload,
    target: &TargetDevice,
    prober: &Prober<'_>,
    sizes: &[u64],
    may_measure: bool,
    status: &mut Status<'_>,
) -> Result<StepTimes> {
    let (_, data) = data_of(prober)?;
    let conditions = target.conditions(workload, &prober.params, &data, false);
    let recorded = recorded_step_times(context, &prober.workload, &conditions)?;
    if sizes.iter().all(|size| recorded.contains_key(size)) {
        return Ok(StepTimes { seconds: recorded, ..StepTimes::default() });
    }
    if !may_measure {
        let doubts = vec!["there is no valid measurement of the time of a step".into()];
        return Ok(StepTimes { seconds: recorded, doubts, ..StepTimes::default() });
    }
    let (throughput, error) = time_steps(prober, sizes, &BTreeMap::new(), false, None, status);
    let interrupted = error.as_ref().is_some_and(|error| error.name == ErrorName::Interrupted);
    if let Some(error) = error.filter(|_| !interrupted) {
        return Err(error);
    }
    let seconds = step_seconds(&throughput);
    let too_large = throughput.points.iter().filter(|p| p.state == PointState::OutOfMemory);
    let (too_large, doubts) = (too_large.map(|p| p.batch_size).collect(), throughput.reasons.clone());
    if throughput.reliable {
        record_step_times(context, &prober.workload, conditions, throughput)?;
    }
    Ok(StepTimes { seconds, too_large, doubts, interrupted })
}
