//! The store: one SQLite file that remembers every study. Nothing else does, so a process can be killed at any moment,
//! and the study goes on from what is in the file.
//!
//! To read, a process needs nothing but the file. To write a study, it takes the study's [lease](Store::write): one
//! process at a time has it, and it ends with that process.

mod copy;
pub mod files;
mod identity;
mod imported;
mod inputs;
mod lease;
mod place;
mod read;
mod schema;
mod write;

#[cfg(test)]
mod tests;

pub use identity::{open_read_only, wal_content};
pub use imported::covered_seconds;
pub use inputs::{AcceptedChange, HyperparameterUse};
pub use read::{StudyRecord, WorkloadRecord};
pub use write::{NewTrial, StudyWriter, summarize};

use files::{create_private_file, create_private_folder, on_network_file_system};
use place::Place;
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an access waits for another process that uses the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An open store.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Which file was opened. None if it was opened to be read only.
    place: Option<Place>,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder may not be written.
    #[error(
        "the study store {} cannot be written: it is read-only. Nothing was changed. Make it writable, or set \
         TUNEBOOK_STUDIES to a file that is",
        path.display()
    )]
    ReadOnly { path: PathBuf },
    /// There is no space left.
    #[error(
        "the disk that holds the study store {} is full. What was recorded before is safe; free some space and run the \
         cell again",
        path.display()
    )]
    DiskFull { path: PathBuf },
    /// The file cannot be opened or created.
    #[error("the study store {} cannot be opened: {reason}. Set TUNEBOOK_STUDIES to use another file", path.display())]
    CannotOpen { path: PathBuf, reason: String },
    /// The file is something else; `what` says what.
    #[error(
        "{} cannot be used as the study store: it is {what}. It was left as it is. TUNEBOOK_STUDIES must name another \
         file",
        path.display()
    )]
    NotAStore { path: PathBuf, what: String },
    /// A later version of Tunebook wrote the file.
    #[error(
        "the study store {} was written by a newer Tunebook (its version is {version}); update Tunebook to use it",
        path.display()
    )]
    Newer { path: PathBuf, version: usize },
    /// A study of this name was recorded, most often by another process a moment ago.
    #[error("there is a study `{study}` already; it may have just begun in another kernel. Run the cell again")]
    Exists { study: String },
    /// Another writer has the study's lease.
    #[error(
        "the study `{study}` is being run by {owner}. Wait for it to end, or interrupt it there. If that kernel has \
         died, the study is free again by itself"
    )]
    Busy { study: String, owner: String },
    /// The writer's lease of the study ended, so it may not write the study any more. `owner` has the lease now.
    #[error("this kernel stopped writing the study `{study}`: {}", lost(owner.as_deref()))]
    LeaseLost { study: String, owner: Option<String> },
    /// Another process kept the file locked for longer than ten seconds.
    #[error("the study store {} stayed locked by another process; try again", path.display())]
    Locked { path: PathBuf },
    /// The file was moved, removed, replaced or cut while it was written; `what` says which, and `kept` says where what
    /// was recorded is, and what to do.
    #[error("the study store {} {what} while a study was written to it, so the run was ended. {kept}", path.display())]
    FileLost { path: PathBuf, what: String, kept: String },
    /// Any other error of SQLite.
    #[error("the study store {}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    /// Something in the file cannot be understood.
    #[error("the study store {} holds something that cannot be read back: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
}

/// Why a lease ended, and what to do.
fn lost(owner: Option<&str>) -> String {
    match owner {
        Some(owner) => format!(
            "{owner} took the study over, because this kernel had shown no sign of life for some time. What was \
             recorded before is safe. Wait for that run to end, or interrupt it there, and run the cell again"
        ),
        None => "another kernel ran or deleted the study meanwhile. Run the cell again to go on".into(),
    }
}

