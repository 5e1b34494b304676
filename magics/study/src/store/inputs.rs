//! The files that the trials of a study read: what they contained, and the changes of them that the user accepted.
//!
//! The table `data` holds all contents that trials ever read. What a file contained last, and the changes, are kept
//! among the results of the study.

use super::{Result, Store, StudyRecord, StudyWriter};
use crate::protocol::DataSource;
use rusqlite::OptionalExtension;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A change of which a study has trials from before and after: the user accepted it, or it happened while trials ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedChange {
    /// The name of the file, or whatever has changed.
    pub what: String,
    /// The SHA-256 hash of its contents before.
    pub before: String,
    /// That of its contents after the change, or None if it is gone.
    pub after: Option<String>,
    /// The number of the first trial with the change.
    pub at_trial: u32,
}

/// The hyperparameters that code read, and those that it did not read. One may be in both sets, of different trials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HyperparameterUse {
    /// Those that at least one trial read.
    pub used: BTreeSet<String>,
    /// Those that at least one complete trial did not read.
    pub unused: BTreeSet<String>,
}

/// Stands for the hash of a file that the trials write themselves.
const WRITTEN: &str = "written by the trials";

/// The kinds of the results.
pub(super) const LATEST: &str = "inputs";
const HYPERPARAMETERS: &str = "hyperparameters";
const CHANGES: &str = "changes";
const VALIDATION: &str = "validation_sets";

impl Store {
    /// The hash of what each file contained when a trial of the study last read it. A file that trials write themselves
    /// has none, and a study from before this was recorded may have several for one file.
    pub fn inputs(&self, study: &StudyRecord) -> Result<BTreeMap<PathBuf, Vec<String>>> {
        let mut inputs: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for DataSource { path, sha256 } in self.data(study)? {
            inputs.entry(path).or_default().push(sha256);
        }
        let latest: BTreeMap<PathBuf, String> = self.result_of(study, LATEST)?.unwrap_or_default();
        inputs.extend(latest.into_iter().map(|(path, sha256)| match sha256.as_str() {
            WRITTEN => (path, vec![]),
            _ => (path, vec![sha256]),
        }));
        Ok(inputs)
    }

    /// The changes that were accepted, the first one first.
    pub fn changes(&self, study: &StudyRecord) -> Result<Vec<AcceptedChange>> {
        Ok(self.result_of(study, CHANGES)?.unwrap_or_default())
    }

    /// The hyperparameters that no complete trial of the study used, although the study declares them.
    pub fn without_effect(&self, study: &StudyRecord) -> Result<Vec<String>> {
        let HyperparameterUse { used, unused } = self.result_of(study, HYPERPARAMETERS)?.unwrap_or_default();
        Ok(unused.difference(&used).cloned().collect())
    }

    /// The hashes of the validation examples that have judged trials of the study. Empty if they are not known.
    pub fn validation_sets(&self, study: &StudyRecord) -> Result<BTreeSet<String>> {
        Ok(self.result_of(study, VALIDATION)?.unwrap_or_default())
    }

    pub(super) fn result_of<T: DeserializeOwned>(&self, study: &StudyRecord, kind: &str) -> Result<Option<T>> {
        let sql = "SELECT result FROM results WHERE study = ?1 AND kind = ?2 AND inputs = ''";
        let row = (study.id, kind);
        let text: Option<String> =
            self.connection.query_row(sql, row, |row| row.get(0)).optional().map_err(|e| self.sql(e))?;
        text.map(|text| self.json(&text, || format!("the {kind} of `{}`", study.name))).transpose()
    }
}

impl StudyWriter {
    /// Records a file that trials of the study read.
    pub fn record_data(&self, source: &DataSource) -> Result<()> {
        self.record_all_data(std::slice::from_ref(source))
    }

    /// Records files that trials of the study read.
    pub fn record_all_data(&self, sources: &[DataSource]) -> Result<()> {
        if sources.is_empty() {
            return Ok(());
        }
        let mut latest: BTreeMap<PathBuf, String> = self.store().result_of(self.study(), LATEST)?.unwrap_or_default();
        for DataSource { path, sha256 } in sources {
            latest.insert(path.clone(), sha256.clone());
            self.write_data(path, sha256)?;
        }
        self.write_result(LATEST, &latest)
    }

    /// Adds the hyperparameters that trials used, and those that they did not use.
    pub fn record_use(&self, trials: &HyperparameterUse) -> Result<()> {
        let mut all: HyperparameterUse = self.store().result_of(self.study(), HYPERPARAMETERS)?.unwrap_or_default();
        all.used.extend(trials.used.iter().cloned());
        all.unused.extend(trials.unused.iter().cloned());
        self.write_result(HYPERPARAMETERS, &all)
    }

    /// Records the hash of the validation examples that judge a trial.
    pub fn record_validation_set(&self, hash: &str) -> Result<()> {
        let mut all = self.store().validation_sets(self.study())?;
        if all.insert(hash.into()) {
            self.write_result(VALIDATION, &all)?;
        }
        Ok(())
    }

    /// Records that trials write a file themselves, so that its changes mean nothing. `what` is its name in the changes
    /// that were recorded.
    pub fn forget_data(&self, path: &Path, what: &str) -> Result<()> {
        let mut latest: BTreeMap<PathBuf, String> = self.store().result_of(self.study(), LATEST)?.unwrap_or_default();
        latest.insert(path.into(), WRITTEN.into());
        self.write_result(LATEST, &latest)?;
        let mut all = self.store().changes(self.study())?;
        all.retain(|change| change.what != what);
        self.write_result(CHANGES, &all)
    }

    /// Records changes: those that the user accepted, and those that happened while trials ran.
    pub fn accept_changes(&self, changes: &[AcceptedChange]) -> Result<()> {
        let mut all = self.store().changes(self.study())?;
        all.extend(changes.iter().cloned());
        self.write_result(CHANGES, &all)
    }
}
