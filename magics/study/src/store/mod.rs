//! The store: one SQLite file that remembers every study. It is the only memory; kill anything at any point and a
//! study goes on from here.
//!
//! Readers need nothing but the file. A writer holds the study's [`lease`](Store::write): one at a time, lost when its
//! process dies.

pub mod files;
mod lease;
mod read;
mod schema;
mod write;

#[cfg(test)]
mod tests;

pub use read::{StudyRecord, WorkloadRecord};
pub use write::{NewTrial, StudyWriter};

use files::{create_private_file, create_private_folder, on_network_file_system};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An open store.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

/// Why the store cannot do what it was asked. All say which file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder may not be written.
    #[error("the study store {} cannot be written: it is read-only. Nothing was changed. Make it writable, or set TUNEBOOK_STUDIES to a file that is", path.display())]
    ReadOnly { path: PathBuf },
    /// No space left.
    #[error("the disk that holds the study store {} is full. What was recorded before is safe; free some space and run the cell again", path.display())]
    DiskFull { path: PathBuf },
    /// It cannot be opened or made.
    #[error("the study store {} cannot be opened: {reason}. Set TUNEBOOK_STUDIES to use another file", path.display())]
    CannotOpen { path: PathBuf, reason: String },
    /// Another program's file.
    #[error("{} is not a study store of Tunebook{detail}. Set TUNEBOOK_STUDIES to use another file", path.display())]
    NotAStore { path: PathBuf, detail: String },
    /// Written by a later version.
    #[error("the study store {} was written by a newer Tunebook (its version is {version}); update Tunebook to use it", path.display())]
    Newer { path: PathBuf, version: usize },
    /// Somebody else writes this study now.
    #[error(
        "the study `{study}` is being run by {owner}. Wait for it to end or interrupt it there; a dead owner's hold ends by itself"
    )]
    Busy { study: String, owner: String },
    /// Another process holds the file for too long.
    #[error("the study store {} stayed locked by another process; try again", path.display())]
    Locked { path: PathBuf },
    /// Anything else SQLite says.
    #[error("the study store {}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    /// A row that cannot be understood.
    #[error("the study store {} holds something that cannot be read back: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
}

/// Results of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Opens the store for reading and writing; makes the file and its folder, for their owner only.
    pub fn open(path: &Path) -> Result<Self> {
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
        let mut connection = Connection::open(path).map_err(|error| classify(path, error))?;
        let sql = |error| classify(path, error);
        connection.busy_timeout(Duration::from_secs(10)).map_err(sql)?;
        let journal = if on_network_file_system(path) { "DELETE" } else { "WAL" };
        let switched =
            connection.query_row(&format!("PRAGMA journal_mode = {journal}"), [], |row| row.get::<_, String>(0));
        switched.map_err(sql)?;
        connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON").map_err(sql)?;
        schema::migrate(&mut connection).map_err(|problem| schema_error(path, problem))?;
        Ok(Self { connection, path: path.into() })
    }

    /// Opens the store to look only; `None` where there is no file yet. Nothing is made or changed, so it works on a
    /// read-only store too.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        match Self::open(path) {
            Err(StoreError::ReadOnly { .. } | StoreError::CannotOpen { .. }) => {}
            opened => return opened.map(Some),
        }
        // SQLite cannot make the shared-memory file of a WAL beside a file that it may not write; `immutable` reads the
        // file as it is.
        let uri = format!("file:{}?immutable=1", path.display().to_string().replace('?', "%3f").replace('#', "%23"));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(uri, flags).map_err(|error| classify(path, error))?;
        Ok(Some(Self { connection, path: path.into() }))
    }

    /// Where it is.
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

fn schema_error(path: &Path, problem: schema::SchemaProblem) -> StoreError {
    match problem {
        schema::SchemaProblem::Sql(error) => classify(path, error),
        schema::SchemaProblem::NotOurs => StoreError::NotAStore { path: path.into(), detail: String::new() },
        schema::SchemaProblem::Newer(version) => StoreError::Newer { path: path.into(), version },
    }
}

/// SQLite's codes in the words of this crate.
fn classify(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path },
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::CannotOpen { path, reason: error.to_string() }
        }
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path, detail: " (no SQLite file)".into() },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, what: error.to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { path },
        _ => StoreError::Sqlite { path, source: error },
    }
}

/// The store that is used unless something else is named: what `TUNEBOOK_STUDIES` says, else `.tunebook/studies.db` in the
/// current folder.
pub fn default_store() -> PathBuf {
    std::env::var_os("TUNEBOOK_STUDIES").map_or_else(|| ".tunebook/studies.db".into(), PathBuf::from)
}

/// Where the trials of a study keep their checkpoints and logs, each in a folder named by its number: beside the store.
/// Absolute.
pub fn trials_folder(store: &Path, study: &str) -> Result<PathBuf> {
    let folder = store.parent().unwrap_or(store);
    let absolute = match folder.as_os_str().is_empty() {
        true => std::env::current_dir(),
        false => std::path::absolute(folder),
    };
    let cannot = |error: std::io::Error| StoreError::CannotOpen { path: store.into(), reason: error.to_string() };
    Ok(absolute.map_err(cannot)?.join("trials").join(study))
}

/// Seconds since 1970.
pub fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
