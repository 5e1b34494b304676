//! The measurement of one configuration: what fits, how fast it is, what limits it.

use super::Prober;
use super::times::timed;
use crate::error::{ErrorName, MagicError, Result};
use crate::report::Status;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tunebook_analysis::{Bottleneck, LimitSearch, Throughput, bottleneck, sizes_to_time, throughput};
use tunebook_study::probe::{MemoryUse, ProbeAnswer, ProbeTask};

/// What was found.
#[derive(Default, Serialize, Deserialize)]
pub struct Measured {
    /// The curve with its conclusions; empty after `--limit-only`.
    pub throughput: Throughput,
    /// The largest size that fits; `None` where none does.
    pub largest_feasible: Option<u64>,
    /// Whether memory is what ends it.
    pub limited_by_memory: bool,
    /// The smallest size that was tried and does not fit.
    pub too_large: Option<u64>,
    /// The limit that the model of memory predicted before it was found.
    pub predicted: Option<u64>,
    /// How many processes probed memory.
    pub probes: usize,
    /// Whether twenty steps and an evaluation of the recommended size went well.
    pub verified: Option<bool>,
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
    while let Some(size) = search.next_size() {
        status.say(&format!("Does a batch of {size} fit? ({} probes so far)", search.probes()));
        match fit(prober, size)? {
            Fit::Fits(memory, examples, files) => {
                data = files;
                known.insert(size, Some(memory.clone()));
                search.lower_cap(examples);
                search.fits(size, memory);
            }
            Fit::TooLarge => {
                known.insert(size, None);
                search.does_not_fit(size);
            }
            Fit::Fewer(examples) => search.lower_cap(examples),
        }
    }
    let largest = search.largest();
    let mut measured = Measured {
        throughput: throughput(&[], 0.0, None),
        largest_feasible: (largest > 0).then_some(largest),
        limited_by_memory: search.is_limited_by_memory(),
        too_large: search.smallest_too_large(),
        predicted: search.prediction().filter(|_| search.is_limited_by_memory()),
        probes: search.probes(),
        verified: None,
        bottleneck: None,
        data,
    };
    if limit_only || largest == 0 {
        return Ok(measured);
    }
    let mut sizes = sizes_to_time(largest);
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
    verify(prober, &mut measured, status)?;
    let at = measured.throughput.recommended.or(sizes.last().copied());
    if let (Some(size), false) = (at, evaluate) {
        status.say(&format!("What a step of {size} spends its time on"));
        let answers = prober.ask(ProbeTask::Stages { batch_size: size }, &mut |_| {})?;
        measured.bottleneck = answers.iter().find_map(|answer| match answer {
            ProbeAnswer::Stages { seconds } => {
                Some(bottleneck(seconds, size, measured.throughput.is_saturated_at(size)))
            }
            _ => None,
        });
    }
    Ok(measured)
}

/// Takes twenty steps and an evaluation of the recommended size; one that does not last gives way to the next smaller.
fn verify(prober: &Prober<'_>, measured: &mut Measured, status: &mut Status<'_>) -> Result<()> {
    while let Some(size) = measured.throughput.recommended {
        status.say(&format!("Does a batch of {size} last?"));
        let answers = prober.ask(ProbeTask::Verify { batch_size: size }, &mut |_| {})?;
        let lasts = answers.iter().any(|answer| matches!(answer, ProbeAnswer::Fits { .. }));
        measured.verified = Some(lasts);
        if lasts {
            return Ok(());
        }
        measured.throughput.halve_recommended();
    }
    Ok(())
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
                return Err(prober.cannot(&format!("measured at a batch of {size}"), &reason));
            }
            _ => {}
        }
    }
    let silent = || MagicError::new(ErrorName::WorkerError, "the worker said nothing of what it measured", None);
    fewer.map(Fit::Fewer).ok_or_else(silent)
}
