//! The tables, and how an older file becomes a current one.

use rusqlite::Connection;

/// Marks the file as ours (`PRAGMA application_id`): "Tune" in ASCII.
const APPLICATION_ID: i32 = 0x5475_6e65;

/// One script a version, each applied once, in order. Never edit one that was released: add the next.
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

/// What went wrong with a file's version.
pub(super) enum SchemaProblem {
    Sql(rusqlite::Error),
    NotOurs,
    Newer(usize),
}

impl From<rusqlite::Error> for SchemaProblem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Brings a file to the current version; a new one gets all tables. Two processes may do so at once.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaProblem> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    let application: i32 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(SchemaProblem::NotOurs);
    }
    if found > MIGRATIONS.len() {
        return Err(SchemaProblem::Newer(found));
    }
    for script in &MIGRATIONS[found..] {
        transaction.execute_batch(script)?;
    }
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}",
        MIGRATIONS.len()
    ))?;
    transaction.commit()?;
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map(|v| v.max(0) as usize)
}
