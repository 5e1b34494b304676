//! The files that the trials of a study read: what they contained, and the changes of them that the user accepted.
//!
//! The table `data` holds all contents that trials ever read. What a file contained last, and the changes, are kept
//! among the results of the study.

use super::{Result, Store, StudyRecord, StudyWriter};
use crate::protocol::DataSource;
use crate::{Hyperparameter, Params, SearchSpace};
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

/// The hyperparameters that code read, and those that it did not read, by their labels. One may be in both sets, of
/// different trials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HyperparameterUse {
    /// Those that at least one trial read.
    pub used: BTreeSet<String>,
    /// Those that at least one complete trial did not read.
    pub unused: BTreeSet<String>,
}

impl HyperparameterUse {
    /// Adds what a trial with these values read, and what it did not read, by plain names.
    pub fn add(&mut self, space: &SearchSpace, params: &Params, used: Vec<String>, unused: Vec<String>) {
        let label = |name: String| space.active(&name, params).map_or(name, Hyperparameter::label);
        self.used.extend(used.into_iter().map(label));
        self.unused.extend(unused.into_iter().map(label));
    }

    /// The labels of those that no trial read.
    ///
    /// Earlier versions recorded plain names, and before a space was widened, a hyperparameter may have had another
    /// label. Where such a name is now that of several branches, it is not known whose it was; it may be that of each.
    fn without_effect(&self, space: &SearchSpace) -> Vec<String> {
        let current = |name: &String| space.find(name).map_or_else(|| name.clone(), Hyperparameter::label);
        let used: BTreeSet<String> = self.used.iter().map(current).collect();
        let unused: BTreeSet<String> = self.unused.iter().map(current).collect();
        let may_be = |a: &str, b: &str| match (space.find(a), space.find(b)) {
            (Some(_), Some(_)) | (None, None) => a == b,
            (Some(h), None) => h.name == b,
            (None, Some(h)) => h.name == a,
        };
        unused.into_iter().filter(|label| !used.iter().any(|other| may_be(label, other))).collect()
    }
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

    /// The labels of the hyperparameters that no complete trial of the study used, although the study declares them.
    pub fn without_effect(&self, study: &StudyRecord) -> Result<Vec<String>> {
        let all: HyperparameterUse = self.result_of(study, HYPERPARAMETERS)?.unwrap_or_default();
        Ok(all.without_effect(&study.definition.space))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Distribution, Role};

    /// The learning rate and the momentum of two optimizers.
    fn branches() -> SearchSpace {
        let mut space = SearchSpace::new();
        let mut declare = |name: &str, distribution, optimizer: Option<&str>| {
            let condition = |word: &str| Condition { name: "optimizer".into(), values: vec![word.into()] };
            let (name, role, conditions) =
                (name.into(), Role::Nuisance, optimizer.map(condition).into_iter().collect());
            space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
        };
        declare("optimizer", Distribution::choice(vec!["sgd".into(), "adam".into()]).unwrap(), None);
        for optimizer in ["sgd", "adam"] {
            declare("lr", Distribution::log_uniform(1e-3, 1.0).unwrap(), Some(optimizer));
            declare("momentum", Distribution::uniform(0.0, 0.9).unwrap(), Some(optimizer));
        }
        declare("dropout", Distribution::uniform(0.0, 0.5).unwrap(), None);
        space
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_hyperparameter_that_only_another_branch_uses_has_no_effect_in_its_own() {
        let space = branches();
        let mut all = HyperparameterUse::default();
        for optimizer in ["sgd", "adam"] {
            let params = space.assign(|_, h| match h.name.as_str() {
                "optimizer" => optimizer.into(),
                _ => h.distribution.from_unit(0.5),
            });
            let (used, unused) = match optimizer {
                "sgd" => (names(&["optimizer", "lr", "momentum"]), names(&["dropout"])),
                _ => (names(&["optimizer", "lr"]), names(&["momentum", "dropout"])),
            };
            all.add(&space, &params, used, unused);
        }
        assert_eq!(all.without_effect(&space), ["dropout", "optimizer=adam/momentum"]);
    }

    #[test]
    fn names_that_were_recorded_without_their_branch_still_count() {
        let space = branches();
        let recorded = |used: &[&str], unused: &[&str]| HyperparameterUse {
            used: names(used).into_iter().collect(),
            unused: names(unused).into_iter().collect(),
        };
        assert_eq!(recorded(&["lr"], &["momentum", "dropout"]).without_effect(&space), ["dropout", "momentum"]);
        let used_since = recorded(&["optimizer=sgd/momentum"], &["momentum"]);
        assert!(used_since.without_effect(&space).is_empty(), "it may be the one that was used");
        let used_before = recorded(&["momentum"], &["optimizer=adam/momentum"]);
        assert!(used_before.without_effect(&space).is_empty(), "it may be the one that was used");
    }
}
