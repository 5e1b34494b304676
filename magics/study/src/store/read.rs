//! Reads studies, trials and workloads from the store.

use super::write::KERNEL_ENDED;
use super::{Result, Store, summarize};
use crate::protocol::DataSource;
use crate::{Measurement, StudyDefinition, Trial, TrialState, WorkloadDescription};
use rusqlite::{OptionalExtension, Row};
use std::collections::BTreeMap;

/// A study as the store records it, without its trials.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyRecord {
    pub(super) id: i64,
    pub(super) definition_id: i64,
    /// The name of the study.
    pub name: String,
    /// The latest version of the definition.
    pub definition: StudyDefinition,
    /// When the study was created, in Unix seconds.
    pub created: f64,
    /// The largest number of trials that a run of the study asked for.
    pub asked: u32,
    /// The wall time of all runs of the study together, in seconds.
    pub seconds: f64,
}

/// A workload that was defined with `%%workload`.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadRecord {
    /// The name of the workload.
    pub name: String,
    /// The hash of its source and of what it was built with.
    pub source: String,
    /// The cell as it was typed.
    pub body: String,
    /// The Cargo.lock that it was built with.
    pub lock: String,
    /// The hyperparameters, metrics and objective of the workload.
    pub description: WorkloadDescription,
}

/// Selects studies with the latest version of their definitions.
const STUDIES: &str = "SELECT s.id, s.name, s.created, s.seconds, d.id, d.definition, s.asked FROM studies s \
     JOIN definitions d ON d.id = (SELECT max(id) FROM definitions WHERE study = s.id)";

impl Store {
    /// All studies, from the newest to the oldest.
    pub fn studies(&self) -> Result<Vec<StudyRecord>> {
        let sql = format!("{STUDIES} ORDER BY s.created DESC, s.id DESC");
        let mut statement = self.connection.prepare(&sql).map_err(|e| self.sql(e))?;
        let rows = statement.query_map([], study_row).map_err(|e| self.sql(e))?;
        rows.map(|row| self.study_from(row.map_err(|e| self.sql(e))?)).collect()
    }

    /// The study of a name, if there is one.
    pub fn study(&self, name: &str) -> Result<Option<StudyRecord>> {
        let sql = format!("{STUDIES} WHERE s.name = ?1");
        let row = self.connection.query_row(&sql, [name], study_row).optional().map_err(|e| self.sql(e))?;
        row.map(|row| self.study_from(row)).transpose()
    }

    /// The trials of a study in the order of their numbers.
    ///
    /// A trial that is recorded as running, although nobody writes the study, ran when its kernel died. It is
    /// cancelled, as the next writer records it.
    pub fn trials(&self, study: &StudyRecord) -> Result<Vec<Trial>> {
        let trials = self.recorded(study)?;
        if !trials.iter().any(|trial| trial.state == TrialState::Running) || self.writer_of(study)?.is_some() {
            return Ok(trials);
        }
        // The writer may have ended a moment ago. What it has recorded until then counts.
        let mut trials = self.recorded(study)?;
        for trial in trials.iter_mut().filter(|trial| trial.state == TrialState::Running) {
            let measured = self.measurements(study, trial.number)?;
            (trial.state, trial.reason) = (TrialState::Cancelled, Some(KERNEL_ENDED.into()));
            trial.seconds = measured.iter().map(|measurement| measurement.seconds).fold(0.0, f64::max);
            trial.summaries = summarize(&measured);
        }
        Ok(trials)
    }

