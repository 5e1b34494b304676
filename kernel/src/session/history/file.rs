//! The file of the history: a SQLite database that only its owner can read, shared by all kernels of a user.

use super::{CellOutcome, Entry, Query};
use anyhow::{Context as _, bail};
use rusqlite::{Connection, Row, ToSql, TransactionBehavior, params};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tunebook_study::store::files::{create_private_file, create_private_folder, on_network_file_system};
use tunebook_study::store::{now, open_read_only, wal_content};
use wildmatch::WildMatch;

/// Identifies the file as a history of Tunebook (`PRAGMA application_id`): "Tuhi" in ASCII.
const APPLICATION_ID: i32 = 0x5475_6869;

/// The scripts that create the tables, one for each version of the file, applied in order. A script that was released
/// must not be changed: add another one.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started REAL NOT NULL                      -- when its first cell began
    );
    CREATE TABLE cells (
        session INTEGER NOT NULL REFERENCES sessions(id),
        line INTEGER NOT NULL,                     -- the execution count
        started REAL NOT NULL,
        input TEXT NOT NULL,
        output TEXT,                               -- the value as text
        succeeded INTEGER,                         -- null until the cell has ended
        PRIMARY KEY (session, line)
    );
"];

/// Creates the table of cells that are not written yet. It is in memory, and belongs to this connection.
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

/// How long a statement waits while another kernel writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The bytes of an output that are kept.
const OUTPUT_BYTES: usize = 64 << 10;

/// An open file of the history.
pub(super) struct HistoryFile {
    connection: Connection,
    /// The number of this session, once a cell of it was written.
    session: Option<i64>,
    /// Whether the log says already that cells cannot be written.
    logged: bool,
}

impl HistoryFile {
    /// Opens a file, or without a file a database in memory.
    pub(super) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let connection = match file {
            Some(file) => open_file(file)?,
            None => migrated(Connection::open_in_memory()?)?,
        };
        connection.execute_batch(WAITING)?;
        Ok(Self { connection, session: None, logged: false })
    }

    /// Records a cell. A cell that cannot be written now stays in memory, where queries find it.
    pub(super) fn keep(&mut self, line: u64, input: &str, outcome: Option<&CellOutcome>) {
        let output = outcome.and_then(|outcome| outcome.output.as_deref()).map(beginning);
        let sql = "INSERT INTO waiting (line, started, input, output, succeeded) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT (line) DO UPDATE SET output = excluded.output, succeeded = excluded.succeeded";
        let cell = params![line as i64, now(), input, output, outcome.map(|outcome| outcome.succeeded)];
        let written = self.connection.execute(sql, cell).and_then(|_| self.write());
        match written {
            Ok(()) => self.logged = false,
            Err(error) if !self.logged => {
                self.logged = true;
                tunebook_wire::log(&format!(
                    "the history cannot be written; cells stay in memory until it can: {error}"
                ));
            }
            Err(_) => {}
        }
    }

    /// The entries that match a query, oldest first.
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

    /// Writes the cells that are in memory to the file.
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

    /// A table expression for all cells, those in memory included.
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

    /// The last entries whose input is wanted; `last` bounds their number.
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
            // Counted over the sessions that exist: some may have been deleted.
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

/// The beginning of an output, as far as it is kept.
fn beginning(output: &str) -> String {
    match output.len() > OUTPUT_BYTES {
        true => output[..output.floor_char_boundary(OUTPUT_BYTES)].to_string() + "…",
        false => output.into(),
    }
}

fn open_file(file: &Path) -> anyhow::Result<Connection> {
    examine(file)?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        create_private_folder(folder).with_context(|| folder.display().to_string())?;
    }
    create_private_file(file)?;
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let connection = migrated(connection)?;
    // The file may have existed with another mode. The mode is changed only now that the file is known to be a history.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600))?;
    }
    if !on_network_file_system(file) {
        // This fails while another kernel uses the file. The history works without it, and the next kernel tries again.
        let _ = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
    }
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(connection)
}

/// Looks at a file before anything is written to it or beside it. An error if it is neither empty nor a history. SQLite
/// itself writes to a database as soon as it opens it, if the program that used it last has crashed.
fn examine(file: &Path) -> anyhow::Result<()> {
    match file.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        metadata => match metadata?.len() {
            0 => return Ok(()),
            // No database is that short, but SQLite takes a file of one byte for an empty one.
            1..512 => bail!("another program wrote this file"),
            _ => {}
        },
    }
    let connection = open_read_only(file, "immutable=1")?;
    // While another kernel moves pages from the log to the file, the first page may tell of pages that are not there
    // yet. With this setting SQLite reads what there is.
    connection.pragma_update(None, "writable_schema", true)?;
    // A history gets its tables and its mark before it has a log.
    if missing(&connection)?.len() == MIGRATIONS.len() && wal_content(file).is_some() {
        bail!("another program wrote this file");
    }
    Ok(())
}

/// Applies the scripts that the file lacks. Two kernels may call this at the same time.
fn migrated(mut connection: Connection) -> anyhow::Result<Connection> {
    if missing(&connection)?.is_empty() {
        return Ok(connection);
    }
    // Asked again inside the transaction: another kernel may have applied the scripts meanwhile.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&missing(&transaction)?.concat())?;
    let version = MIGRATIONS.len();
    transaction.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}"))?;
    transaction.commit()?;
    Ok(connection)
}

/// The scripts that a file lacks. An error if another program or a newer version of Tunebook wrote the file.
fn missing(connection: &Connection) -> anyhow::Result<&'static [&'static str]> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (tables, application) = (number("SELECT count(*) FROM sqlite_master")?, number("PRAGMA application_id")?);
    if (tables > 0 || application != 0) && application != i64::from(APPLICATION_ID) {
        bail!("another program wrote this file");
    }
    let version = number("PRAGMA user_version")?;
    match usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)) {
        Some(missing) => Ok(missing),
        None => bail!("a newer version of Tunebook wrote this file (version {version} of its tables)"),
    }
}
