//! Writes studies. Every write of a study is one transaction, which first checks that the writer still has the study's
//! lease.

use super::lease::{EXPIRES_AFTER, Owner};
use super::{Result, Store, StoreError, StudyRecord, WorkloadRecord, now};
use crate::{Measurement, MetricSummary, Params, StudyDefinition, Summaries, TrialState, WorkloadReference};
use indexmap::IndexMap;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

type Metrics = IndexMap<String, Option<f64>>;

/// Why a trial was cancelled that ran when its kernel died.
pub(super) const KERNEL_ENDED: &str = "its kernel ended";

/// A trial that is about to start.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTrial {
    /// The number of the trial, from 1.
    pub number: u32,
    /// The index of its configuration, from 0.
    pub configuration: u32,
    /// The values of the hyperparameters that are active in it.
    pub params: Params,
    /// The seed of its randomness.
    pub seed: u64,
}

/// The one writer of a study. It has the study's lease until it is dropped.
///
/// A writer that could not renew its lease for too long (the machine slept, say) may lose it to another process. From
/// then on every write fails with [`StoreError::LeaseLost`] and changes nothing.
pub struct StudyWriter {
    store: Store,
    study: StudyRecord,
    owner: Owner,
    /// When the lease was last renewed, in Unix seconds.
    pub(super) renewed: f64,
    /// When the run began that is under way, and how many of its seconds the study has already.
    run: Option<(Instant, f64)>,
    /// What trials of programs that run again measured before, by their numbers.
    earlier: HashMap<u32, Earlier>,
    /// Whether failed trials may start again.
    retries_failed: bool,
}

/// What a trial of a program that runs again measured in its earlier attempts.
#[derive(Default)]
struct Earlier {
    /// Whether it has reported since it started again. Before that, it is not known where it goes on.
    has_reported: bool,
    /// The time of the last measurement that was kept, in seconds.
    seconds: f64,
    /// The measurements that were kept.
    kept: Vec<Measurement>,
}

