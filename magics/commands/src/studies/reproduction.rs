//! The magic that gives the trials of a study again.

use crate::error::Result;
use serde_json::Value as Json;
use tunebook_study::WorkloadReference;
use tunebook_study::store::{Store, StudyRecord};

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
    use serde_json::json;

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
