//! What of the environment differs between a study and its replay.

use crate::commands::sweep::plan::SweepOptions;
use crate::commands::sweep::run_context::RunContext;
use crate::commands::sweep::{environment, slots};
use crate::commands::workload::CrateDifference;
use crate::error::Result;
use crate::magic::Context;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use tunebook_study::WorkloadReference;
use tunebook_study::store::{Store, StudyRecord};

/// The facts that can change numbers, by their place in a recorded environment and in words.
const FACTS: [(&str, &str); 7] = [
    ("/tunebook", "Tunebook"),
    ("/libtorch", "libtorch"),
    ("/devices", "devices"),
    ("/driver", "GPU driver"),
    ("/processor", "processor"),
    ("/instruction_set", "instruction set"),
    ("/operating_system", "operating system"),
];

/// Facts about the sources, which matter only where a program is trained.
const SOURCES: [(&str, &str); 2] = [("/git/commit", "git commit"), ("/git/diff", "what is not committed")];

/// The kind of the result that says with which other crates a replay built the worker.
pub const CRATES: &str = "crates_again";

/// A fact that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub what: String,
    pub recorded: String,
    pub again: String,
}

/// The facts that differ between the runs of a study and those of its replay. A fact that one of them did not record is
/// not compared.
pub fn differences(store: &Store, study: &StudyRecord, replay: &StudyRecord) -> Result<Vec<Difference>> {
    let (recorded, again) = (store.environments(study)?, store.environments(replay)?);
    let mut found = compared(&recorded, &again, matches!(study.definition.workload, WorkloadReference::Command(_)));
    if let Some(crates) = store.result(replay, CRATES, "")? {
        let crates: Vec<CrateDifference> = serde_json::from_value(crates).unwrap_or_default();
        let named =
            |CrateDifference { name, recorded, again }| Difference { what: format!("crate {name}"), recorded, again };
        found.extend(crates.into_iter().map(named));
    }
    Ok(found)
}

fn compared(recorded: &[Value], again: &[Value], is_program: bool) -> Vec<Difference> {
    let sources = if is_program { &SOURCES[..] } else { &[] };
    let mut found = vec![];
    for (place, what) in FACTS.iter().chain(sources) {
        let (before, after) = (values(recorded, place), values(again, place));
        if !before.is_empty() && !after.is_empty() && before != after {
            let text = |values: &[String]| match *place {
                "/git/diff" => "other changes".to_string(),
                _ => values.join(" and "),
            };
            let (recorded, again) = (text(&before), text(&after));
            found.push(Difference { what: what.to_string(), recorded, again });
        }
    }
    found
}

/// The values of a fact in several environments, each once.
fn values(environments: &[Value], place: &str) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    for value in environments.iter().filter_map(|environment| environment.pointer(place)) {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

/// In words, what differs between the environment in which a replay ran so far and the present one. None if nothing
/// does.
pub fn moved(context: &Context, replay: &StudyRecord, options: &SweepOptions) -> Result<Option<String>> {
    let Some(store) = context.store_to_read()? else { return Ok(None) };
    let run = RunContext::new(context, options)?;
    let (devices, _) = run.devices(context, &replay.definition.workload);
    let slots = slots::Slots::of(context, &run, &devices);
    // Which optimizer trains is no fact that is compared.
    let now = environment::environment(&devices, &slots.names(), slots::commands(&run), &run.folder, None);
    let found = compared(&store.environments(replay)?, &[now], false);
    Ok(found.first().map(|first| format!("its {} was {}, now {}", first.what, first.recorded, first.again)))
}

/// A file that had other contents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileDifference {
    pub file: PathBuf,
    /// The SHA-256 hashes of what the trials of the study read, and of what those of the replay read.
    pub recorded: String,
    pub again: String,
}

/// The files that the replay read with other contents. A file that moved is known by its name.
pub fn files(store: &Store, study: &StudyRecord, replay: &StudyRecord) -> Result<Vec<FileDifference>> {
    let (recorded, again) = (store.inputs(study)?, store.inputs(replay)?);
    let mut found = vec![];
    for (file, before) in &recorded {
        let same_name = |other: &&PathBuf| other.file_name() == file.file_name() && !recorded.contains_key(*other);
        let after = again.get(file).or_else(|| again.keys().find(same_name).and_then(|other| again.get(other)));
        if let (Some(before_last), Some(after)) = (before.last(), after.and_then(|after| after.last()))
            && !before.contains(after)
        {
            found.push(FileDifference { file: file.clone(), recorded: before_last.clone(), again: after.clone() });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_facts_that_both_recorded_are_compared() {
        let of = |version: &str, commit: Option<&str>| {
            json!({ "tunebook": version, "libtorch": "2.9", "processor": "A", "kernel": version,
                "git": commit.map(|commit| json!({ "commit": commit })) })
        };
        assert_eq!(compared(&[of("1", Some("a"))], &[of("1", Some("b"))], false), []);
        let other = compared(&[of("1", Some("a")), of("2", Some("a"))], &[of("2", Some("b"))], true);
        let expected = [("Tunebook", "1 and 2", "2"), ("git commit", "a", "b")];
        let found: Vec<_> = other.iter().map(|d| (d.what.as_str(), d.recorded.as_str(), d.again.as_str())).collect();
        assert_eq!(found, expected);
        assert_eq!(compared(&[of("1", None)], &[of("1", Some("b"))], true), []);
    }
}
