//! Reads files of data sets. Each file is recorded with its checksum, so that a study knows which data it used.

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tunebook_study::protocol::DataSource;

/// A file that was changed more seconds ago than this has a time that a later change does not have.
const SETTLED: i64 = 2;

thread_local! {
    static RECORDED: RefCell<Vec<(DataSource, Option<FileState>)>> = const { RefCell::new(vec![]) };
}

/// What changes when a file is written or replaced. The time of its last change (ctime) cannot be set by programs, so
/// that a copy that keeps its old date is seen too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    length: u64,
    inode: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    /// The state of a file, or None if there is no such file.
    pub fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        let (written, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Some(Self { length: file.len(), inode: file.ino(), written, changed })
    }

    /// The state of a file that is about to be read. None if it was changed only just now: a second change could then
    /// have the same time, because the clocks of file systems tick slowly.
    fn settled(path: &Path) -> Option<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
        Self::of(path).filter(|state| now - state.changed.0 > SETTLED)
    }
}

/// Forgets the files that this thread has read.
pub(crate) fn start_recording() {
    RECORDED.with_borrow_mut(Vec::clear);
}

/// Returns the files that this thread has read since [`start_recording`], each once.
pub(crate) fn recorded() -> Vec<DataSource> {
    recorded_states().into_iter().map(|(source, _)| source).collect()
}

/// Returns the same files, each with its state before it was read, if that tells whether it changes.
pub(crate) fn recorded_states() -> Vec<(DataSource, Option<FileState>)> {
    RECORDED.with_borrow(Vec::clone)
}

/// Reads a file, and unpacks it if its name ends in `.gz`. If `PATH` does not exist but `PATH.gz` does, it reads the
/// latter.
///
/// A relative path starts in the kernel's folder. The study records the path and the SHA-256 of the file. It fails if
/// the file cannot be read or unpacked.
///
/// ```no_run
/// # use tunebook_training::prelude::*;
/// let bytes: Vec<u8> = read("data/train.bin.gz")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let packed = path.with_file_name(format!("{}.gz", path.file_name().unwrap_or_default().to_string_lossy()));
    let path = if !path.exists() && packed.exists() { packed.as_path() } else { path };
    let bytes = read_recorded(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = vec![];
        let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
        decoder.read_to_end(&mut unpacked).with_context(|| format!("{} is not a whole gzip file", path.display()))?;
        return Ok(unpacked);
    }
    Ok(bytes)
}

/// Reads a file as it is, and records that this thread has read it.
pub(crate) fn read_recorded(path: &Path) -> Result<Vec<u8>> {
    let state = FileState::settled(path);
    let bytes = std::fs::read(path).with_context(|| format!("the file {} cannot be read", path.display()))?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    RECORDED.with_borrow_mut(|recorded| {
        recorded.retain(|(source, _)| source.path != path);
        recorded.push((DataSource { path, sha256 }, state));
    });
    Ok(bytes)
}

/// Returns the error for a data set that does not exist: it names the path, and `advice` says where to get the data.
///
/// ```
/// # use tunebook_training::prelude::*;
/// # use std::path::Path;
/// let error = missing(Path::new("wine.csv"), "download it from archive.ics.uci.edu");
/// ```
pub fn missing(path: &Path, advice: &str) -> anyhow::Error {
    anyhow!("there is no {}; {advice}", path.display())
}
