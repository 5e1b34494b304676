//! Writes a new database as Optuna 5 makes it.

use crate::optuna::{Attributes, OptunaDirection, OptunaStudy, OptunaTrial};
use crate::{Result, time};
use rusqlite::{Connection, Transaction};
use std::path::Path;

/// The revision that Optuna's migrations call the newest.
const REVISION: &str = "v3.2.0.a";
const SCHEMA_VERSION: i64 = 12;
const LIBRARY_VERSION: &str = "5.0.0";

/// Writes a study to a file that is empty or not there.
pub fn write(path: &Path, study: &OptunaStudy) -> Result<()> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.execute("INSERT INTO version_info VALUES (1, ?1, ?2)", (SCHEMA_VERSION, LIBRARY_VERSION))?;
    transaction.execute("INSERT INTO alembic_version VALUES (?1)", [REVISION])?;
    transaction.execute("INSERT INTO studies VALUES (1, ?1)", [&study.name])?;
    for (objective, direction) in study.directions.iter().enumerate() {
        let name = match direction {
            OptunaDirection::NotSet => "NOT_SET",
            OptunaDirection::Minimize => "MINIMIZE",
            OptunaDirection::Maximize => "MAXIMIZE",
        };
        let sql = "INSERT INTO study_directions (direction, study_id, objective) VALUES (?1, 1, ?2)";
        transaction.execute(sql, (name, objective as i64))?;
    }
    attributes(&transaction, "study_user_attributes", "study_id", 1, &study.user_attributes)?;
    attributes(&transaction, "study_system_attributes", "study_id", 1, &study.system_attributes)?;
    for (id, one) in (1..).zip(&study.trials) {
        trial(&transaction, id, one)?;
    }
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn attributes(transaction: &Transaction<'_>, table: &str, owner: &str, id: i64, all: &Attributes) -> Result<()> {
    let sql = format!("INSERT INTO {table} ({owner}, key, value_json) VALUES (?1, ?2, ?3)");
    for (key, value) in all {
        transaction.prepare_cached(&sql)?.execute((id, key, value.to_string()))?;
    }
    Ok(())
}

fn trial(transaction: &Transaction<'_>, id: i64, trial: &OptunaTrial) -> Result<()> {
    let sql = "INSERT INTO trials VALUES (?1, ?2, 1, ?3, ?4, ?5)";
    let (started, completed) = (trial.started.and_then(time::sql), trial.completed.and_then(time::sql));
    transaction.prepare_cached(sql)?.execute((id, trial.number, trial.state.name(), started, completed))?;
    let sql = "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?1, ?2, ?3, ?4)";
    for (name, parameter) in &trial.parameters {
        let distribution = parameter.distribution.to_json().to_string();
        transaction.prepare_cached(sql)?.execute((id, name, parameter.internal, distribution))?;
    }
    let sql = "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?1, ?2, ?3, ?4)";
    for (objective, value) in trial.values.iter().enumerate() {
        transaction.prepare_cached(sql)?.execute((id, objective as i64, finite(*value), kind(*value)))?;
    }
    let sql = "INSERT INTO trial_intermediate_values \
               (trial_id, step, intermediate_value, intermediate_value_type) VALUES (?1, ?2, ?3, ?4)";
    for (step, value) in &trial.intermediate {
        transaction.prepare_cached(sql)?.execute((id, step, finite(*value), kind(*value)))?;
    }
    attributes(transaction, "trial_user_attributes", "trial_id", id, &trial.user_attributes)?;
    attributes(transaction, "trial_system_attributes", "trial_id", id, &trial.system_attributes)
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

fn kind(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "INF_POS",
        f64::NEG_INFINITY => "INF_NEG",
        value if value.is_nan() => "NAN",
        _ => "FINITE",
    }
}
