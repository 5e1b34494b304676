//! What was decided by studies: the launches of their trials, and what `%adopt` found.

use crate::commands::launch::{is_of_study, launches};
use crate::error::Result;
use serde_json::{Value as Json, json};
use tunebook_study::store::{Store, StudyRecord};

/// All decisions of a store.
pub struct Decisions {
    launches: Vec<Json>,
    adoptions: Vec<Json>,
}

impl Decisions {
    pub fn read(store: &Store) -> Result<Self> {
        Ok(Self { launches: launches(store)?, adoptions: store.results("adoption")? })
    }

    /// The launches of trials of a study, from the oldest to the newest.
    pub fn launches(&self, study: &StudyRecord) -> Vec<&Json> {
        self.launches.iter().filter(|launch| is_of_study(launch, study)).collect()
    }

    /// The decision that rests on a study: that one of its trials became the baseline, or else what `%adopt` found
    /// last.
    pub fn of(&self, study: &StudyRecord) -> Option<Json> {
        if let Some(launch) = self.launches(study).last() {
            return Some(json!({ "launched": launch["trial"] }));
        }
        // What `%adopt` found is deleted with its study.
        let found = self.adoptions.iter().rev().find(|found| found["study"] == study.name)?;
        Some(json!({ "adopt": found["adopt"], "candidate": found["candidate"], "baseline": found["baseline"],
            "level": found["level"] }))
    }
}

/// A decision in a few words.
pub fn in_words(decision: &Json) -> String {
    if !decision["launched"].is_null() {
        return format!("trial {} launched", decision["launched"]);
    }
    let (candidate, baseline) = (&decision["candidate"], &decision["baseline"]);
    let level = decision["level"].as_str().unwrap_or("–");
    match decision["adopt"].as_bool() {
        Some(true) => format!("adopt {candidate} for {baseline} ({level})"),
        _ => format!("keep {baseline}, not {candidate} ({level})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studies::remove;
    use crate::testing::{context, definition};

    #[test]
    fn a_launch_of_a_deleted_study_is_no_decision_of_a_new_one_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let mut store = context.store().unwrap();
        let study = store.create_study("s", &definition()).unwrap();
        let launch = json!({ "study": "s", "trial": 2, "launched": study.created + 1.0,
            "study_created": study.created });
        store.keep_conclusion("launch", "s 2", &launch).unwrap();
        let found = json!({ "study": "s", "adopt": false, "candidate": 9, "baseline": 7, "level": "L0" });
        store.keep_result(&study, "adoption", "", &found).unwrap();
        let of = |study: &StudyRecord| Decisions::read(&context.store().unwrap()).unwrap().of(study);
        assert_eq!(of(&study), Some(json!({ "launched": 2 })));
        remove(&context, study).unwrap();
        let study = store.create_study("s", &definition()).unwrap();
        assert_eq!(of(&study), None);
        // The launch itself stays on record.
        assert_eq!(store.results("launch").unwrap(), [launch]);
        store.keep_result(&study, "adoption", "", &found).unwrap();
        assert_eq!(in_words(&of(&study).unwrap()), "keep 7, not 9 (L0)");
    }
}
