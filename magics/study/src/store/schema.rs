//! The tables of the store, and how a file of an earlier version is brought up to date.

use super::identity::{APPLICATION_ID, Contents};
use super::{Result, StoreError, classify};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// The scripts that make the tables: script n takes a store from version n − 1 to version n. Stores out there have been
/// through those that were released, so these are never edited; a change of the tables is a further script.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE studies (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created REAL NOT NULL,
        asked INTEGER NOT NULL DEFAULT 0,          -- trials asked for, the most of all runs
        seconds REAL NOT NULL DEFAULT 0            -- wall time of all runs
    );
    -- A study's definition may be widened; a trial refers to the version that proposed it.
    CREATE TABLE definitions (
        id INTEGER PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies(id) ON DELETE CASCADE,
        created REAL NOT NULL,
        definition TEXT NOT NULL                   -- JSON
    );
    CREATE INDEX definitions_of_study ON definitions(study);
    CREATE TABLE environments (
        id INTEGER PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies(id) ON DELETE CASCADE,
        recorded REAL NOT NULL,
        environment TEXT NOT NULL                  -- JSON
    );
    CREATE TABLE trials (
        id INTEGER PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies(id) ON DELETE CASCADE,
        definition INTEGER NOT NULL REFERENCES definitions(id),
        number INTEGER NOT NULL,
        configuration INTEGER NOT NULL,
        params TEXT NOT NULL,                      -- JSON object
        seed INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        summaries TEXT NOT NULL DEFAULT '{}',      -- JSON: metric -> {min, max, last}, each [value, step]
        seconds REAL NOT NULL DEFAULT 0,
        started REAL NOT NULL,
        UNIQUE (study, number)
    );
    CREATE TABLE measurements (
        trial INTEGER NOT NULL REFERENCES trials(id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        seconds REAL NOT NULL,
        metrics TEXT NOT NULL,                     -- JSON object, null where not finite
        PRIMARY KEY (trial, step)
    ) WITHOUT ROWID;
    CREATE TABLE leases (
        study INTEGER PRIMARY KEY REFERENCES studies(id) ON DELETE CASCADE,
        owner TEXT NOT NULL,                       -- JSON: host, pid, start of the process, nonce
        renewed REAL NOT NULL
    );
    -- What a magic concluded, by the hash of what it concluded it from.
    CREATE TABLE results (
        id INTEGER PRIMARY KEY,
        study INTEGER REFERENCES studies(id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        inputs TEXT NOT NULL,                      -- hash
        created REAL NOT NULL,
        result TEXT NOT NULL,                      -- JSON
        UNIQUE (study, kind, inputs)
    );
",
    "
    -- The source of each `%%workload` that was defined here, by the hash that studies refer to.
    CREATE TABLE workloads (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        source TEXT NOT NULL UNIQUE,               -- hash
        defined REAL NOT NULL,                     -- last time
        body TEXT NOT NULL,                        -- as it was typed
        lock TEXT NOT NULL,                        -- Cargo.lock
        description TEXT NOT NULL                  -- JSON
    );
    -- The files that a study's trials read.
    CREATE TABLE data (
        study INTEGER NOT NULL REFERENCES studies(id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        PRIMARY KEY (study, path, sha256)
    ) WITHOUT ROWID;
",
];

/// Creates the tables in an empty file, and brings a store of an earlier version up to date. Several processes may do
/// so at once.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<()> {
    let sql = |error| classify(path, error);
    if let Contents::Store { version, marked: true } = Contents::of(connection).map_err(sql)?
        && check_version(path, version)? == MIGRATIONS.len()
    {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    // Another process may have written to the file since it was examined.
    let version = match Contents::of(&transaction).map_err(sql)? {
        Contents::Nothing => 0,
        Contents::Store { version, .. } => check_version(path, version)?,
        Contents::Other(what) => return Err(StoreError::NotAStore { path: path.into(), what }),
    };
    for script in &MIGRATIONS[version..] {
        transaction.execute_batch(script).map_err(sql)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(sql)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(sql)?;
    transaction.commit().map_err(sql)
}

/// The version, or an error if this program does not know it.
pub(super) fn check_version(path: &Path, version: usize) -> Result<usize> {
    match version <= MIGRATIONS.len() {
        true => Ok(version),
        false => Err(StoreError::Newer { path: path.into(), version }),
    }
}
