//! What is kept of a measurement, and whether it still holds (Playbook B6): it was made of a model, an optimizer, a type of numbers,
//! a device and data, and a change of any of them makes it stale.

use super::Measured;
use crate::context::Context;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tunebook_analysis::Throughput;
use tunebook_study::store::Store;
use tunebook_study::{Params, WorkloadReference};

/// What a measurement depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The model, by the hash of its source where it is the user's.
    pub workload: WorkloadReference,
    /// Hyperparameters that are not at their defaults: optimizer, precision, shapes.
    pub params: Params,
    /// Where it ran, with its name.
    pub device: String,
    /// The library.
    pub libtorch: Option<String>,
    /// Tunebook's version: a built-in workload may change with it.
    pub tunebook: String,
    /// SHA-256 of each data file.
    pub data: String,
    /// Whether evaluation steps were timed.
    pub evaluation: bool,
}

impl Inputs {
    /// What is different now, each in a few words.
    pub fn differences(&self, now: &Inputs) -> Vec<String> {
        let mut found = vec![];
        let mut field = |what: &str, before: String, after: String| {
            if before != after {
                found.push(format!("{what} was {before}, now {after}"));
            }
        };
        field("the workload", self.workload.to_string(), now.workload.to_string());
        field("the device", self.device.clone(), now.device.clone());
        let known = |version: &Option<String>| version.clone().unwrap_or_else(|| "unknown".into());
        field("libtorch", known(&self.libtorch), known(&now.libtorch));
        field("Tunebook", self.tunebook.clone(), now.tunebook.clone());
        let names: std::collections::BTreeSet<&String> = self.params.keys().chain(now.params.keys()).collect();
        for name in names {
            let value = |params: &Params| params.get(name).map_or("at its default".into(), |value| value.to_string());
            field(&format!("`{name}`"), value(&self.params), value(&now.params));
        }
        if self.data != now.data {
            found.push("the data files are others".into());
        }
        if self.evaluation != now.evaluation {
            found.push("training and evaluation steps were exchanged".into());
        }
        found
    }
}

/// One configuration that was measured.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Its name among others; empty where there is one.
    pub label: String,
    /// What it depends on.
    pub inputs: Inputs,
    /// What was found.
    pub measured: Measured,
}

/// The kinds under which measurements are kept: whole curves, and the times of steps alone.
const KINDS: [&str; 2] = ["step_times", "throughput"];

/// Keeps the times of steps alone.
pub fn keep_times(context: &Context, workload: &str, inputs: Inputs, throughput: Throughput) -> Result<()> {
    let measured = Measured { throughput, data: inputs.data.clone(), ..Measured::default() };
    let kept = Kept { label: String::new(), inputs, measured };
    write(context, KINDS[0], &[kept], json!({ "workload": workload }))
}

/// Keeps curves that were measured together, with their result.
pub fn keep(context: &Context, kept: &[Kept], result: &Json) -> Result<()> {
    write(context, KINDS[1], kept, result.clone())
}

fn write(context: &Context, kind: &str, kept: &[Kept], mut record: Json) -> Result<()> {
    let inputs: Vec<&Inputs> = kept.iter().map(|kept| &kept.inputs).collect();
    let mut hash = Sha256::new();
    hash.update(json!(inputs).to_string());
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
pub fn recorded_times(context: &Context, workload: &str, inputs: &Inputs) -> Result<BTreeMap<u64, f64>> {
    let mut times = BTreeMap::new();
    let Some(store) = Store::open_to_read(&context.settings.store)? else { return Ok(times) };
    let mut results = vec![];
    for kind in KINDS {
        results.extend(store.results(kind)?);
    }
    for result in results.into_iter().filter(|result| result["workload"] == workload) {
        let kept: Vec<Kept> = serde_json::from_value(result["measured"].clone()).unwrap_or_default();
        let holds = |kept: &&Kept| kept.inputs == *inputs && kept.measured.throughput.reliable;
        for point in kept.iter().filter(holds).flat_map(|kept| &kept.measured.throughput.points) {
            times.extend(point.seconds_per_step.map(|seconds| (point.batch_size, seconds)));
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_input_is_named() {
        let before = Inputs {
            workload: WorkloadReference::Builtin { name: "w".into() },
            params: [("optimizer".to_string(), "adam".into())].into(),
            device: "cpu".into(),
            libtorch: Some("2.11.0".into()),
            tunebook: "0.1.0".into(),
            data: "aa".into(),
            evaluation: false,
        };
        assert!(before.differences(&before).is_empty());
        let mut now = before.clone();
        now.params = [("precision".to_string(), "bf16".into())].into();
        (now.data, now.device) = ("bb".into(), "cuda:0".into());
        let said = before.differences(&now).join("; ");
        for part in [
            "the device was cpu, now cuda:0",
            "`optimizer` was adam, now at its default",
            "`precision` was at its default, now bf16",
            "the data files are others",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
