//! Measures one configuration: the largest batch size that fits, how fast each size is, and what limits the speed.

use super::Prober;
use super::timing::time_steps;
use crate::error::{ErrorName, MagicError, Result};
use crate::report::Status;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tunebook_analysis::{Bottleneck, LimitSearch, Throughput, bottleneck, counted, sizes_to_time, throughput};
use tunebook_study::probe::{MemoryUse, ProbeAnswer, ProbeTask};

/// The measurement of one configuration.
#[derive(Default, Serialize, Deserialize)]
pub struct ThroughputMeasurement {
    /// The curve with its conclusions. It is empty with `--limit-only`.
    pub throughput: Throughput,
    /// The largest batch size that fits, or None if not even one example does.
    pub largest_feasible: Option<u64>,
    /// Whether memory limits the batch size.
    pub limited_by_memory: bool,
    /// What limits the batch size. None if the measurement ended before that was known, or in records of earlier
    /// versions.
    #[serde(default)]
    pub limited_by: Option<SizeLimit>,
    /// The number of training examples, if it is known.
    pub examples: Option<u64>,
    /// Why no size above the largest feasible one was tried, unless memory limits it: the end of a sentence.
    pub no_larger: Option<String>,
    /// The smallest size that was tried and does not fit.
    pub too_large: Option<u64>,
    /// The limit that the model of memory predicted before it was found.
    pub predicted: Option<u64>,
    /// The number of sizes that were tried to find the limit.
    pub probes: usize,
    /// Whether steps and an evaluation at the recommended size succeeded. None if none was tried.
    pub verified: Option<bool>,
    /// The stage of a step that limits the throughput. It is not measured for evaluation steps.
    pub bottleneck: Option<Bottleneck>,
    /// The checksums of the data files.
    pub data: String,
    /// If the user interrupted the measurement, what was measured before: a clause. Such a measurement is not recorded.
    #[serde(skip)]
    pub interrupted: Option<String>,
}

/// What limits the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeLimit {
    /// A larger batch does not fit into memory.
    Memory,
    /// There are no more training examples.
    Examples,
    /// The user wants no larger one (`--max`).
    Max,
    /// The workload declares that `batch_size` cannot be larger.
    Workload,
}

/// Whether a batch size fits into memory.
enum MemoryFit {
    Fits {
        memory: Vec<MemoryUse>,
        /// The number of training examples.
        examples: u64,
        /// The checksums of the data files.
        data: String,
    },
    TooLarge,
    /// The batch size is larger than the number of training examples.
    TooFewExamples(u64),
}

/// Measures one configuration. No size above `cap` is tried. `evaluate` times evaluation steps instead of training
/// steps. `limit_only` finds only the largest size that fits. With an error, such as that of an interrupt, it returns
/// what was measured before.
pub fn measure(
    prober: &Prober<'_>,
    cap: u64,
    evaluate: bool,
    limit_only: bool,
    status: &mut Status<'_>,
) -> (ThroughputMeasurement, Option<MagicError>) {
    let mut measured = ThroughputMeasurement::default();
    let error = measure_into(&mut measured, prober, cap, evaluate, limit_only, status).err();
    if error.is_some() && !measured.throughput.reliable && measured.throughput.reasons.is_empty() {
        measured.throughput.reasons.extend(measured.interrupted.clone());
    }
    (measured, error)
}