impl Store {
    /// Records a new study. The error [`StoreError::Exists`] says that there is one of that name, which another process
    /// may have recorded a moment ago.
    pub fn create_study(&mut self, name: &str, definition: &StudyDefinition) -> Result<StudyRecord> {
        let created = now();
        let recorded = self.transaction(|transaction| {
            transaction.execute("INSERT INTO studies (name, created) VALUES (?1, ?2)", (name, created))?;
            let id = transaction.last_insert_rowid();
            let sql = "INSERT INTO definitions (study, created, definition) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (id, created, to_json(definition)))?;
            Ok((id, transaction.last_insert_rowid()))
        });
        let (id, definition_id) = recorded.map_err(|error| match error {
            StoreError::Sqlite { source, .. }
                if source.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) =>
            {
                StoreError::Exists { study: name.into() }
            }
            error => error,
        })?;
        let (name, definition) = (name.to_string(), definition.clone());
        Ok(StudyRecord { id, definition_id, name, definition, created, asked: 0, seconds: 0.0 })
    }

    /// Takes the study's lease and becomes its writer. The error [`StoreError::Busy`] says who has the lease, if
    /// somebody has.
    ///
    /// A trial that is recorded as running ran when the last writer died. It counts as cancelled from now on.
    pub fn write(self, study: StudyRecord) -> Result<StudyWriter> {
        let owner = Owner::new();
        let taken = self.transaction(|transaction| {
            if let Some((holder, renewed)) = lease(transaction, &study)?
                && holder.is_alive(now() - renewed)
            {
                return Ok(Some(holder));
            }
            let sql = "INSERT OR REPLACE INTO leases (study, owner, renewed) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (study.id, to_json(&owner), now()))?;
            Ok(None)
        });
        if !matches!(taken, Ok(None)) {
            owner.release();
        }
        match taken? {
            Some(holder) => Err(StoreError::Busy { study: study.name, owner: holder.to_string() }),
            None => {
                let (renewed, run, earlier, retries_failed) = (now(), None, HashMap::new(), false);
                let mut writer = StudyWriter { store: self, study, owner, renewed, run, earlier, retries_failed };
                writer.cancel_left()?;
                Ok(writer)
            }
        }
    }

    /// Who runs trials of a study now, if anybody does: this kernel or another one.
    pub fn writer_of(&self, study: &StudyRecord) -> Result<Option<String>> {
        let found = lease(&self.connection, study).map_err(|e| self.sql(e))?;
        let alive = found.filter(|(holder, renewed)| holder.is_alive(now() - renewed));
        Ok(alive.map(|(holder, _)| holder.to_string()))
    }

    /// Records that a workload was defined, or defined again.
    pub fn define_workload(&self, workload: &WorkloadRecord) -> Result<()> {
        let sql = "INSERT INTO workloads (name, source, defined, body, lock, description) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                   ON CONFLICT (source) DO UPDATE SET defined = ?3, name = ?1, description = ?6";
        let WorkloadRecord { name, source, body, lock, description } = workload;
        let row = (name, source, now(), body, lock, to_json(description));
        self.connection.execute(sql, row).map(drop).map_err(|e| self.sql(e))
    }

    /// Records what a magic concluded about a study. `inputs` is a hash of what it concluded that from; a result of the
    /// same kind and inputs is replaced.
    pub fn keep_result(&self, study: &StudyRecord, kind: &str, inputs: &str, result: &serde_json::Value) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO results (study, kind, inputs, created, result) VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = (study.id, kind, inputs, now(), result.to_string());
        self.connection.execute(sql, row).map(drop).map_err(|e| self.sql(e))
    }

    /// As [`keep_result`](Self::keep_result), for a result that belongs to no study.
    pub fn keep_conclusion(&mut self, kind: &str, inputs: &str, result: &serde_json::Value) -> Result<()> {
        self.transaction(|transaction| {
            // SQL calls no two nulls equal, so the table's UNIQUE does not replace a result without a study.
            let sql = "DELETE FROM results WHERE study IS NULL AND kind = ?1 AND inputs = ?2";
            transaction.execute(sql, (kind, inputs))?;
            let sql = "INSERT INTO results (study, kind, inputs, created, result) VALUES (NULL, ?1, ?2, ?3, ?4)";
            transaction.execute(sql, (kind, inputs, now(), result.to_string())).map(drop)
        })
    }

    /// Runs statements as one transaction: if one of them fails, none of them has an effect.
    pub(super) fn transaction<T>(&self, act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let run = || -> rusqlite::Result<T> {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| self.sql(error))
    }
}

/// The owner of a study's lease, and when that renewed it, if anybody has it.
fn lease(connection: &Connection, study: &StudyRecord) -> rusqlite::Result<Option<(Owner, f64)>> {
    let sql = "SELECT owner, renewed FROM leases WHERE study = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row([study.id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).optional()?;
    Ok(row.and_then(|(owner, renewed)| Some((serde_json::from_str(&owner).ok()?, renewed))))
}

impl StudyWriter {
    /// The study, as this writer last recorded it.
    pub fn study(&self) -> &StudyRecord {
        &self.study
    }

    /// The store, to read from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Records where the study runs: the machine, its devices, versions. An environment that is the same as the last
    /// one is not recorded again.
    pub fn record_environment(&self, environment: &serde_json::Value) -> Result<()> {
        if self.store.environment(&self.study)?.as_ref() == Some(environment) {
            return Ok(());
        }
        let sql = "INSERT INTO environments (study, recorded, environment) VALUES (?1, ?2, ?3)";
        self.execute(sql, (self.study.id, now(), environment.to_string()))
    }

