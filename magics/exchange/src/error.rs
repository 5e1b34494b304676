//! Why a file could not be read or written.

use std::path::PathBuf;

/// Why a study could not be read from a file, or written to one.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is something else.
    #[error("it is {0}")]
    NotOptuna(String),
    /// A part of the file breaks the rules of its format.
    #[error("{place}: {problem}")]
    Malformed { place: String, problem: String },
    /// Another program keeps the file locked.
    #[error("another program has kept it locked ({}) for more than {seconds} seconds", lock.display())]
    Locked { lock: PathBuf, seconds: u64 },
    /// The file has a study of that name already.
    #[error("it holds a study `{0}` already")]
    HasStudy(String),
    /// Any other error of SQLite.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The writer of Parquet refused.
    #[error("{0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The writer of CSV refused.
    #[error("{0}")]
    Csv(#[from] csv::Error),
}

impl ExchangeError {
    pub(crate) fn malformed(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { place: place.into(), problem: problem.into() }
    }
}
