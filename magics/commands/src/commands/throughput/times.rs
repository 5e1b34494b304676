//! The time of a step at several batch sizes, or that the machine was too busy to tell.

use super::Prober;
use crate::error::Result;
use crate::report::Status;
use std::collections::BTreeMap;
use tunebook_analysis::{BatchSizeTiming, PointState, Throughput, disturbed_throughput, throughput};
use tunebook_study::probe::{MemoryUse, ProbeAnswer, ProbeTask};

/// How often a measurement that cannot be trusted is repeated.
const ATTEMPTS: usize = 3;

/// Times all sizes, again where the machine was too busy to tell. `known`: what each size used of memory, `None` for one that does
/// not fit; `limit`: the largest that fits, where memory ends it.
pub fn timed(
    prober: &Prober<'_>,
    sizes: &[u64],
    known: &BTreeMap<u64, Option<Vec<MemoryUse>>>,
    evaluate: bool,
    limit: Option<u64>,
    status: &mut Status<'_>,
) -> Result<Throughput> {
    let (mut all, mut reasons): (Visits, Vec<String>) = Default::default();
    for attempt in 1..=ATTEMPTS {
        let (visits, waited) = visits(prober, sizes, evaluate, attempt, status)?;
        let found = throughput(&curve(sizes, known, &visits), waited, limit);
        if found.reliable {
            return Ok(found);
        }
        for (size, mut visits) in visits {
            all.entry(size).or_default().append(&mut visits);
        }
        reasons = found.reasons;
    }
    Ok(disturbed_throughput(&curve(sizes, known, &all), reasons))
}

type Visits = BTreeMap<u64, Vec<Vec<f64>>>;

fn visits(
    prober: &Prober<'_>,
    sizes: &[u64],
    evaluate: bool,
    attempt: usize,
    status: &mut Status<'_>,
) -> Result<(Visits, f64)> {
    let mut sizes = sizes.to_vec();
    loop {
        let task = ProbeTask::Time { batch_sizes: sizes.clone(), evaluate };
        let (all, again) = (5 * sizes.len(), if attempt > 1 { ", again: the machine is busy" } else { "" });
        let answers = prober.ask(task, &mut |answers| {
            let visits = answers.len().saturating_sub(1).min(all);
            status.say(&format!("Timing steps: {visits} of {all} visits{again}"));
        })?;
        let (mut visits, mut waited): (Visits, f64) = Default::default();
        let mut too_large = vec![];
        for answer in answers {
            match answer {
                ProbeAnswer::Timed { batch_size, blocks } => visits.entry(batch_size).or_default().push(blocks),
                ProbeAnswer::Done { waited: share } => waited = share,
                ProbeAnswer::OutOfMemory { batch_size, .. } => too_large.push(batch_size),
                ProbeAnswer::Failed { reason } => return Err(prober.cannot("timed", &reason)),
                _ => {}
            }
        }
        // The process ended for memory in the middle of it: without its largest size.
        match too_large.iter().max() {
            Some(_) if visits.values().all(|visits| visits.len() < 5) && sizes.len() > 1 => drop(sizes.pop()),
            _ => return Ok((visits, waited)),
        }
    }
}

fn curve(sizes: &[u64], known: &BTreeMap<u64, Option<Vec<MemoryUse>>>, visits: &Visits) -> Vec<BatchSizeTiming> {
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
