//! The file of the history: SQLite, for its owner only, shared by all kernels of a user.

use super::{Ended, Entry, Query};
use anyhow::{Context as _, bail};
use rusqlite::{Connection, Row, ToSql, TransactionBehavior, params};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tunebook_study::store::files::{create_private_file, create_private_folder, on_network_file_system};
use tunebook_study::store::now;
use wildmatch::WildMatch;

/// Marks the file as ours (`PRAGMA application_id`): "Tuhi" in ASCII.
const APPLICATION_ID: i32 = 0x5475_6869;

/// One script a version, each applied once, in order. Never edit one that was released: add the next.
static MIGRATIONS: [&str; 1] = ["
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started REAL NOT NULL                      -- its first cell
    );
    CREATE TABLE cells (
        session INTEGER NOT NULL REFERENCES sessions(id),
        line INTEGER NOT NULL,                     -- execution count
        started REAL NOT NULL,
        input TEXT NOT NULL,
        output TEXT,                               -- its value as text
        succeeded INTEGER,                         -- null until it has ended
        PRIMARY KEY (session, line)
    );
"];

/// Cells that could not be written yet. They are in memory, with this connection.
const WAITING: &str = "
    PRAGMA temp_store = MEMORY;
    CREATE TEMP TABLE waiting (
        line INTEGER PRIMARY KEY,
        started REAL NOT NULL,
        input TEXT NOT NULL,
        output TEXT,
        succeeded INTEGER
    );
";

/// Another kernel writes for a moment only.
const BUSY: Duration = Duration::from_secs(2);
/// Of a longer output the beginning is kept.
const OUTPUT_BYTES: usize = 64 << 10;

/// An open history.
pub(super) struct Record {
    connection: Connection,
    /// The number of this session, once a cell of it was written.
    session: Option<i64>,
    /// Whether it was said that it cannot be written.
    complained: bool,
}

