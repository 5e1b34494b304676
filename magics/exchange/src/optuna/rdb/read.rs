//! Reads a database. Nothing is written to it or beside it.

use crate::optuna::{
    Attributes, OptunaDirection, OptunaDistribution, OptunaFile, OptunaParameter, OptunaState, OptunaStudy, OptunaTrial,
};
use crate::{ExchangeError, Result, json, time};
use rusqlite::{Connection, OpenFlags, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tunebook_study::store::{open_read_only, wal_content};

const PATIENCE: Duration = Duration::from_secs(10);

/// Reads all studies of a database.
pub fn read(path: &Path) -> Result<OptunaFile> {
    let (connection, _copy) = open(path)?;
    // One transaction sees one state, whatever others write meanwhile.
    connection.execute_batch("BEGIN")?;
    let tables = tables(&connection)?;
    let has = |name: &str| tables.contains(name);
    if !["studies", "trials", "trial_params", "version_info"].into_iter().all(has) {
        let what = match (has("leases") && has("measurements"), tables.is_empty()) {
            (true, _) => "a study store of Tunebook; set TUNEBOOK_STUDIES to it to see its studies".into(),
            (_, true) => "an SQLite database without tables".to_string(),
            _ => {
                let some: Vec<&str> = tables.iter().map(String::as_str).take(5).collect();
                format!("an SQLite database of another program (its tables: {})", some.join(", "))
            }
        };
        return Err(ExchangeError::NotOptuna(what));
    }
    if !["study_directions", "trial_intermediate_values", "trial_values"].into_iter().all(has) {
        let what = "a database of an Optuna before 2.4; bring it up to date with `optuna storage upgrade`";
        return Err(ExchangeError::NotOptuna(what.into()));
    }
    let sql = "SELECT study_id, study_name FROM studies ORDER BY study_id";
    let ids: Vec<(i64, String)> = rows(&connection, sql, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let studies = ids.into_iter().map(|(id, name)| study(&connection, id, name)).collect::<Result<_>>()?;
    Ok(OptunaFile { format: "sqlite", studies, notes: vec![] })
}

/// Opens a database to read it. A crashed program may have left changes beside it (`-journal`, `-wal`), which SQLite
/// would merge into the file. Then a copy is opened, which lies in the folder that is returned.
fn open(path: &Path) -> Result<(Connection, Option<tempfile::TempDir>)> {
    let beside = |ending: &str| {
        let mut name: OsString = path.into();
        name.push(ending);
        Some(PathBuf::from(name)).filter(|path| path.metadata().is_ok_and(|data| data.len() > 0))
    };
    let uses = |connection: Connection| -> rusqlite::Result<Connection> {
        connection.busy_timeout(PATIENCE)?;
        // SQLite opens the file with the first statement.
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
        Ok(connection)
    };
    let log = wal_content(path);
    if log.is_none() {
        // In rollback mode, `mode=ro` waits for writers and creates nothing. In WAL mode it would create files.
        let parameters = if is_in_wal_mode(path)? { "immutable=1" } else { "mode=ro" };
        match (open_read_only(path, parameters).and_then(uses), beside("-journal")) {
            (Ok(connection), _) => return Ok((connection, None)),
            (Err(error), None) => return Err(error.into()),
            (Err(_), Some(_)) => {}
        }
    }
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    std::fs::copy(path, &copy)?;
    for (ending, file) in [("-wal", log), ("-journal", beside("-journal"))] {
        if let Some(file) = file {
            std::fs::copy(file, folder.path().join(format!("copy.db{ending}")))?;
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok((uses(Connection::open_with_flags(&copy, flags)?)?, Some(folder)))
}

/// Byte 18 of the file says so: <https://sqlite.org/fileformat2.html#file_format_version_numbers>.
fn is_in_wal_mode(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut header = [0; 20];
    Ok(std::fs::File::open(path)?.read_exact(&mut header).is_ok() && header[18] == 2)
}

fn tables(connection: &Connection) -> Result<BTreeSet<String>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table'";
    Ok(rows(connection, sql, |row| row.get(0))?.into_iter().collect())
}

fn rows<T>(connection: &Connection, sql: &str, read: impl Fn(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([], |row| read(row))?.collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

fn has_column(connection: &Connection, table: &str, column: &str) -> Result<bool> {
    let sql = format!("SELECT count(*) FROM pragma_table_info('{table}') WHERE name = '{column}'");
    Ok(connection.query_row(&sql, [], |row| row.get::<_, i64>(0))? > 0)
}

fn study(connection: &Connection, id: i64, name: String) -> Result<OptunaStudy> {
    let malformed = |place: String, problem: String| ExchangeError::malformed(place, problem);
    let sql = format!("SELECT direction FROM study_directions WHERE study_id = {id} ORDER BY objective");
    let directions = rows(connection, &sql, |row| row.get::<_, String>(0))?.into_iter().map(|d| match d.as_str() {
        "NOT_SET" => Ok(OptunaDirection::NotSet),
        "MINIMIZE" => Ok(OptunaDirection::Minimize),
        "MAXIMIZE" => Ok(OptunaDirection::Maximize),
        _ => Err(malformed(format!("study `{name}`"), format!("the direction {d} is unknown"))),
    });
    let directions: Vec<_> = directions.collect::<Result<_>>()?;
    let attributes = |table: &str| -> Result<Attributes> {
        let sql = format!("SELECT key, value_json FROM {table} WHERE study_id = {id} ORDER BY 1");
        let found = rows(connection, &sql, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        found.into_iter().map(|(key, text)| Ok((key, parsed(&text, || format!("study `{name}`, {table}"))?))).collect()
    };
    let (user_attributes, system_attributes) =
        (attributes("study_user_attributes")?, attributes("study_system_attributes")?);
    let trials = trials(connection, id, &name)?;
    Ok(OptunaStudy { name, directions, user_attributes, system_attributes, trials })
}

fn parsed(text: &str, place: impl Fn() -> String) -> Result<serde_json::Value> {
    json::parse(text).map_err(|error| ExchangeError::malformed(place(), error.to_string()))
}

fn trials(connection: &Connection, study: i64, name: &str) -> Result<Vec<OptunaTrial>> {
    let sql = format!(
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE study_id = {study} \
         ORDER BY number, trial_id"
    );
    type Head = (i64, Option<u32>, String, Option<String>, Option<String>);
    let heads: Vec<Head> = rows(connection, &sql, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))?;
    let mut found: Vec<OptunaTrial> = vec![];
    let mut place_of: HashMap<i64, usize> = HashMap::new();
    for (id, number, state, started, completed) in heads {
        let number = number.unwrap_or(found.len() as u32);
        let known = OptunaState::ALL.into_iter().find(|known| known.name() == state);
        let place = || format!("trial {number} of `{name}`");
        let state = known.ok_or_else(|| ExchangeError::malformed(place(), format!("the state {state} is unknown")))?;
        place_of.insert(id, found.len());
        found.push(OptunaTrial {
            number,
            state,
            values: vec![],
            parameters: Default::default(),
            intermediate: BTreeMap::new(),
            user_attributes: Attributes::new(),
            system_attributes: Attributes::new(),
            started: started.as_deref().and_then(time::parse),
            completed: completed.as_deref().and_then(time::parse),
        });
    }
    let select = |columns: &str, table: &str, order: &str| {
        format!(
            "SELECT x.trial_id, {columns} FROM {table} x JOIN trials t ON t.trial_id = x.trial_id \
             WHERE t.study_id = {study} ORDER BY {order}"
        )
    };
    let sql = select("x.param_name, x.param_value, x.distribution_json", "trial_params", "x.param_id");
    type Parameter = (i64, String, Option<f64>, String);
    let parameters: Vec<Parameter> = rows(connection, &sql, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
    for (id, parameter, internal, distribution) in parameters {
        let trial = &mut found[place_of[&id]];
        let place = || format!("trial {} of `{name}`, parameter `{parameter}`", trial.number);
        let distribution =
            OptunaDistribution::parse(&distribution).map_err(|problem| ExchangeError::malformed(place(), problem))?;
        let internal = internal.ok_or_else(|| ExchangeError::malformed(place(), "it has no value"))?;
        trial.parameters.insert(parameter, OptunaParameter { internal, distribution });
    }
    for (table, value, kind, order) in [
        ("trial_values", "value", "value_type", "x.objective"),
        ("trial_intermediate_values", "intermediate_value", "intermediate_value_type", "x.step"),
    ] {
        let kind = if has_column(connection, table, kind)? { format!("x.{kind}") } else { "NULL".into() };
        let sql = select(&format!("{order}, x.{value}, {kind}"), table, order);
        type Number = (i64, i64, Option<f64>, Option<String>);
        let numbers: Vec<Number> = rows(connection, &sql, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
        for (id, at, value, kind) in numbers {
            let trial = &mut found[place_of[&id]];
            let value = number(value, kind.as_deref());
            match table {
                "trial_values" => trial.values.push(value),
                _ => drop(trial.intermediate.insert(at, value)),
            }
        }
    }
    for (table, is_user) in [("trial_user_attributes", true), ("trial_system_attributes", false)] {
        let sql = select("x.key, x.value_json", table, "1, 2");
        let attributes: Vec<(i64, String, String)> = rows(connection, &sql, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        for (id, key, text) in attributes {
            let trial = &mut found[place_of[&id]];
            let value = parsed(&text, || format!("trial {} of `{name}`, attribute `{key}`", trial.number))?;
            let attributes = if is_user { &mut trial.user_attributes } else { &mut trial.system_attributes };
            attributes.insert(key, value);
        }
    }
    Ok(found)
}

/// A number with the type that Optuna 3 and later record. Without a type, NULL is NaN, and the largest floats stand for
/// infinity.
fn number(value: Option<f64>, kind: Option<&str>) -> f64 {
    match (kind, value) {
        (Some("INF_POS"), _) => f64::INFINITY,
        (Some("INF_NEG"), _) => f64::NEG_INFINITY,
        (Some("NAN"), _) | (_, None) => f64::NAN,
        (None, Some(value)) if value.abs() == f64::MAX => value.signum() * f64::INFINITY,
        (_, Some(value)) => value,
    }
}