/// The same, with the measurement as it grows. Until it is complete, `interrupted` says what it has.
fn measure_into(
    measured: &mut ThroughputMeasurement,
    prober: &Prober<'_>,
    cap: u64,
    evaluate: bool,
    limit_only: bool,
    status: &mut Status<'_>,
) -> Result<()> {
    let mut search = LimitSearch::new(cap);
    let mut known: BTreeMap<u64, Option<Vec<MemoryUse>>> = BTreeMap::new();
    while let Some(size) = search.next_size() {
        let probes = counted(search.probes(), "probe");
        status.say(&format!("Does a batch of {size} fit? ({probes} so far)"));
        measured.probes = search.probes();
        measured.too_large = search.smallest_too_large();
        measured.interrupted =
            Some(format!("the search for the largest size that fits was interrupted after {probes}"));
        match probe_memory(prober, size)? {
            MemoryFit::Fits { memory, examples, data } => {
                measured.data = data;
                measured.examples = Some(examples).filter(|examples| *examples < u64::MAX);
                known.insert(size, Some(memory.clone()));
                search.lower_cap(examples);
                search.fits(size, memory);
            }
            MemoryFit::TooLarge => {
                known.insert(size, None);
                search.does_not_fit(size);
            }
            MemoryFit::TooFewExamples(examples) => {
                measured.examples = Some(examples);
                search.lower_cap(examples);
            }
        }
    }
    let largest = search.largest();
    measured.largest_feasible = (largest > 0).then_some(largest);
    measured.limited_by_memory = search.is_limited_by_memory();
    measured.too_large = search.smallest_too_large();
    measured.predicted = search.prediction().filter(|_| search.is_limited_by_memory());
    measured.probes = search.probes();
    if limit_only || largest == 0 {
        measured.throughput = throughput(&[], 0.0, None);
        measured.interrupted = None;
        return Ok(());
    }
    measured.interrupted = Some("the measurement was interrupted before steps were timed".into());
    let mut sizes = sizes_to_time(largest);
    for size in sizes.clone() {
        if let std::collections::btree_map::Entry::Vacant(entry) = known.entry(size) {
            status.say(&format!("Measuring the memory of a batch of {size}"));
            match probe_memory(prober, size)? {
                MemoryFit::Fits { memory, .. } => drop(entry.insert(Some(memory))),
                _ => sizes.retain(|other| *other < size),
            }
        }
    }
    let limit = search.is_limited_by_memory().then_some(largest);
    let (timed, error) = time_steps(prober, &sizes, &known, evaluate, limit, status);
    measured.throughput = timed;
    if let Some(error) = error {
        measured.interrupted = measured.throughput.reasons.first().cloned();
        return Err(error);
    }
    measured.interrupted = Some("the measurement was interrupted after the steps of all sizes were timed".into());
    verify(prober, measured, status)?;
    let at = measured.throughput.recommended.or(sizes.last().copied());
    if let (Some(size), false) = (at, evaluate) {
        status.say(&format!("Timing the stages of a step with a batch of {size}"));
        let answers = prober.ask(ProbeTask::Stages { batch_size: size }, &mut |_| {})?;
        measured.bottleneck = answers.iter().find_map(|answer| match answer {
            ProbeAnswer::Stages { seconds } => {
                Some(bottleneck(seconds, size, measured.throughput.is_saturated_at(size)))
            }
            _ => None,
        });
    }
    measured.interrupted = None;
    Ok(())
}

/// Verifies the recommended size by steps and an evaluation. If that fails, half the size is recommended and verified.
fn verify(prober: &Prober<'_>, measured: &mut ThroughputMeasurement, status: &mut Status<'_>) -> Result<()> {
    while let Some(size) = measured.throughput.recommended {
        status.say(&format!("Verifying a batch of {size} by steps and an evaluation"));
        let answers = prober.ask(ProbeTask::Verify { batch_size: size }, &mut |_| {})?;
        let fits = answers.iter().any(|answer| matches!(answer, ProbeAnswer::Fits { .. }));
        measured.verified = Some(fits);
        if fits {
            return Ok(());
        }
        measured.throughput.halve_recommended();
    }
    Ok(())
}

/// Trains a few steps of one size, with an evaluation, in a process of its own.
fn probe_memory(prober: &Prober<'_>, size: u64) -> Result<MemoryFit> {
    let (mut all_examples, mut checksums) = (u64::MAX, String::new());
    for answer in prober.ask(ProbeTask::Fit { batch_size: size }, &mut |_| {})? {
        match answer {
            ProbeAnswer::Loaded { examples, data } => (all_examples, checksums) = (examples, data),
            ProbeAnswer::Fits { memory } => {
                return Ok(MemoryFit::Fits { memory, examples: all_examples, data: checksums });
            }
            ProbeAnswer::OutOfMemory { .. } => return Ok(MemoryFit::TooLarge),
            // A batch that is larger than the data fails, which is no error of the workload.
            ProbeAnswer::Failed { reason } if all_examples >= size => {
                return Err(prober.cannot(&format!("measured at a batch of {size}"), &reason));
            }
            _ => {}
        }
    }
    if all_examples < size {
        return Ok(MemoryFit::TooFewExamples(all_examples));
    }
    Err(MagicError::new(ErrorName::WorkerError, "the worker ended without a measurement", None))
}