impl Record {
    /// Opens a file, or a history in memory where none is wanted.
    pub(super) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let connection = match file {
            Some(file) => open_file(file)?,
            None => migrated(Connection::open_in_memory()?)?,
        };
        connection.execute_batch(WAITING)?;
        Ok(Self { connection, session: None, complained: false })
    }

    /// Keeps a cell. What cannot be written now waits in memory, and is found there.
    pub(super) fn keep(&mut self, line: u64, input: &str, ended: Option<&Ended>) {
        let output = ended.and_then(|ended| ended.output.as_deref()).map(beginning);
        let sql = "INSERT INTO waiting (line, started, input, output, succeeded) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT (line) DO UPDATE SET output = excluded.output, succeeded = excluded.succeeded";
        let cell = params![line as i64, now(), input, output, ended.map(|ended| ended.succeeded)];
        let written = self.connection.execute(sql, cell).and_then(|_| self.write());
        match written {
            Ok(()) => self.complained = false,
            Err(error) if !self.complained => {
                self.complained = true;
                tunebook_wire::log(&format!(
                    "the history cannot be written, cells wait in memory until it can: {error}"
                ));
            }
            Err(_) => {}
        }
    }

    /// Entries, oldest first.
    pub(super) fn find(&mut self, query: &Query) -> Vec<Entry> {
        let found = match query {
            Query::Tail { last } => self.latest(Some(*last), |_| true),
            Query::Range { session, start, stop } => self.range(*session, *start, *stop),
            Query::Search { pattern, unique, last } => {
                let (pattern, mut seen) = (WildMatch::new(pattern), HashSet::new());
                self.latest(*last, |input| pattern.matches(input) && (!unique || seen.insert(input.to_string())))
            }
        };
        found.unwrap_or_else(|error| {
            tunebook_wire::log(&format!("the history cannot be read: {error}"));
            vec![]
        })
    }

    /// Brings what waits into the file.
    fn write(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let session = match self.session {
            Some(session) => session,
            None => {
                transaction.execute("INSERT INTO sessions (started) VALUES (?1)", [now()])?;
                transaction.last_insert_rowid()
            }
        };
        let sql = "INSERT INTO cells (session, line, started, input, output, succeeded) \
                   SELECT ?1, line, started, input, output, succeeded FROM waiting WHERE true \
                   ON CONFLICT (session, line) DO UPDATE SET output = excluded.output, succeeded = excluded.succeeded";
        transaction.execute(sql, [session])?;
        transaction.execute("DELETE FROM waiting", [])?;
        transaction.commit()?;
        self.session = Some(session);
        Ok(())
    }

    /// The number that this session has, or will have once a cell of it is written.
    fn number(&self) -> rusqlite::Result<i64> {
        let next = || self.connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM sessions", [], |row| row.get(0));
        self.session.map_or_else(next, Ok)
    }

    /// All cells, those that wait included, as a table that SQL can read.
    fn cells(&self) -> rusqlite::Result<String> {
        let waits: bool = self.connection.query_row("SELECT EXISTS (SELECT 1 FROM waiting)", [], |row| row.get(0))?;
        if !waits {
            return Ok("cells".into());
        }
        let own = self.number()?;
        Ok(format!(
            "(SELECT session, line, input, output, succeeded FROM cells \
              WHERE session <> {own} OR line NOT IN (SELECT line FROM waiting) \
              UNION ALL SELECT {own}, line, input, output, succeeded FROM waiting)"
        ))
    }

    /// The last so many whose input is wanted.
    fn latest(&self, last: Option<usize>, mut wanted: impl FnMut(&str) -> bool) -> rusqlite::Result<Vec<Entry>> {
        let sql = format!("SELECT * FROM {} ORDER BY session DESC, line DESC", self.cells()?);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = vec![];
        while found.len() < last.unwrap_or(usize::MAX)
            && let Some(row) = rows.next()?
        {
            if wanted(row.get_ref("input")?.as_str()?) {
                found.push(entry(row)?);
            }
        }
        found.reverse();
        Ok(found)
    }

    fn range(&self, session: i64, start: i64, stop: Option<i64>) -> rusqlite::Result<Vec<Entry>> {
        let (cells, own) = (self.cells()?, self.number()?);
        let session = match session {
            0 => own,
            1.. => session,
            // Sessions that were deleted are not counted.
            _ => {
                let sql = "SELECT id FROM sessions WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";
                let mut statement = self.connection.prepare(sql)?;
                let mut rows = statement.query([own, (session + 1).saturating_neg()])?;
                let Some(row) = rows.next()? else { return Ok(vec![]) };
                row.get(0)?
            }
        };
        let sql = format!("SELECT coalesce(max(line), 0) FROM {cells} WHERE session = ?1");
        let end = 1 + self.connection.query_row(&sql, [session], |row| row.get::<_, i64>(0))?;
        let absolute = |line: i64| if line < 0 { end.saturating_add(line) } else { line };
        let (start, stop) = (absolute(start), stop.map_or(end, absolute));
        let sql = format!("SELECT * FROM {cells} WHERE session = ?1 AND line >= ?2 AND line < ?3 ORDER BY line");
        let parameters: [&dyn ToSql; 3] = [&session, &start, &stop];
        self.connection.prepare(&sql)?.query_map(parameters, entry)?.collect()
    }
}

fn entry(row: &Row) -> rusqlite::Result<Entry> {
    Ok(Entry {
        session: row.get("session")?,
        line: row.get::<_, i64>("line")?.max(0) as u64,
        input: row.get("input")?,
        output: row.get("output")?,
        succeeded: row.get("succeeded")?,
    })
}

/// As much of an output as is kept.
fn beginning(output: &str) -> String {
    match output.len() > OUTPUT_BYTES {
        true => output[..output.floor_char_boundary(OUTPUT_BYTES)].to_string() + "…",
        false => output.into(),
    }
}

fn open_file(file: &Path) -> anyhow::Result<Connection> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        create_private_folder(folder).with_context(|| folder.display().to_string())?;
    }
    create_private_file(file)?;
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    let connection = migrated(connection)?;
    // Only now that it is ours: it may have been there before, for everyone to read.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600))?;
    }
    if !on_network_file_system(file) {
        // Another kernel may hold the file; it is as good without, and switched the next time.
        let _ = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
    }
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(connection)
}

/// With all tables of the current version. Two kernels may do so at once.
fn migrated(mut connection: Connection) -> anyhow::Result<Connection> {
    if missing(&connection)?.is_empty() {
        return Ok(connection);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&missing(&transaction)?.concat())?;
    let version = MIGRATIONS.len();
    transaction.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}"))?;
    transaction.commit()?;
    Ok(connection)
}

/// The scripts that a file still lacks.
fn missing(connection: &Connection) -> anyhow::Result<&'static [&'static str]> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_master")?;
    if tables > 0 && number("PRAGMA application_id")? != i64::from(APPLICATION_ID) {
        bail!("it is another program's file");
    }
    let version = number("PRAGMA user_version")?;
    match usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)) {
        Some(missing) => Ok(missing),
        None => bail!("a newer Tunebook wrote it (its version is {version})"),
    }
}