    pub(super) fn write_data(&self, path: &Path, sha256: &str) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO data (study, path, sha256) VALUES (?1, ?2, ?3)";
        self.execute(sql, (self.study.id, path.display().to_string(), sha256))
    }

    /// Replaces the one result of a kind that the study has.
    pub(super) fn write_result(&self, kind: &str, result: &impl serde::Serialize) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO results (study, kind, inputs, created, result) VALUES (?1, ?2, '', ?3, ?4)";
        self.execute(sql, (self.study.id, kind, now(), to_json(result)))
    }

    /// Records that a trial starts. If it was cancelled or stopped before, or failed and
    /// [runs again](Self::retry_failed), what it reported then is deleted. An error if it has ended in another way:
    /// such a trial is never overwritten.
    ///
    /// A program may go on from a checkpoint of its own and report only what follows. What its trial reported before is
    /// therefore kept until it reports again, see [`measured`](Self::measured).
    pub fn start(&mut self, trial: &NewTrial) -> Result<()> {
        let NewTrial { number, configuration, params, seed } = trial;
        let StudyRecord { id, definition_id, .. } = self.study;
        let is_program = matches!(self.study.definition.workload, WorkloadReference::Command(_));
        let params = to_json(params);
        let row = (id, definition_id, number, configuration, params.as_str(), *seed as i64, now());
        let failed = if self.retries_failed { ", 'failed'" } else { "" };
        let starts_again = format!("state IN ('running', 'cancelled', 'stopped'{failed})");
        let mut runs_again = false;
        self.transaction(|transaction| {
            if is_program {
                let sql = format!(
                    "UPDATE trials SET definition = ?2, configuration = ?4, started = ?7, state = 'running', \
                     reason = NULL, summaries = '{{}}', seconds = 0 \
                     WHERE study = ?1 AND number = ?3 AND params = ?5 AND seed = ?6 AND {starts_again}"
                );
                runs_again = transaction.execute(&sql, row)? > 0;
                if runs_again {
                    return Ok(());
                }
            }
            let sql = format!("DELETE FROM trials WHERE study = ?1 AND number = ?2 AND {starts_again}");
            transaction.execute(&sql, (id, number))?;
            let sql = "INSERT INTO trials (study, definition, number, configuration, params, seed, started, state) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'running')";
            transaction.execute(sql, row).map(drop)
        })?;
        self.earlier.remove(number);
        if runs_again {
            self.earlier.insert(*number, Earlier::default());
        }
        Ok(())
    }

    /// Records that the trials were cancelled which ran when the last writer died. Their measurements stay, as those of
    /// an interrupted trial do, and their time is that of the last one.
    fn cancel_left(&mut self) -> Result<()> {
        for (number, seconds) in self.store.left_running(&self.study)? {
            self.finish(number, TrialState::Cancelled, Some(KERNEL_ENDED), seconds)?;
        }
        Ok(())
    }

    /// Records what a trial measured. Once this has returned, it survives the death of any process. The metrics are
    /// added to those that the trial reported at this step before; of one metric, the last value counts.
    ///
    /// The first measurement of a program that runs again says where it goes on: what its trial reported before is kept
    /// below this step, and deleted from this step on. The times go on from the last one that is kept.
    pub fn measured(&mut self, number: u32, measurement: &Measurement) -> Result<()> {
        let Measurement { step, seconds, metrics } = measurement;
        let id = self.study.id;
        let goes_on = self.earlier.get(&number).is_some_and(|earlier| !earlier.has_reported);
        if goes_on {
            let mut kept = self.store.measurements(&self.study, number)?;
            kept.retain(|earlier| earlier.step < *step);
            let seconds = kept.iter().map(|earlier| earlier.seconds).fold(0.0, f64::max);
            self.earlier.insert(number, Earlier { has_reported: true, seconds, kept });
        }
        let seconds = seconds + self.seconds_before(number);
        self.transaction(|transaction| {
            if goes_on {
                let sql = "DELETE FROM measurements WHERE step >= ?3 \
                           AND trial = (SELECT id FROM trials WHERE study = ?1 AND number = ?2)";
                transaction.execute(sql, (id, number, *step as i64))?;
            }
            let insert = |on_conflict: &str, metrics: &Metrics| {
                let sql = format!(
                    "INSERT OR {on_conflict} INTO measurements (trial, step, seconds, metrics) \
                     SELECT id, ?3, ?4, ?5 FROM trials WHERE study = ?1 AND number = ?2"
                );
                let row = (id, number, *step as i64, seconds, to_json(metrics));
                transaction.prepare_cached(&sql)?.execute(row)
            };
            if insert("IGNORE", metrics)? > 0 {
                return Ok(());
            }
            let sql = "SELECT m.metrics FROM measurements m JOIN trials t ON t.id = m.trial \
                       WHERE t.study = ?1 AND t.number = ?2 AND m.step = ?3";
            let row = (id, number, *step as i64);
            let earlier: Option<String> =
                transaction.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?;
            let mut merged: Metrics =
                earlier.and_then(|earlier| serde_json::from_str(&earlier).ok()).unwrap_or_default();
            merged.extend(metrics.clone());
            insert("REPLACE", &merged).map(drop)
        })?;
        self.renew()
    }

    /// What a trial that goes on from a checkpoint of its own measured before. It is known once the trial has reported
    /// again, and returned once.
    pub fn take_kept(&mut self, number: u32) -> Vec<Measurement> {
        self.earlier.get_mut(&number).map(|earlier| std::mem::take(&mut earlier.kept)).unwrap_or_default()
    }

    /// Whether a trial has the objective from its earlier attempts. It is asked when its program has ended well and has
    /// not reported it: the program went on from a checkpoint of its own and had nothing left to do. If it has reported
    /// nothing at all, all that was measured before is kept, and [`take_kept`](Self::take_kept) returns it.
    pub fn has_kept_objective(&mut self, number: u32) -> Result<bool> {
        let Some(has_reported) = self.earlier.get(&number).map(|earlier| earlier.has_reported) else {
            return Ok(false);
        };
        let kept = self.store.measurements(&self.study, number)?;
        let metric = &self.study.definition.objective.metric;
        let has_objective =
            |measurement: &Measurement| measurement.metrics.get(metric).copied().flatten().is_some_and(f64::is_finite);
        if !kept.iter().any(has_objective) {
            return Ok(false);
        }
        if !has_reported {
            let seconds = kept.iter().map(|earlier| earlier.seconds).fold(0.0, f64::max);
            self.earlier.insert(number, Earlier { has_reported: true, seconds, kept });
        }
        Ok(true)
    }

    /// How long a trial had run when it reached the last measurement that was kept of its earlier attempts.
    fn seconds_before(&self, number: u32) -> f64 {
        self.earlier.get(&number).map_or(0.0, |earlier| earlier.seconds)
    }

    /// Records how a trial ended, and the summaries of its metrics, which it returns.
    pub fn finish(&mut self, number: u32, state: TrialState, reason: Option<&str>, seconds: f64) -> Result<Summaries> {
        let seconds = seconds + self.seconds_before(number);
        let summaries = summarize(&self.store.measurements(&self.study, number)?);
        let sql = "UPDATE trials SET state = ?3, reason = ?4, seconds = ?5, summaries = ?6 \
                   WHERE study = ?1 AND number = ?2";
        let row = (self.study.id, number, state.as_str(), reason, seconds, to_json(&summaries));
        self.with_time(|transaction| transaction.prepare_cached(sql)?.execute(row).map(drop))?;
        self.renew()?;
        Ok(summaries)
    }

    /// Lets failed trials start again. Until it does, a trial keeps its recorded end.
    pub fn retry_failed(&mut self) {
        self.retries_failed = true;
    }

    /// Records that a run asks for this many trials in all.
    pub fn ask(&mut self, trials: u32) -> Result<()> {
        self.execute("UPDATE studies SET asked = max(asked, ?2) WHERE id = ?1", (self.study.id, trials))?;
        self.study.asked = self.study.asked.max(trials);
        Ok(())
    }

    /// Gives the study a new version of its definition. The trials from before keep theirs.
    pub fn redefine(&mut self, definition: &StudyDefinition) -> Result<()> {
        let sql = "INSERT INTO definitions (study, created, definition) VALUES (?1, ?2, ?3)";
        self.execute(sql, (self.study.id, now(), to_json(definition)))?;
        self.study.definition_id = self.store.connection.last_insert_rowid();
        self.study.definition = definition.clone();
        Ok(())
    }

    /// Deletes the study and all that belongs to it.
    pub fn delete(self) -> Result<()> {
        self.transaction(|transaction| {
            // The trials go first: they refer to definitions, which are deleted with the study.
            transaction.execute("DELETE FROM trials WHERE study = ?1", [self.study.id])?;
            transaction.execute("DELETE FROM studies WHERE id = ?1", [self.study.id]).map(drop)
        })
    }

    /// Begins to add wall time to that of the study: at the end of each trial and with each renewal of the lease, so
    /// that a run that is killed loses little of it.
    pub fn begin_run(&mut self) {
        self.run = Some((Instant::now(), 0.0));
    }

    /// Adds the rest of the run's wall time.
    pub fn end_run(&mut self) -> Result<()> {
        let added = self.with_time(|_| Ok(()));
        self.run = None;
        added
    }

    /// Runs statements as one transaction, which also adds the time since it was last added.
    fn with_time(&mut self, act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<()> {
        let Some((began, added)) = self.run else { return self.transaction(act) };
        let seconds = began.elapsed().as_secs_f64();
        self.transaction(|transaction| {
            let sql = "UPDATE studies SET seconds = seconds + ?2 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute((self.study.id, seconds - added))?;
            act(transaction)
        })?;
        self.run = Some((began, seconds));
        self.study.seconds += seconds - added;
        Ok(())
    }

    /// Renews the lease. To be called every second or so, also while there is nothing to record; most calls do nothing.
    pub fn renew(&mut self) -> Result<()> {
        if now() - self.renewed < EXPIRES_AFTER / 6.0 {
            return Ok(());
        }
        self.renewed = now();
        let sql = "UPDATE leases SET renewed = ?2 WHERE study = ?1";
        let row = (self.study.id, self.renewed);
        self.with_time(|transaction| transaction.prepare_cached(sql)?.execute(row).map(drop))
    }

    /// Returns the error of [`Store::check_file`], if there is one, with where what was recorded is kept. The lease
    /// ends before that, so that other kernels can continue the study there, and nothing more can be written here.
    pub fn keep_file(&self) -> Result<()> {
        let checked = self.store.check_file();
        if checked.is_err() {
            self.end_lease();
            self.store.keep_file()?;
        }
        checked
    }

    /// Ends the lease. If it cannot be deleted (the disk is full), or was lost, this changes nothing in the store.
    fn end_lease(&self) {
        self.owner.release();
        let sql = "DELETE FROM leases WHERE study = ?1 AND owner = ?2";
        let _ = self.store.connection.execute(sql, (self.study.id, to_json(&self.owner)));
    }

    /// Runs one statement, as [`transaction`](Self::transaction) does.
    fn execute(&self, sql: &str, row: impl rusqlite::Params) -> Result<()> {
        self.transaction(|transaction| transaction.prepare_cached(sql)?.execute(row).map(drop))
    }

    /// Runs statements as one transaction, if this writer still has the lease; otherwise none of them.
    fn transaction(&self, act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<()> {
        let holder = self.store.transaction(|transaction| {
            let holder = lease(transaction, &self.study)?.map(|(holder, _)| holder);
            if holder.as_ref() == Some(&self.owner) {
                act(transaction)?;
            }
            Ok(holder)
        })?;
        if holder.as_ref() == Some(&self.owner) {
            return Ok(());
        }
        let (study, owner) = (self.study.name.clone(), holder.map(|holder| holder.to_string()));
        Err(StoreError::LeaseLost { study, owner })
    }
}

impl Drop for StudyWriter {
    fn drop(&mut self) {
        self.end_lease();
    }
}

/// The summary of each metric over the measurements of a trial.
pub fn summarize(measurements: &[Measurement]) -> Summaries {
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

/// The JSON text of one of our types. It cannot fail: they have string keys and serializers that do not fail.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
