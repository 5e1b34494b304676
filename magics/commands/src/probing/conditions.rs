//! The conditions of a measurement of a workload, and what has changed since it was made (Playbook B6).

use serde::{Deserialize, Serialize};
use tunebook_study::{Params, WorkloadReference};

/// Everything that a measurement depends on. It is recorded with the measurement. If something differs later, the
/// measurement no longer holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// The workload. One of `%%workload` contains the hash of its source.
    pub workload: WorkloadReference,
    /// The hyperparameters that do not have their default values.
    pub params: Params,
    /// The device with its name: `cuda:0 (NVIDIA H100)`.
    pub device: String,
    /// The version of libtorch, or None if it is unknown.
    pub libtorch: Option<String>,
    /// The version of Tunebook, with which built-in workloads may change.
    pub tunebook: String,
    /// The SHA-256 of the data files.
    pub data: String,
    /// Whether evaluation steps were timed, not training steps.
    pub evaluation: bool,
}

impl Conditions {
    /// The differences to the conditions now, each in a few words: `the device was cpu, now cuda:0`.
    pub fn differences(&self, now: &Conditions) -> Vec<String> {
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
            found.push("the data files have changed".into());
        }
        if self.evaluation != now.evaluation {
            found.push("it timed the other kind of steps (training or evaluation)".into());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_changed_condition_is_named() {
        let before = Conditions {
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
            "the data files have changed",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
