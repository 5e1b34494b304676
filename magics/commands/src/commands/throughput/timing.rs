//! Times the steps of a workload at several batch sizes.

use super::Prober;
use crate::error::{MagicError, Result};
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
///
/// With an error, such as that of an interrupt, it returns what was measured before, from which nothing is concluded.
pub fn time_steps(
    prober: &Prober<'_>,
    sizes: &[u64],
    known: &BTreeMap<u64, Option<Vec<MemoryUse>>>,
    evaluate: bool,
    limit: Option<u64>,
    status: &mut Status<'_>,
) -> (Throughput, Option<MagicError>) {
    let (mut all_visits, mut reasons): (Visits, Vec<String>) = Default::default();
    let beside = prober.beside.first().map(|study| format!("the sweep `{study}` runs in the background"));
    let attempts = if beside.is_some() { 1 } else { ATTEMPTS };
    for attempt in 1..=attempts {
        let mut visits = Visits::default();
        let ended = visit_sizes(prober, sizes, evaluate, attempt, &mut visits, status);
        if let Ok(waited) = &ended {
            let result = throughput(&timings(sizes, known, &visits), *waited, limit);
            match &beside {
                Some(reason) => reasons = vec![reason.clone()],
                None if result.reliable => return (result, None),
                None => reasons = result.reasons,
            }
        }
        for (size, mut visits) in visits {
            all_visits.entry(size).or_default().append(&mut visits);
        }
        if let Err(error) = ended {
            let done = all_visits.values().map(Vec::len).sum::<usize>();
            let all = attempt * VISITS * sizes.len();
            let timed: Vec<u64> = sizes.iter().copied().filter(|size| all_visits.contains_key(size)).collect();
            let reason = format!("the timing of steps was interrupted after {done} of {all} measurements");
            return (disturbed_throughput(&timings(&timed, known, &all_visits), vec![reason]), Some(error));
        }
    }
    (disturbed_throughput(&timings(sizes, known, &all_visits), reasons), None)
}

/// By batch size, for each visit the seconds per step of each block of steps.
type Visits = BTreeMap<u64, Vec<Vec<f64>>>;

/// Makes one measurement of all sizes in one process, and adds it to `visits`, which keeps what was measured before an
/// error. Returns the share of the time in which other processes held the processor.
fn visit_sizes(
    prober: &Prober<'_>,
    sizes: &[u64],
    evaluate: bool,
    attempt: usize,
    visits: &mut Visits,
    status: &mut Status<'_>,
) -> Result<f64> {
    let mut sizes = sizes.to_vec();
    loop {
        visits.clear();
        let task = ProbeTask::Time { batch_sizes: sizes.clone(), evaluate };
        let all = VISITS * sizes.len();
        let repeated = if attempt > 1 { ", repeated because the machine is busy" } else { "" };
        let mut read = 0;
        let answers = prober.ask(task, &mut |answers| {
            for answer in answers.iter().skip(read) {
                if let ProbeAnswer::Timed { batch_size, blocks } = answer {
                    visits.entry(*batch_size).or_default().push(blocks.clone());
                }
            }
            read = answers.len();
            let done = visits.values().map(Vec::len).sum::<usize>();
            status.say(&format!("Timing steps: {done} of {all} measurements{repeated}"));
        })?;
        let mut waited = 0.0;
        let mut out_of_memory = false;
        for answer in answers {
            match answer {
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
        return Ok(waited);
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