    fn recorded(&self, study: &StudyRecord) -> Result<Vec<Trial>> {
        let sql = "SELECT number, configuration, params, seed, state, reason, summaries, seconds, started \
                   FROM trials WHERE study = ?1 ORDER BY number";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| self.sql(e))?;
        let rows = statement
            .query_map([study.id], |row| {
                let texts: (String, String, String) = (row.get(2)?, row.get(4)?, row.get(6)?);
                let trial = Trial {
                    number: row.get(0)?,
                    configuration: row.get(1)?,
                    params: Default::default(),
                    seed: row.get::<_, i64>(3)? as u64,
                    state: TrialState::Failed,
                    reason: row.get(5)?,
                    summaries: Default::default(),
                    seconds: row.get(7)?,
                    started: row.get(8)?,
                };
                Ok((trial, texts))
            })
            .map_err(|e| self.sql(e))?;
        rows.map(|row| {
            let (mut trial, (params, state, summaries)) = row.map_err(|e| self.sql(e))?;
            let name = || format!("trial {} of `{}`", trial.number, study.name);
            let (params, summaries) = (self.json(&params, name)?, self.json(&summaries, name)?);
            let state = TrialState::parse(&state).ok_or_else(|| self.corrupt(format!("{}: state {state}", name())))?;
            (trial.params, trial.summaries, trial.state) = (params, summaries, state);
            Ok(trial)
        })
        .collect()
    }

    /// The numbers of the trials that are recorded as running, each with the time of its last measurement.
    pub(super) fn left_running(&self, study: &StudyRecord) -> Result<Vec<(u32, f64)>> {
        let sql = "SELECT number, coalesce((SELECT max(seconds) FROM measurements WHERE trial = trials.id), 0.0) \
                   FROM trials WHERE study = ?1 AND state = 'running' ORDER BY number";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| self.sql(e))?;
        let rows = statement.query_map([study.id], |row| Ok((row.get(0)?, row.get(1)?))).map_err(|e| self.sql(e))?;
        rows.map(|row| row.map_err(|e| self.sql(e))).collect()
    }

    /// The measurements of a trial in the order of their steps.
    pub fn measurements(&self, study: &StudyRecord, number: u32) -> Result<Vec<Measurement>> {
        let sql = "SELECT m.step, m.seconds, m.metrics FROM measurements m JOIN trials t ON t.id = m.trial \
                   WHERE t.study = ?1 AND t.number = ?2 ORDER BY m.step";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| self.sql(e))?;
        let rows = statement
            .query_map((study.id, number), |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, f64>(1)?, row.get::<_, String>(2)?))
            })
            .map_err(|e| self.sql(e))?;
        rows.map(|row| {
            let (step, seconds, metrics) = row.map_err(|e| self.sql(e))?;
            let metrics = self.json(&metrics, || format!("step {step} of trial {number} of `{}`", study.name))?;
            Ok(Measurement { step, seconds, metrics })
        })
        .collect()
    }

    /// The steps and times of the first measurement of each trial, of the first one after step 0, and of the last one,
    /// by the number of the trial.
    pub fn times(&self, study: &StudyRecord) -> Result<BTreeMap<u32, Vec<(u64, f64)>>> {
        let mut times: BTreeMap<u32, BTreeMap<u64, f64>> = BTreeMap::new();
        for (step, least) in [("min(step)", 0), ("min(step)", 1), ("max(step)", 0)] {
            let sql = format!(
                "SELECT t.number, m.step, m.seconds FROM trials t JOIN measurements m ON m.trial = t.id AND m.step = \
                 (SELECT {step} FROM measurements WHERE trial = t.id AND step >= {least}) WHERE t.study = ?1"
            );
            let mut statement = self.connection.prepare_cached(&sql).map_err(|e| self.sql(e))?;
            let read = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, f64>(2)?));
            let rows = statement.query_map([study.id], read).map_err(|e| self.sql(e))?;
            for row in rows {
                let (number, step, seconds) = row.map_err(|e| self.sql(e))?;
                times.entry(number).or_default().insert(step, seconds);
            }
        }
        Ok(times.into_iter().map(|(number, times)| (number, times.into_iter().collect())).collect())
    }

    /// How many measurements of the study hold a metric.
    pub fn evaluations(&self, study: &StudyRecord, metric: &str) -> Result<u64> {
        let sql = "SELECT count(*) FROM measurements m JOIN trials t ON t.id = m.trial \
                   WHERE t.study = ?1 AND instr(m.metrics, ?2) > 0";
        let key = format!("{}:", serde_json::Value::from(metric));
        let row = (study.id, key);
        let count: i64 = self.connection.query_row(sql, row, |row| row.get(0)).map_err(|e| self.sql(e))?;
        Ok(count as u64)
    }

    /// The measurements of all trials at a step, by the number of the trial.
    pub fn measurements_at(&self, study: &StudyRecord, step: u64) -> Result<BTreeMap<u32, Measurement>> {
        let sql = "SELECT t.number, m.seconds, m.metrics FROM measurements m JOIN trials t ON t.id = m.trial \
                   WHERE t.study = ?1 AND m.step = ?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| self.sql(e))?;
        let read = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, f64>(1)?, row.get::<_, String>(2)?));
        let rows = statement.query_map((study.id, step as i64), read).map_err(|e| self.sql(e))?;
        rows.map(|row| {
            let (number, seconds, metrics) = row.map_err(|e| self.sql(e))?;
            let metrics = self.json(&metrics, || format!("step {step} of trial {number} of `{}`", study.name))?;
            Ok((number, Measurement { step, seconds, metrics }))
        })
        .collect()
    }

    /// The environment in which a study ran last, as it was recorded.
    pub fn environment(&self, study: &StudyRecord) -> Result<Option<serde_json::Value>> {
        let sql = "SELECT environment FROM environments WHERE study = ?1 ORDER BY id DESC LIMIT 1";
        let text: Option<String> =
            self.connection.query_row(sql, [study.id], |row| row.get(0)).optional().map_err(|e| self.sql(e))?;
        text.map(|text| self.json(&text, || format!("environment of `{}`", study.name))).transpose()
    }

    /// The environments in which the runs of a study were recorded, from the first one on.
    pub fn environments(&self, study: &StudyRecord) -> Result<Vec<serde_json::Value>> {
        let sql = "SELECT environment FROM environments WHERE study = ?1 ORDER BY id";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.sql(e))?;
        let rows = statement.query_map([study.id], |row| row.get::<_, String>(0)).map_err(|e| self.sql(e))?;
        rows.map(|row| self.json(&row.map_err(|e| self.sql(e))?, || format!("environment of `{}`", study.name)))
            .collect()
    }

    /// The workloads that were defined with `%%workload`: the latest version of each name.
    pub fn workloads(&self) -> Result<Vec<WorkloadRecord>> {
        self.workload_records("WHERE id IN (SELECT id FROM (SELECT id, max(defined) FROM workloads GROUP BY name))", [])
    }

    /// The workload of a hash, if there is one.
    pub fn workload(&self, source: &str) -> Result<Option<WorkloadRecord>> {
        Ok(self.workload_records("WHERE source = ?1", [source])?.pop())
    }

    /// Whether there is a table. A store of an earlier version lacks some, if it could not be written and so not be
    /// brought up to date.
    fn has_table(&self, name: &str) -> Result<bool> {
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let count: i64 = self.connection.query_row(sql, [name], |row| row.get(0)).map_err(|e| self.sql(e))?;
        Ok(count > 0)
    }

    fn workload_records(&self, condition: &str, row: impl rusqlite::Params) -> Result<Vec<WorkloadRecord>> {
        if !self.has_table("workloads")? {
            return Ok(vec![]);
        }
        let sql = format!("SELECT name, source, body, lock, description FROM workloads {condition} ORDER BY name");
        let mut statement = self.connection.prepare(&sql).map_err(|e| self.sql(e))?;
        let read = |row: &Row<'_>| {
            let texts: [String; 5] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            Ok(texts)
        };
        let rows = statement.query_map(row, read).map_err(|e| self.sql(e))?;
        rows.map(|row| {
            let [name, source, body, lock, description] = row.map_err(|e| self.sql(e))?;
            let description = self.json(&description, || format!("description of `{name}`"))?;
            Ok(WorkloadRecord { name, source, body, lock, description })
        })
        .collect()
    }

    /// The results of one kind that magics recorded, from the oldest to the newest.
    pub fn results(&self, kind: &str) -> Result<Vec<serde_json::Value>> {
        let mut statement = self
            .connection
            .prepare("SELECT result FROM results WHERE kind = ?1 ORDER BY id")
            .map_err(|e| self.sql(e))?;
        let rows = statement.query_map([kind], |row| row.get::<_, String>(0)).map_err(|e| self.sql(e))?;
        rows.map(|row| self.json(&row.map_err(|e| self.sql(e))?, || format!("a result of {kind}"))).collect()
    }

    /// The result of a kind that was recorded of a study with these inputs.
    pub fn result(&self, study: &StudyRecord, kind: &str, inputs: &str) -> Result<Option<serde_json::Value>> {
        let sql = "SELECT result FROM results WHERE study = ?1 AND kind = ?2 AND inputs = ?3";
        let row = self.connection.query_row(sql, (study.id, kind, inputs), |row| row.get::<_, String>(0));
        let text = row.optional().map_err(|e| self.sql(e))?;
        text.map(|text| self.json(&text, || format!("the {kind} of `{}`", study.name))).transpose()
    }

    /// The files that the trials of a study read.
    pub fn data(&self, study: &StudyRecord) -> Result<Vec<DataSource>> {
        if !self.has_table("data")? {
            return Ok(vec![]);
        }
        let sql = "SELECT path, sha256 FROM data WHERE study = ?1 ORDER BY path";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.sql(e))?;
        let read = |row: &Row<'_>| {
            let path: String = row.get(0)?;
            Ok(DataSource { path: path.into(), sha256: row.get(1)? })
        };
        let rows = statement.query_map([study.id], read).map_err(|e| self.sql(e))?;
        rows.map(|row| row.map_err(|e| self.sql(e))).collect()
    }

    fn study_from(&self, (mut record, definition): (StudyRecordRow, String)) -> Result<StudyRecord> {
        let name = std::mem::take(&mut record.name);
        let definition = self.json(&definition, || format!("definition of `{name}`"))?;
        let StudyRecordRow { id, definition_id, created, asked, seconds, .. } = record;
        Ok(StudyRecord { id, definition_id, name, definition, created, asked, seconds })
    }

    /// Parses JSON from the store; `what` names it in the error.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, text: &str, what: impl Fn() -> String) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.corrupt(format!("{}: {error}", what())))
    }
}

/// A row of [`STUDIES`], without the definition.
struct StudyRecordRow {
    id: i64,
    definition_id: i64,
    name: String,
    created: f64,
    asked: u32,
    seconds: f64,
}

fn study_row(row: &Row<'_>) -> rusqlite::Result<(StudyRecordRow, String)> {
    let record = StudyRecordRow {
        id: row.get(0)?,
        name: row.get(1)?,
        created: row.get(2)?,
        seconds: row.get(3)?,
        definition_id: row.get(4)?,
        asked: row.get(6)?,
    };
    Ok((record, row.get(5)?))
}
