//! Finds out which program a file belongs to before anything is written to it.
//!
//! SQLite writes even when it only reads: a connection recovers what a crashed program left, creates the files `-wal`
//! and `-shm` beside a database in WAL mode, and merges and removes them when it is closed. All of that would change a
//! file that is not ours. Therefore a file is examined through a connection that SQLite calls *immutable*: it reads the
//! main file alone, takes no lock, and creates nothing.
//!
//! Such a connection does not see what still lies in the write-ahead log (`-wal`). The main file of a store shows
//! nevertheless that it is one: a store is created in rollback mode and gets its application id there, before it is
//! switched to WAL mode, and the id never changes. Only the first versions of Tunebook switched first. Where one of
//! them was killed before SQLite merged the log, the id is in the log alone, and [`names_a_store`] looks for it there.
//!
//! The main file is never opened other than through SQLite. POSIX ends all locks that a process holds on a file as
//! soon as the process closes *any* descriptor of it, and without their locks connections that are open elsewhere in
//! this process could lose what they write. On the log there are no locks, so it can be read directly.

use super::{Result, StoreError, classify, schema};
use nix::unistd::{AccessFlags, access};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Marks a file as a study store (`PRAGMA application_id`): "Tune" in ASCII. It never changes.
pub(super) const APPLICATION_ID: i32 = 0x5475_6e65;

/// The tables that every version of a study store has.
const STORE_TABLES: [&str; 7] =
    ["studies", "definitions", "environments", "trials", "measurements", "leases", "results"];

/// Tables that the database of every version of Optuna has. A study store does not have the last two.
const OPTUNA_TABLES: [&str; 4] = ["studies", "trials", "trial_params", "version_info"];

/// What a file is that SQLite cannot read.
pub(super) const NOT_A_DATABASE: &str = "not a SQLite database";

/// What a database holds.
pub(super) enum Contents {
    /// Nothing: it has no tables, and no program has marked it.
    Nothing,
    /// A study store.
    Store {
        /// How many scripts of the schema it has been through (`PRAGMA user_version`).
        version: usize,
        /// Whether it has [`APPLICATION_ID`]; without it, it was recognized by its tables.
        marked: bool,
    },
    /// Something of another program, in words.
    Other(String),
}

impl Contents {
    /// Reads it from an open database.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
        let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
        if application == APPLICATION_ID {
            return Ok(Self::Store { version: usize::try_from(version).unwrap_or(0), marked: true });
        }
        let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
        let tables: BTreeSet<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let has_all = |names: &[&str]| names.iter().all(|name| tables.contains(*name));
        Ok(match (application, usize::try_from(version)) {
            (0, Ok(version @ 1..)) if has_all(&STORE_TABLES) => Self::Store { version, marked: false },
            (0, Ok(0)) if tables.is_empty() => Self::Nothing,
            _ if has_all(&OPTUNA_TABLES) => Self::Other("an Optuna study database, not Tunebook's".into()),
            _ if tables.is_empty() => Self::Other("a SQLite database of another program".into()),
            _ => {
                let some: Vec<&str> = tables.iter().map(String::as_str).take(5).collect();
                let more = if tables.len() > some.len() { ", …" } else { "" };
                Self::Other(format!("a SQLite database of another program (its tables: {}{more})", some.join(", ")))
            }
        })
    }
}

/// Whether there is a study store at a path. False if there is no file, or one without contents: a store may be created
/// there. An error if the file is something else or cannot be read. Writes nothing.
pub(super) fn is_store(path: &Path) -> Result<bool> {
    let cannot_open = |reason: String| StoreError::CannotOpen { path: path.into(), reason };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(cannot_open(error.to_string())),
    };
    if !metadata.is_file() {
        return Err(cannot_open(match metadata.is_dir() {
            true => {
                format!("it is a folder, and a file in it is needed, such as {}", path.join("studies.db").display())
            }
            false => "it is not a regular file".into(),
        }));
    }
    let other = |what: String| StoreError::NotAStore { path: path.into(), what };
    match metadata.len() {
        0 => return Ok(false),
        // No database is that short, but SQLite takes a file of one byte for an empty one.
        1..512 => return Err(other(NOT_A_DATABASE.into())),
        _ => access(path, AccessFlags::R_OK).map_err(|error| cannot_open(std::io::Error::from(error).to_string()))?,
    }
    let examine = || -> rusqlite::Result<Contents> {
        let connection = open_read_only(path, "immutable=1")?;
        // While another process moves pages from the log to the main file, the first page may tell of pages that are
        // not there yet. SQLite would call such a file corrupt; with this setting it reads what there is.
        connection.pragma_update(None, "writable_schema", true)?;
        Contents::of(&connection)
    };
    match examine().map_err(|error| classify(path, error))? {
        Contents::Store { version, .. } => schema::check_version(path, version).map(|_| true),
        Contents::Other(what) => Err(other(what)),
        Contents::Nothing => match wal_content(path) {
            None => Ok(false),
            Some(wal) if names_a_store(&wal).map_err(|error| cannot_open(error.to_string()))? => Ok(true),
            Some(_) => Err(other("a SQLite database that another program is writing".into())),
        },
    }
}

/// Opens a database that is there to read it, with parameters of SQLite's URIs. With `immutable=1`, nothing is written
/// beside it either.
pub fn open_read_only(path: &Path, parameters: &str) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file://");
    for byte in std::path::absolute(path).unwrap_or_else(|_| path.into()).as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(*byte as char),
            _ => uri += &format!("%{byte:02x}"),
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("{uri}?{parameters}"), flags)
}

/// The write-ahead log of a database, if there is one with contents. It lies beside the file that a link leads to.
pub fn wal_content(path: &Path) -> Option<PathBuf> {
    let mut wal = path.canonicalize().ok()?.into_os_string();
    wal.push("-wal");
    std::fs::metadata(&wal).is_ok_and(|metadata| metadata.len() > 0).then(|| wal.into())
}

/// Whether a write-ahead log holds a first page with [`APPLICATION_ID`]. It does not matter whether that page was
/// committed, since no other program writes this id.
///
/// The format (<https://sqlite.org/fileformat2.html#walformat>): a header of 32 bytes with the size of a page in bytes
/// 8 to 11, then frames, each a header of 24 bytes that begins with the number of the page, and the page. Numbers are
/// big-endian. The first page has the application id in bytes 68 to 71.
fn names_a_store(wal: &Path) -> std::io::Result<bool> {
    let mut wal = BufReader::new(File::open(wal)?);
    let mut header = [0; 32];
    if !read_whole(&mut wal, &mut header)? {
        return Ok(false);
    }
    let page_size = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let (mut frame, mut page) = ([0; 24], vec![0; page_size.clamp(512, 1 << 16) as usize]);
    while read_whole(&mut wal, &mut frame)? && read_whole(&mut wal, &mut page)? {
        if frame[..4] == 1_u32.to_be_bytes() && page[68..72] == APPLICATION_ID.to_be_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fills a buffer; false if less than that is left.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
