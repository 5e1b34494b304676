//! The measurement of one configuration: what fits, how fast it is, what limits it.

use super::Prober;
use crate::error::{MagicError, Result};
use crate::status::Status;
use std::collections::BTreeMap;
use tunebook_analysis::{Bottleneck, LimitSearch, PointState, SizeMeasured, Throughput, bottleneck, throughput};
use tunebook_study::probe::{MemoryUse, ProbeAnswer, ProbeTask};

/// How often a measurement that cannot be trusted is repeated.
const ATTEMPTS: usize = 3;

/// What was found.
pub struct Measured {
    /// The curve with its conclusions; empty after `--limit-only`.
    pub throughput: Throughput,
    /// The largest size that fits; `None` where none does.
    pub largest_feasible: Option<u64>,
    /// Whether memory is what ends it.
    pub limited_by_memory: bool,
    /// The smallest size that was tried and does not fit.
    pub too_large: Option<u64>,
    /// How many processes probed memory.
    pub probes: usize,
    /// What keeps a higher throughput away.
    pub bottleneck: Option<Bottleneck>,
    /// Checksums of the data files.
    pub data: String,
}

/// What one probe for memory found.
enum Fit {
    /// It used so much; the data have so many examples, and these checksums.
    Fits(Vec<MemoryUse>, u64, String),
    TooLarge,
    /// The data have fewer examples than the size.
    Fewer(u64),
}

/// Measures. `cap`: no size beyond it is tried.
pub fn measure(
    prober: &Prober<'_>,
    cap: u64,
    evaluate: bool,
    limit_only: bool,
    status: &mut Status<'_>,
) -> Result<Measured> {
    let mut search = LimitSearch::new(cap);
    let mut data = String::new();
    let mut known: BTreeMap<u64, Option<Vec<MemoryUse>>> = BTreeMap::new();
    while let Some(size) = search.next() {
        status.say(&format!("Does a batch of {size} fit? ({} probes so far)", search.probes()));
        match fit(prober, size)? {
            Fit::Fits(memory, examples, files) => {
                data = files;
                known.insert(size, Some(memory.clone()));
                search.cap(examples);
                search.fits(size, memory);
            }
            Fit::TooLarge => {
                known.insert(size, None);
                search.does_not_fit(size);
            }
            Fit::Fewer(examples) => search.cap(examples),
        }
    }
    let largest = search.largest();
    let nothing = throughput(&[], 0.0, None);
    let mut measured = Measured {
        throughput: nothing,
        largest_feasible: (largest > 0).then_some(largest),
        limited_by_memory: search.is_limited_by_memory(),
        too_large: known.iter().find(|(_, memory)| memory.is_none()).map(|(size, _)| *size),
        probes: search.probes(),
        bottleneck: None,
        data,
    };
    if limit_only || largest == 0 {
        return Ok(measured);
    }
    let mut sizes: Vec<u64> = (0..63).map(|k| 1_u64 << k).take_while(|size| *size <= largest).collect();
    for size in sizes.clone() {
        if let std::collections::btree_map::Entry::Vacant(entry) = known.entry(size) {
            status.say(&format!("Memory of a batch of {size}"));
            match fit(prober, size)? {
                Fit::Fits(memory, ..) => drop(entry.insert(Some(memory))),
                _ => sizes.retain(|other| *other < size),
            }
        }
    }
    let limit = search.is_limited_by_memory().then_some(largest);
    measured.throughput = timed(prober, &sizes, &known, evaluate, limit, status)?;
    let at = measured.throughput.recommended.or(sizes.last().copied());
    if let (Some(size), false) = (at, evaluate) {
        status.say(&format!("What a step of {size} spends its time on"));
        let answers = prober.ask(ProbeTask::Stages { batch_size: size }, &mut |_| {})?;
        measured.bottleneck = answers.iter().find_map(|answer| match answer {
            ProbeAnswer::Stages { seconds } => {
                Some(bottleneck(seconds, size, measured.throughput.saturation.is_some_and(|knee| size >= knee)))
            }
            _ => None,
        });
    }
    Ok(measured)
}

