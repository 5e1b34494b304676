//! Studies whose trials did not run here: they are recorded whole, in one transaction.

use super::write::to_json;
use super::{Result, Store, StudyRecord, now};
use crate::{Measurement, StudyDefinition, Trial};

/// The kind of the result that says where a study was imported from.
const IMPORTED: &str = "imported";

impl Store {
    /// Records a study with all its trials, and what is known of where it comes from. An error if there is one of that
    /// name; then nothing is recorded. If its wall time is not known, the times count in which trials ran.
    pub fn record_imported<'a>(
        &mut self,
        name: &str,
        definition: &StudyDefinition,
        trials: impl Iterator<Item = (&'a Trial, &'a [Measurement])>,
        origin: &serde_json::Value,
        wall_seconds: Option<f64>,
    ) -> Result<StudyRecord> {
        let created = now();
        let recorded = self.transaction(|transaction| {
            transaction.execute("INSERT INTO studies (name, created) VALUES (?1, ?2)", (name, created))?;
            let id = transaction.last_insert_rowid();
            let sql = "INSERT INTO definitions (study, created, definition) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (id, created, to_json(definition)))?;
            let definition_id = transaction.last_insert_rowid();
            let (mut asked, mut spans) = (0, vec![]);
            for (trial, measurements) in trials {
                let sql = "INSERT INTO trials (study, definition, number, configuration, params, seed, state, reason, \
                           summaries, seconds, started) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
                let Trial { number, configuration, params, seed, state, reason, summaries, seconds: took, started } =
                    trial;
                transaction.prepare_cached(sql)?.execute(rusqlite::params![
                    id,
                    definition_id,
                    number,
                    configuration,
                    to_json(params),
                    *seed as i64,
                    state.as_str(),
                    reason,
                    to_json(summaries),
                    took,
                    started
                ])?;
                asked = asked.max(*number);
                spans.push((*started, started + took));
                let row = transaction.last_insert_rowid();
                let sql = "INSERT INTO measurements (trial, step, seconds, metrics) VALUES (?1, ?2, ?3, ?4)";
                let mut statement = transaction.prepare_cached(sql)?;
                for Measurement { step, seconds, metrics } in measurements {
                    statement.execute((row, *step as i64, seconds, to_json(metrics)))?;
                }
            }
            let seconds = wall_seconds.unwrap_or_else(|| covered_seconds(spans));
            let sql = "UPDATE studies SET asked = ?2, seconds = ?3 WHERE id = ?1";
            transaction.execute(sql, (id, asked, seconds))?;
            let sql = "INSERT INTO results (study, kind, inputs, created, result) VALUES (?1, ?2, '', ?3, ?4)";
            transaction.execute(sql, (id, IMPORTED, created, origin.to_string()))?;
            Ok((id, definition_id, asked, seconds))
        })?;
        let (id, definition_id, asked, seconds) = recorded;
        let (name, definition) = (name.to_string(), definition.clone());
        Ok(StudyRecord { id, definition_id, name, definition, created, asked, seconds })
    }

    /// Where a study was imported from, as it was recorded. None if it was not imported.
    pub fn origin(&self, study: &StudyRecord) -> Result<Option<serde_json::Value>> {
        self.result_of(study, IMPORTED)
    }
}

/// How much time some spans cover, each from its start to its end. What several of them cover counts once.
pub fn covered_seconds(mut spans: Vec<(f64, f64)>) -> f64 {
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut seconds, mut until) = (0.0, f64::NEG_INFINITY);
    for (start, end) in spans {
        seconds += (end - start.max(until)).max(0.0);
        until = until.max(end);
    }
    seconds
}
