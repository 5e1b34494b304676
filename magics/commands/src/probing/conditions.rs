//! What a measurement of a workload depends on, and what has changed since (Playbook B6).

use serde::{Deserialize, Serialize};
use tunebook_study::{Params, WorkloadReference};

/// What a measurement depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
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

impl Conditions {
    /// What is different now, each in a few words.
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
            found.push("the data files are others".into());
        }
        if self.evaluation != now.evaluation {
            found.push("training and evaluation steps were exchanged".into());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_input_is_named() {
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
            "the data files are others",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
