//! What is kept of a measurement, and whether it still holds (Playbook B6): it was made of a model, an optimizer, a type of numbers,
//! a device and data, and a change of any of them makes it stale.

use super::Measured;
use crate::error::Result;
use crate::magic::Context;
use crate::probing::Conditions;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tunebook_analysis::Throughput;
use tunebook_study::store::Store;

/// One configuration that was measured.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Its name among others; empty where there is one.
    pub label: String,
    /// What it depends on.
    #[serde(rename = "inputs")]
    pub conditions: Conditions,
    /// What was found.
    pub measured: Measured,
}

/// The kinds under which measurements are kept: whole curves, and the times of steps alone.
const KINDS: [&str; 2] = ["step_times", "throughput"];

/// Keeps the times of steps alone.
pub fn keep_times(context: &Context, workload: &str, conditions: Conditions, throughput: Throughput) -> Result<()> {
    let measured = Measured { throughput, data: conditions.data.clone(), ..Measured::default() };
    let kept = Kept { label: String::new(), conditions, measured };
    write(context, KINDS[0], &[kept], json!({ "workload": workload }))
}

/// Keeps curves that were measured together, with their result.
pub fn keep(context: &Context, kept: &[Kept], result: &Json) -> Result<()> {
    write(context, KINDS[1], kept, result.clone())
}

fn write(context: &Context, kind: &str, kept: &[Kept], mut record: Json) -> Result<()> {
    let conditions: Vec<&Conditions> = kept.iter().map(|kept| &kept.conditions).collect();
    let mut hash = Sha256::new();
    hash.update(json!(conditions).to_string());
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    record["measured"] = json!(kept);
    Ok(context.store()?.keep_conclusion(kind, &hash, &record)?)
}

/// What was last measured of a workload.
pub fn latest(context: &Context, workload: &str) -> Result<Option<Vec<Kept>>> {
    let Some(store) = Store::open_to_read(&context.settings.store)? else { return Ok(None) };
    let results = store.results(KINDS[1])?;
    let of = results.into_iter().rev().filter(|result| result["workload"] == workload);
    Ok(of.filter_map(|result| serde_json::from_value(result["measured"].clone()).ok()).next())
}

/// Seconds of a step by batch size, of all reliable measurements that still hold.
pub fn recorded_times(context: &Context, workload: &str, conditions: &Conditions) -> Result<BTreeMap<u64, f64>> {
    let mut times = BTreeMap::new();
    let Some(store) = Store::open_to_read(&context.settings.store)? else { return Ok(times) };
    let mut results = vec![];
    for kind in KINDS {
        results.extend(store.results(kind)?);
    }
    for result in results.into_iter().filter(|result| result["workload"] == workload) {
        let kept: Vec<Kept> = serde_json::from_value(result["measured"].clone()).unwrap_or_default();
        let holds = |kept: &&Kept| kept.conditions == *conditions && kept.measured.throughput.reliable;
        for point in kept.iter().filter(holds).flat_map(|kept| &kept.measured.throughput.points) {
            times.extend(point.seconds_per_step.map(|seconds| (point.batch_size, seconds)));
        }
    }
    Ok(times)
}
