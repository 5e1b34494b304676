//! Seconds of a step at each batch size: what was measured before and still holds, else measured now, before any trial runs.

use crate::commands::throughput::{keep_times, recorded_times, timed};
use crate::commands::workload::Workload;
use crate::error::Result;
use crate::magic::Context;
use crate::probing::{Prober, TargetDevice, data_of};
use crate::report::Status;
use std::collections::BTreeMap;
use tunebook_analysis::PointState;
use tunebook_study::{Distribution, Params, SearchSpace};

/// What is known of the time of steps.
#[derive(Default)]
pub struct Times {
    /// Seconds of a step by batch size.
    pub seconds: BTreeMap<u64, f64>,
    /// Sizes that do not fit into memory.
    pub too_large: Vec<u64>,
    /// Why the times cannot be relied upon; empty where they can.
    pub doubts: Vec<String>,
}

/// What is the same in all trials of a size and decides how long its steps take.
pub fn params_of(space: &SearchSpace) -> Params {
    let constants =
        space.hyperparameters().iter().filter(|h| !["batch_size", "steps", "seed"].contains(&h.name.as_str()));
    let constant = |h: &tunebook_study::Hyperparameter| match &h.distribution {
        Distribution::Constant { value } => Some((h.name.clone(), value.clone())),
        _ => None,
    };
    constants.filter_map(constant).collect()
}

/// The times of these sizes. `may_measure`: whether to measure what is not recorded.
pub fn step_times(
    context: &Context,
    workload: &Workload,
    target: &TargetDevice,
    prober: &Prober<'_>,
    sizes: &[u64],
    may_measure: bool,
    status: &mut Status<'_>,
) -> Result<Times> {
    let (_, data) = data_of(prober)?;
    let conditions = target.conditions(workload, &prober.params, &data, false);
    let recorded = recorded_times(context, &prober.workload, &conditions)?;
    if sizes.iter().all(|size| recorded.contains_key(size)) {
        return Ok(Times { seconds: recorded, ..Times::default() });
    }
    if !may_measure {
        let doubts = vec!["the time of steps was not measured, or has become stale".into()];
        return Ok(Times { seconds: recorded, too_large: vec![], doubts });
    }
    let throughput = timed(prober, sizes, &BTreeMap::new(), false, None, status)?;
    let seconds = throughput.points.iter().filter_map(|p| Some((p.batch_size, p.seconds_per_step?))).collect();
    let too_large = throughput.points.iter().filter(|p| p.state == PointState::OutOfMemory);
    let (too_large, doubts) = (too_large.map(|p| p.batch_size).collect(), throughput.reasons.clone());
    if throughput.reliable {
        keep_times(context, &prober.workload, conditions, throughput)?;
    }
    Ok(Times { seconds, too_large, doubts })
}
