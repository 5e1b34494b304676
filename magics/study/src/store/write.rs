//! Writing a study: under its lease, one transaction a fact.

use super::lease::Owner;
use super::{Result, Store, StoreError, StudyRecord, WorkloadRecord, now};
use crate::protocol::DataSource;
use crate::{Measurement, MetricSummary, Params, StudyDefinition, TrialState};
use indexmap::IndexMap;
use rusqlite::{OptionalExtension, TransactionBehavior};

/// A trial about to run.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTrial {
    /// Its number, from 1.
    pub number: u32,
    /// Which configuration it runs, from 0.
    pub configuration: u32,
    /// The active hyperparameters.
    pub params: Params,
    /// Its seed.
    pub seed: u64,
}

/// The one writer of a study. Dropping it lets go of the study.
pub struct StudyWriter {
    store: Store,
    study: StudyRecord,
    owner: Owner,
    renewed: f64,
}

impl Store {
    /// Writes a new study. A study of that name makes it fail; look first.
    pub fn create_study(&mut self, name: &str, definition: &StudyDefinition) -> Result<StudyRecord> {
        let created = now();
        let text = to_json(definition);
        let insert = |connection: &mut rusqlite::Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("INSERT INTO studies (name, created) VALUES (?1, ?2)", (name, created))?;
            let id = transaction.last_insert_rowid();
            let sql = "INSERT INTO definitions (study, created, definition) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (id, created, text))?;
            let definition_id = transaction.last_insert_rowid();
            transaction.commit()?;
            Ok((id, definition_id))
        };
        let (id, definition_id) = insert(&mut self.connection).map_err(|e| self.sql(e))?;
        let (name, definition) = (name.to_string(), definition.clone());
        Ok(StudyRecord { id, definition_id, name, definition, created, asked: 0, seconds: 0.0 })
    }

    /// Takes the study's lease and becomes its writer, or says who has it.
    pub fn write(mut self, study: StudyRecord) -> Result<StudyWriter> {
        let owner = Owner::new();
        let take = |connection: &mut rusqlite::Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let sql = "SELECT owner, renewed FROM leases WHERE study = ?1";
            let held: Option<(String, f64)> =
                transaction.query_row(sql, [study.id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let holder = held.and_then(|(text, renewed)| Some((serde_json::from_str::<Owner>(&text).ok()?, renewed)));
            if let Some((holder, _)) = holder.filter(|(holder, renewed)| holder.is_alive(now() - renewed)) {
                return Ok(Some(holder));
            }
            let sql = "INSERT OR REPLACE INTO leases (study, owner, renewed) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (study.id, to_json(&owner), now()))?;
            transaction.commit()?;
            Ok(None)
        };
        let taken = take(&mut self.connection).map_err(|e| self.sql(e));
        if !matches!(taken, Ok(None)) {
            owner.release();
        }
        if let Some(holder) = taken? {
            return Err(StoreError::Busy { study: study.name, owner: holder.to_string() });
        }
        Ok(StudyWriter { store: self, study, owner, renewed: now() })
    }

    /// Records that a workload was defined, or defined again.
    pub fn define_workload(&self, workload: &WorkloadRecord) -> Result<()> {
        let sql = "INSERT INTO workloads (name, source, defined, body, lock, description) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                   ON CONFLICT (source) DO UPDATE SET defined = ?3, name = ?1, description = ?6";
        let WorkloadRecord { name, source, body, lock, description } = workload;
        let row = (name, source, now(), body, lock, to_json(description));
        self.connection.execute(sql, row).map(drop).map_err(|e| self.sql(e))
    }

    /// Keeps what a magic concluded from inputs of a hash.
    pub fn keep_result(&self, study: &StudyRecord, kind: &str, inputs: &str, result: &serde_json::Value) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO results (study, kind, inputs, created, result) VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = (study.id, kind, inputs, now(), result.to_string());
        self.connection.execute(sql, row).map(drop).map_err(|e| self.sql(e))
    }

    /// Keeps what a magic concluded about something that is no study, in place of what it concluded from the same inputs before.
    pub fn keep_conclusion(&mut self, kind: &str, inputs: &str, result: &serde_json::Value) -> Result<()> {
        let row = (kind, inputs, now(), result.to_string());
        let keep = |connection: &mut rusqlite::Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            transaction
                .execute("DELETE FROM results WHERE study IS NULL AND kind = ?1 AND inputs = ?2", (kind, inputs))?;
            transaction.execute(
                "INSERT INTO results (study, kind, inputs, created, result) VALUES (NULL, ?1, ?2, ?3, ?4)",
                row,
            )?;
            transaction.commit()
        };
        keep(&mut self.connection).map_err(|e| self.sql(e))
    }
}

impl StudyWriter {
    /// The study.
    pub fn study(&self) -> &StudyRecord {
        &self.study
    }

    /// To read with.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Records where the study runs.
    pub fn record_environment(&self, environment: &serde_json::Value) -> Result<()> {
        let sql = "INSERT INTO environments (study, recorded, environment) VALUES (?1, ?2, ?3)";
        self.execute(sql, (self.study.id, now(), environment.to_string()))
    }

