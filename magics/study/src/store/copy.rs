//! Copies studies to a store of their own, so that they can travel.

use super::{Result, Store, StudyRecord, set_journal_mode};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Store {
    /// Writes a new store with these studies, all that is recorded of them, and the sources of their workloads.
    /// `conclusions` chooses among the results that belong to no study. `moved` gives the path of a file that trials
    /// read as it is to be recorded there.
    pub fn copy_studies(
        &self,
        studies: &[&StudyRecord],
        to: &Path,
        conclusions: &dyn Fn(&serde_json::Value) -> bool,
        moved: &dyn Fn(&Path) -> PathBuf,
    ) -> Result<()> {
        let copy = Store::open(to)?;
        copy.transaction(|transaction| {
            // Rows may refer to others that come later.
            transaction.execute_batch("PRAGMA defer_foreign_keys = ON")?;
            for study in studies {
                self.copy_rows(transaction, "studies", "id = ?1", [Value::Integer(study.id)])?;
                for table in tables_with(&self.connection, "study")?.iter().filter(|table| *table != "leases") {
                    self.copy_rows(transaction, table, "study = ?1", [Value::Integer(study.id)])?;
                }
                for table in tables_with(&self.connection, "trial")? {
                    let of_study = "trial IN (SELECT id FROM trials WHERE study = ?1)";
                    self.copy_rows(transaction, &table, of_study, [Value::Integer(study.id)])?;
                }
                if let crate::WorkloadReference::Rust { source, .. } = &study.definition.workload {
                    self.copy_rows(transaction, "workloads", "source = ?1", [Value::Text(source.clone())])?;
                }
            }
            let mut statement = self.connection.prepare("SELECT id, result FROM results WHERE study IS NULL")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            for row in rows {
                let (id, text) = row?;
                if serde_json::from_str(&text).is_ok_and(|result| conclusions(&result)) {
                    self.copy_rows(transaction, "results", "id = ?1", [Value::Integer(id)])?;
                }
            }
            move_files(transaction, moved)
        })?;
        // One file, without a log beside it.
        set_journal_mode(&copy.connection, "DELETE").map_err(|e| copy.sql(e))
    }

    fn copy_rows(&self, to: &Connection, table: &str, condition: &str, key: [Value; 1]) -> rusqlite::Result<()> {
        // A store of an earlier version that cannot be written lacks some tables.
        if !has_table(&self.connection, table)? {
            return Ok(());
        }
        let mut statement = self.connection.prepare(&format!("SELECT * FROM {table} WHERE {condition}"))?;
        let columns: Vec<String> = statement.column_names().map(String::from).collect();
        let places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
        let insert = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({})", columns.join(", "), places.join(", "));
        let mut insert = to.prepare_cached(&insert)?;
        let mut rows = statement.query(params_from_iter(key))?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..columns.len()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?;
            insert.execute(params_from_iter(values))?;
        }
        Ok(())
    }
}

fn has_table(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
    connection.query_row(sql, [table], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

/// The tables that have a column.
fn tables_with(connection: &Connection, column: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
               WHERE m.type = 'table' AND c.name = ?1 ORDER BY m.name";
    let mut statement = connection.prepare(sql)?;
    statement.query_map([column], |row| row.get(0))?.collect()
}

/// Replaces the paths of the files that trials read.
fn move_files(connection: &Connection, moved: &dyn Fn(&Path) -> PathBuf) -> rusqlite::Result<()> {
    let new = |path: &str| moved(Path::new(path)).display().to_string();
    let mut statement = connection.prepare("SELECT study, path, sha256 FROM data")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let files: Vec<(i64, String, String)> = rows.collect::<rusqlite::Result<_>>()?;
    for (study, path, sha256) in files {
        let sql = "UPDATE OR REPLACE data SET path = ?4 WHERE study = ?1 AND path = ?2 AND sha256 = ?3";
        connection.execute(sql, (study, &path, sha256, new(&path)))?;
    }
    let mut statement = connection.prepare("SELECT id, result FROM results WHERE kind = ?1")?;
    let rows = statement.query_map([super::inputs::LATEST], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let latest: Vec<(i64, String)> = rows.collect::<rusqlite::Result<_>>()?;
    for (id, text) in latest {
        let files: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
        let files: BTreeMap<String, String> = files.into_iter().map(|(path, hash)| (new(&path), hash)).collect();
        connection.execute("UPDATE results SET result = ?2 WHERE id = ?1", (id, super::write::to_json(&files)))?;
    }
    Ok(())
}
