//! The magic that gives the trials of a study again.

use crate::error::Result;
use serde_json::Value as Json;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Trial, TrialState, WorkloadReference};

/// The magic that trains the trials of a study again. Those of an imported study cannot be trained here: it is the
/// magic that reads them again, or None if the record does not say where they come from.
pub fn reproduction(store: &Store, study: &StudyRecord) -> Result<Option<String>> {
    Ok(match &study.definition.workload {
        WorkloadReference::Imported { .. } => {
            let origin = store.origin(study)?.unwrap_or_default();
            import_magic(&study.name, &origin["source"])
        }
        _ => Some(format!("%replay {}", shell_words::quote(&study.name))),
    })
}

/// Whether `%replay` runs a trial again. One that was interrupted, or that ran out of time, has no end to compare with.
pub fn is_replayed(trial: &Trial) -> bool {
    let is_timeout = trial.state == TrialState::Failed && tunebook_pool::is_timeout(trial.reason.as_deref());
    !trial.state.runs_again() && !is_timeout
}

/// The magic that imports a study again. None if its record does not say where it comes from.
pub fn import_magic(name: &str, source: &Json) -> Option<String> {
    let quoted = |text: &str| shell_words::quote(text).into_owned();
    let (file, study) = (quoted(source["file"].as_str()?), quoted(source["study"].as_str()?));
    let mut magic = format!("%study import {file} --study {study} --as {}", quoted(name));
    for label in source["scientific"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        magic += &format!(" --scientific {}", quoted(label));
    }
    if let Some(index) = source["objective_index"].as_u64() {
        magic += &format!(" --objective-index {index}");
    }
    Some(magic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    #[test]
    fn only_trials_with_an_end_of_their_own_are_replayed() {
        let of = |state, reason: Option<&str>| Trial { reason: reason.map(String::from), ..testing::trial(1, state) };
        assert!(is_replayed(&of(TrialState::Complete, None)));
        assert!(is_replayed(&of(TrialState::Failed, Some("exited with status 3"))));
        assert!(!is_replayed(&of(TrialState::Cancelled, Some("interrupted"))));
        assert!(!is_replayed(&of(TrialState::Running, None)));
    }

    #[test]
    fn the_magic_of_an_import_has_all_that_was_chosen() {
        let source = json!({ "file": "my studies.db", "study": "tuned", "scientific": ["layers", "opt=adam/lr"],
            "objective_index": 1 });
        let expected = "%study import 'my studies.db' --study tuned --as depth --scientific layers \
            --scientific opt=adam/lr --objective-index 1";
        let magic = import_magic("depth", &source).unwrap();
        assert_eq!(magic.replace("'opt=adam/lr'", "opt=adam/lr"), expected);
        assert_eq!(import_magic("depth", &Json::Null), None);
    }
}