fn fit(prober: &Prober<'_>, size: u64) -> Result<Fit> {
    let (mut fewer, mut all, mut files) = (None, u64::MAX, String::new());
    for answer in prober.ask(ProbeTask::Fit { batch_size: size }, &mut |_| {})? {
        match answer {
            ProbeAnswer::Loaded { examples, data } => {
                (all, files) = (examples, data);
                fewer = (examples < size).then_some(examples);
            }
            ProbeAnswer::Fits { memory } => return Ok(Fit::Fits(memory, all, files)),
            ProbeAnswer::OutOfMemory { .. } => return Ok(Fit::TooLarge),
            ProbeAnswer::Failed { reason } if fewer.is_none() => {
                let message = format!("`{}` cannot be measured at a batch of {size}: {reason}", prober.workload);
                return Err(MagicError::new("WorkloadError", message, None));
            }
            _ => {}
        }
    }
    let silent = || MagicError::new("WorkerError", "the worker said nothing of what it measured", None);
    fewer.map(Fit::Fewer).ok_or_else(silent)
}

/// Times all sizes, again where the machine was too busy to tell.
fn timed(
    prober: &Prober<'_>,
    sizes: &[u64],
    known: &BTreeMap<u64, Option<Vec<MemoryUse>>>,
    evaluate: bool,
    limit: Option<u64>,
    status: &mut Status<'_>,
) -> Result<Throughput> {
    let mut best: BTreeMap<u64, Vec<Vec<f64>>> = BTreeMap::new();
    let mut last = None;
    for attempt in 1..=ATTEMPTS {
        let (visits, waited) = visits(prober, sizes, evaluate, attempt, status)?;
        let found = throughput(&curve(sizes, known, &visits), waited, limit);
        if found.reliable {
            return Ok(found);
        }
        for (size, mut visits) in visits {
            best.entry(size).or_default().append(&mut visits);
        }
        last = Some((found.reasons, waited));
    }
    // The least disturbed visit of each size; nothing is concluded from it.
    for visits in best.values_mut() {
        let least = |visit: &Vec<f64>| visit.iter().copied().fold(f64::INFINITY, f64::min);
        visits.sort_by(|a, b| least(a).total_cmp(&least(b)));
        visits.truncate(1);
    }
    let (reasons, waited) = last.unwrap_or_default();
    let mut found = throughput(&curve(sizes, known, &best), waited, limit);
    (found.reliable, found.saturation, found.recommended, found.step_time) = (false, None, None, None);
    found.reasons = reasons;
    Ok(found)
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
            status.say(&format!("Timing steps: {} of {all} visits{again}", answers.saturating_sub(1).min(all)));
        })?;
        let (mut visits, mut waited): (Visits, f64) = Default::default();
        let mut too_large = vec![];
        for answer in answers {
            match answer {
                ProbeAnswer::Timed { batch_size, blocks } => visits.entry(batch_size).or_default().push(blocks),
                ProbeAnswer::Done { waited: share } => waited = share,
                ProbeAnswer::OutOfMemory { batch_size, .. } => too_large.push(batch_size),
                ProbeAnswer::Failed { reason } => {
                    let message = format!("`{}` cannot be timed: {reason}", prober.workload);
                    return Err(MagicError::new("WorkloadError", message, None));
                }
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

fn curve(sizes: &[u64], known: &BTreeMap<u64, Option<Vec<MemoryUse>>>, visits: &Visits) -> Vec<SizeMeasured> {
    let peak = |memory: &Vec<MemoryUse>| memory.first().map(|memory| memory.used);
    let mut all: Vec<SizeMeasured> = sizes
        .iter()
        .map(|size| {
            let visits = visits.get(size).cloned().unwrap_or_default();
            let state = if visits.is_empty() { PointState::OutOfMemory } else { PointState::Ok };
            let peak_memory_bytes = known.get(size).and_then(Option::as_ref).and_then(peak);
            SizeMeasured { batch_size: *size, state, visits, peak_memory_bytes }
        })
        .collect();
    let too_large = known.iter().filter(|(_, memory)| memory.is_none());
    all.extend(too_large.map(|(size, _)| SizeMeasured {
        batch_size: *size,
        state: PointState::OutOfMemory,
        visits: vec![],
        peak_memory_bytes: None,
    }));
    all
}