/// What the functions of the store return.
pub type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Opens the store for reading and writing. Creates the file, and its folder, for their owner only.
    pub fn open(path: &Path) -> Result<Self> {
        identity::is_store(path)?;
        Self::open_or_create(path)
    }

    /// Opens the store to read it. None if there is none yet; then nothing is created. A store that cannot be written
    /// can be read all the same.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>> {
        if !identity::is_store(path)? {
            return Ok(None);
        }
        let opened = match Self::open_or_create(path) {
            Err(StoreError::ReadOnly { .. } | StoreError::CannotOpen { .. }) => Self::open_read_only(path),
            opened => opened,
        };
        opened.map(Some)
    }

    fn open_or_create(path: &Path) -> Result<Self> {
        let cannot = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::ReadOnly { path: path.into() }
            }
            std::io::ErrorKind::StorageFull => StoreError::DiskFull { path: path.into() },
            _ => StoreError::CannotOpen { path: path.into(), reason: error.to_string() },
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            create_private_folder(folder).map_err(cannot)?;
        }
        create_private_file(path).map_err(cannot)?;
        let sql = |error| classify(path, error);
        // Absolute: SQLite takes names such as `:memory:` for something else than a file.
        let absolute = std::path::absolute(path).map_err(cannot)?;
        let mut connection = Connection::open(&absolute).map_err(sql)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
        connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON").map_err(sql)?;
        // The order matters: see the module `identity`.
        schema::migrate(path, &mut connection)?;
        set_journal_mode(&connection, if on_network_file_system(path) { "DELETE" } else { "WAL" }).map_err(sql)?;
        Ok(Self { connection, path: path.into(), place: Place::of(absolute) })
    }

    /// Opens a store that this process may not write.
    fn open_read_only(path: &Path) -> Result<Self> {
        let open = |parameters: &str| -> rusqlite::Result<Connection> {
            let connection = identity::open_read_only(path, parameters)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // SQLite opens the file with the first statement.
            identity::Contents::of(&connection)?;
            Ok(connection)
        };
        // What is in the write-ahead log belongs to the store. SQLite can read it if its index (`-shm`) is there too.
        let connection = match identity::wal_content(path) {
            Some(_) => open("readonly_shm=1").or_else(|_| open("immutable=1")),
            None => open("immutable=1"),
        };
        let connection = connection.map_err(|error| classify(path, error))?;
        Ok(Self { connection, path: path.into(), place: None })
    }

    /// The file, as it was named when the store was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn sql(&self, error: rusqlite::Error) -> StoreError {
        classify(&self.path, error)
    }

    fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), what: what.into() }
    }
}

/// Sets the journal mode, which stays with the file. SQLite does not wait here for other connections that use the file
/// (two processes that create it at once), so this does.
fn set_journal_mode(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        let set = connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get::<_, String>(0));
        let busy = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if !set.as_ref().is_err_and(busy) || Instant::now() > deadline {
            return set.map(drop);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The error of this crate for an error of SQLite.
fn classify(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path },
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::CannotOpen { path, reason: error.to_string() }
        }
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path, what: identity::NOT_A_DATABASE.into() },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, what: error.to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { path },
        _ => StoreError::Sqlite { path, source: error },
    }
}

/// The environment variable that names the file of the store.
pub const STUDIES: &str = "TUNEBOOK_STUDIES";

/// The path of the store: the value of `TUNEBOOK_STUDIES`, or else `.tunebook/studies.db` in the current folder.
pub fn default_store() -> PathBuf {
    let named = std::env::var_os(STUDIES).filter(|path| !path.is_empty());
    named.map_or_else(|| default_store_in(Path::new("")), PathBuf::from)
}

/// The path of the store in a folder, unless `TUNEBOOK_STUDIES` names another one.
pub fn default_store_in(folder: &Path) -> PathBuf {
    folder.join(".tunebook/studies.db")
}

/// The absolute path of the folder for the checkpoints and logs of a study's trials, beside the store. In it, the
/// folder of each trial has the number of the trial as its name.
pub fn trials_folder(store: &Path, study: &str) -> Result<PathBuf> {
    let folder = store.parent().unwrap_or(store);
    let absolute = match folder.as_os_str().is_empty() {
        true => std::env::current_dir(),
        false => std::path::absolute(folder),
    };
    let cannot = |error: std::io::Error| StoreError::CannotOpen { path: store.into(), reason: error.to_string() };
    Ok(absolute.map_err(cannot)?.join("trials").join(study))
}

/// The time in seconds since 1970 (Unix time).
pub fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
