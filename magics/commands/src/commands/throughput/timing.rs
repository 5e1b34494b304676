//! Times the steps of a workload at several batch sizes.

use super::Prober;
use crate::error::Result;
use crate::report::Status;
use std::collections::BTreeMap;
use tunebook_analysis::{BatchSizeTiming, PointState, Throughput, disturbed_throughput, throughput};
use tunebook_study::probe::{MemoryUse, ProbeAnswer, ProbeTask};

/// A measurement that is not reliable is made this many times in all.
const ATTEMPTS: usize = 3;
/// The worker visits each size this many times in one measurement (`VISITS` in its own code).
const VISITS: usize = 5;

/// Times the steps of all sizes, which are in ascending order. A measurement that is not reliable is repeated.
///
/// `known` holds the memory that each probed size used, or None for a size that does not fit. `evaluate` times
/// evaluation steps instead of training steps. `limit` is the largest size that fits if memory is the limit.
pub fn time_steps(
    prober: &Prober<'_>,
    sizes: &[u64],
    known: &BTreeMap<u64, Option<Vec<MemoryUse>>>,
    evaluate: bool,
    limit: Option<u64>,
    status: &mut Status<'_>,
) -> Result<Throughput> {
    let (mut all_visits, mut reasons): (Visits, Vec<String>) = Default::default();
    if let Some(study) = prober.beside.first() {
        let (visits, _) = visit_sizes(prober, sizes, evaluate, 1, status)?;
        let reason = format!("the sweep `{study}` runs in the background");
        return Ok(disturbed_throughput(&timings(sizes, known, &visits), vec![reason]));
    }
    for attempt in 1..=ATTEMPTS {
        let (visits, waited) = visit_sizes(prober, sizes, evaluate, attempt, status)?;
        let result = throughput(&timings(sizes, known, &visits), waited, limit);
        if result.reliable {
            return Ok(result);
        }
        for (size, mut visits) in visits {
            all_visits.entry(size).or_default().append(&mut visits);
        }
        reasons = result.reasons;
    }
    Ok(disturbed_throughput(&timings(sizes, known, &all_visits), reasons))
}

/// By batch size, for each visit the seconds per step of each block of steps.
type Visits = BTreeMap<u64, Vec<Vec<f64>>>;

/// Makes one measurement of all sizes in one process. Returns the visits, and the share of the time in which other
/// processes held the processor.
fn visit_sizes(
    prober: &Prober<'_>,
    sizes: &[u64],
    evaluate: bool,
    attempt: usize,
    status: &mut Status<'_>,
) -> Result<(Visits, f64)> {
    let mut sizes = sizes.to_vec();
    loop {
        let task = ProbeTask::Time { batch_sizes: sizes.clone(), evaluate };
        let all = VISITS * sizes.len();
        let repeated = if attempt > 1 { ", repeated because the machine is busy" } else { "" };
        let answers = prober.ask(task, &mut |answers| {
            // The first answer says that the data are loaded.
            let visits = answers.len().saturating_sub(1).min(all);
            status.say(&format!("Timing steps: {visits} of {all} measurements{repeated}"));
        })?;
        let (mut visits, mut waited): (Visits, f64) = Default::default();
        let mut out_of_memory = false;
        for answer in answers {
            match answer {
                ProbeAnswer::Timed { batch_size, blocks } => visits.entry(batch_size).or_default().push(blocks),
                ProbeAnswer::Done { waited: share } => waited = share,
                ProbeAnswer::OutOfMemory { .. } => out_of_memory = true,
                ProbeAnswer::Failed { reason } => return Err(prober.cannot("timed", &reason)),
                _ => {}
            }
        }
        // If the process ran out of memory before any size had all its visits, it is tried without the largest size.
        if out_of_memory && visits.values().all(|visits| visits.len() < VISITS) && sizes.len() > 1 {
            sizes.pop();
            continue;
        }
        return Ok((visits, waited));
    }
}

/// Joins the visits with the memory that each size used. Sizes that do not fit come last.
fn timings(sizes: &[u64], known: &BTreeMap<u64, Option<Vec<MemoryUse>>>, visits: &Visits) -> Vec<BatchSizeTiming> {
    let peak = |memory: &Vec<MemoryUse>| memory.first().map(|memory| memory.used);
    let mut all: Vec<BatchSizeTiming> = sizes
        .iter()
        .map(|size| {
            let visits = visits.get(size).cloned().unwrap_or_default();
            let state = if visits.is_empty() { PointState::OutOfMemory } else { PointState::Ok };
            let peak_memory_bytes = known.get(size).and_then(Option::as_ref).and_then(peak);
            BatchSizeTiming { batch_size: *size, state, visits, peak_memory_bytes }
        })
        .collect();
    let too_large = known.iter().filter(|(_, memory)| memory.is_none());
    all.extend(too_large.map(|(size, _)| BatchSizeTiming {
        batch_size: *size,
        state: PointState::OutOfMemory,
        visits: vec![],
        peak_memory_bytes: None,
    }));
    all
}
