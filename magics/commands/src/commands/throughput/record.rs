//! Records measurements in the store, and finds those that still hold (Playbook B6). A measurement holds as long as
//! everything that it depends on is the same.

use super::ThroughputMeasurement;
use crate::error::Result;
use crate::magic::Context;
use crate::probing::Conditions;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tunebook_analysis::{StepSeconds, Throughput, ThroughputPoint};

/// The measurement of one configuration, as it is recorded.
#[derive(Serialize, Deserialize)]
pub struct ThroughputRecord {
    /// What distinguishes the configuration from the others of one magic. Empty if there is only one.
    pub label: String,
    /// What the measurement depends on.
    #[serde(rename = "inputs")]
    pub conditions: Conditions,
    /// The measurement.
    pub measured: ThroughputMeasurement,
}

/// The kind of records that hold only the times of steps, which `%scaling` measures.
const STEP_TIMES: &str = "step_times";
/// The kind of records that `%throughput` writes.
const THROUGHPUT: &str = "throughput";

/// Records the times of steps that `%scaling` measured.
pub fn record_step_times(
    context: &Context,
    workload: &str,
    conditions: Conditions,
    throughput: Throughput,
) -> Result<()> {
    let measured = ThroughputMeasurement { throughput, data: conditions.data.clone(), ..Default::default() };
    let record = ThroughputRecord { label: String::new(), conditions, measured };
    write(context, STEP_TIMES, &[record], json!({ "workload": workload }))
}

/// Records the measurements of one `%throughput`, with the result that it showed.
pub fn record_throughput(context: &Context, records: &[ThroughputRecord], result: &Json) -> Result<()> {
    write(context, THROUGHPUT, records, result.clone())
}

/// Writes a conclusion. It replaces an earlier one with the same conditions.
fn write(context: &Context, kind: &str, records: &[ThroughputRecord], mut conclusion: Json) -> Result<()> {
    let conditions: Vec<&Conditions> = records.iter().map(|record| &record.conditions).collect();
    let hash = Sha256::digest(json!(conditions).to_string());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    conclusion["measured"] = json!(records);
    Ok(context.store()?.keep_conclusion(kind, &hash, &conclusion)?)
}

/// Returns the records of the last reliable `%throughput` of a workload, of the last one if none was reliable, or None
/// if there are none.
pub fn latest_records(context: &Context, workload: &str) -> Result<Option<Vec<ThroughputRecord>>> {
    let Some(store) = context.store_to_read()? else { return Ok(None) };
    let results = store.results(THROUGHPUT)?;
    let of_workload = results.into_iter().rev().filter(|result| result["workload"] == workload);
    let mut all: Vec<Vec<ThroughputRecord>> =
        of_workload.filter_map(|result| serde_json::from_value(result["measured"].clone()).ok()).collect();
    let is_reliable =
        |records: &Vec<ThroughputRecord>| records.iter().all(|record| record.measured.throughput.reliable);
    let chosen = all.iter().position(is_reliable).unwrap_or(0);
    Ok((!all.is_empty()).then(|| all.swap_remove(chosen)))
}

/// Returns the times of steps of a measurement, by batch size.
pub fn step_seconds(throughput: &Throughput) -> BTreeMap<u64, StepSeconds> {
    let of = |point: &ThroughputPoint| {
        let interval = point.interval.map(|[low, high]| [low, high].map(|rate| point.batch_size as f64 / rate));
        let interval = interval.map(|[slow, fast]| [fast, slow]);
        Some((point.batch_size, StepSeconds { seconds: point.seconds_per_step?, interval }))
    };
    throughput.points.iter().filter_map(of).collect()
}

/// Returns the seconds of a step at each batch size, from all reliable measurements with the same conditions.
pub fn recorded_step_times(
    context: &Context,
    workload: &str,
    conditions: &Conditions,
) -> Result<BTreeMap<u64, StepSeconds>> {
    let mut seconds_per_step = BTreeMap::new();
    let Some(store) = context.store_to_read()? else { return Ok(seconds_per_step) };
    let mut results = store.results(STEP_TIMES)?;
    results.extend(store.results(THROUGHPUT)?);
    for result in results.into_iter().filter(|result| result["workload"] == workload) {
        let records: Vec<ThroughputRecord> = serde_json::from_value(result["measured"].clone()).unwrap_or_default();
        let holds =
            |record: &&ThroughputRecord| record.conditions == *conditions && record.measured.throughput.reliable;
        for record in records.iter().filter(holds) {
            seconds_per_step.extend(step_seconds(&record.measured.throughput));
        }
    }
    Ok(seconds_per_step)
}