    /// Records a file that trials of the study read.
    pub fn record_data(&self, source: &DataSource) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO data (study, path, sha256) VALUES (?1, ?2, ?3)";
        self.execute(sql, (self.study.id, source.path.display().to_string(), &source.sha256))
    }

    /// A trial begins, or begins again: what an earlier run of it reported that was cancelled or stopped is forgotten.
    pub fn start(&mut self, trial: &NewTrial) -> Result<()> {
        let row = (
            self.study.id,
            self.study.definition_id,
            trial.number,
            trial.configuration,
            to_json(&trial.params),
            trial.seed as i64,
            now(),
        );
        self.transaction(|transaction, study| {
            let sql =
                "DELETE FROM trials WHERE study = ?1 AND number = ?2 AND state IN ('running', 'cancelled', 'stopped')";
            transaction.execute(sql, (study.id, trial.number))?;
            let sql = "INSERT INTO trials (study, definition, number, configuration, params, seed, started, state) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'running')";
            transaction.execute(sql, row).map(drop)
        })
    }

    /// A trial reported metrics. Once this has returned they survive the death of any process.
    pub fn measured(&mut self, number: u32, measurement: &Measurement) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO measurements (trial, step, seconds, metrics) \
                   SELECT id, ?3, ?4, ?5 FROM trials WHERE study = ?1 AND number = ?2";
        let Measurement { step, seconds, metrics } = measurement;
        self.execute(sql, (self.study.id, number, *step as i64, seconds, to_json(metrics)))?;
        self.renew()
    }

    /// A trial ended; its metrics are summed up in the same transaction.
    pub fn finish(&mut self, number: u32, state: TrialState, reason: Option<&str>, seconds: f64) -> Result<()> {
        let summaries = summarize(&self.store.measurements(&self.study, number)?);
        self.transaction(|transaction, study| {
            let sql = "UPDATE trials SET state = ?3, reason = ?4, seconds = ?5, summaries = ?6 \
                       WHERE study = ?1 AND number = ?2";
            let row = (study.id, number, state.as_str(), reason, seconds, to_json(&summaries));
            transaction.execute(sql, row).map(drop)
        })?;
        self.renew()
    }

    /// Records that a run asks for so many trials.
    pub fn ask(&mut self, trials: u32) -> Result<()> {
        self.execute("UPDATE studies SET asked = max(asked, ?2) WHERE id = ?1", (self.study.id, trials))?;
        self.study.asked = self.study.asked.max(trials);
        Ok(())
    }

    /// Gives the study a new version of its definition; trials of before keep theirs.
    pub fn redefine(&mut self, definition: &StudyDefinition) -> Result<()> {
        let sql = "INSERT INTO definitions (study, created, definition) VALUES (?1, ?2, ?3)";
        self.execute(sql, (self.study.id, now(), to_json(definition)))?;
        self.study.definition_id = self.store.connection.last_insert_rowid();
        self.study.definition = definition.clone();
        Ok(())
    }

    /// Deletes the study with all that belongs to it.
    pub fn delete(self) -> Result<()> {
        self.execute("DELETE FROM trials WHERE study = ?1", [self.study.id])?;
        self.execute("DELETE FROM studies WHERE id = ?1", [self.study.id])
    }

    /// Adds the wall time of this run to the study's.
    pub fn add_seconds(&mut self, seconds: f64) -> Result<()> {
        self.execute("UPDATE studies SET seconds = seconds + ?2 WHERE id = ?1", (self.study.id, seconds))?;
        self.study.seconds += seconds;
        Ok(())
    }

    /// Says that the holder lives; cheap enough to call often.
    pub fn renew(&mut self) -> Result<()> {
        if now() - self.renewed < super::lease::EXPIRES_AFTER / 6.0 {
            return Ok(());
        }
        self.renewed = now();
        self.execute("UPDATE leases SET renewed = ?2 WHERE study = ?1", (self.study.id, self.renewed))
    }

    fn execute(&self, sql: &str, row: impl rusqlite::Params) -> Result<()> {
        let mut statement = self.store.connection.prepare_cached(sql).map_err(|e| self.store.sql(e))?;
        statement.execute(row).map(drop).map_err(|e| self.store.sql(e))
    }

    fn transaction(
        &mut self,
        act: impl FnOnce(&rusqlite::Transaction<'_>, &StudyRecord) -> rusqlite::Result<()>,
    ) -> Result<()> {
        let Self { store, study, .. } = self;
        let run = |connection: &mut rusqlite::Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            act(&transaction, study)?;
            transaction.commit()
        };
        run(&mut store.connection).map_err(|e| store.sql(e))
    }
}

impl Drop for StudyWriter {
    fn drop(&mut self) {
        self.owner.release();
        let _ =
            self.execute("DELETE FROM leases WHERE study = ?1 AND owner = ?2", (self.study.id, to_json(&self.owner)));
    }
}

/// The summary of each metric over a trial.
pub(super) fn summarize(measurements: &[Measurement]) -> IndexMap<String, MetricSummary> {
    let mut summaries: IndexMap<String, Option<MetricSummary>> = IndexMap::new();
    for measurement in measurements {
        for (metric, value) in &measurement.metrics {
            if let Some(value) = value.filter(|v| v.is_finite()) {
                MetricSummary::extend(summaries.entry(metric.clone()).or_default(), value, measurement.step);
            }
        }
    }
    summaries.into_iter().filter_map(|(metric, summary)| Some((metric, summary?))).collect()
}

/// Our own types have string keys and no failing serializers, so this cannot fail; an empty text would be caught on
/// reading.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
