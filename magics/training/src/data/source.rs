//! Reads files of data sets. Each file is recorded with its checksum, so that a study knows which data it used.

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use tunebook_study::protocol::DataSource;

thread_local! {
    static RECORDED: RefCell<Vec<DataSource>> = const { RefCell::new(vec![]) };
}

/// Forgets the files that this thread has read.
pub(crate) fn start_recording() {
    RECORDED.with_borrow_mut(Vec::clear);
}

/// Returns the files that this thread has read since [`start_recording`], each once.
pub(crate) fn recorded() -> Vec<DataSource> {
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
    let bytes = std::fs::read(path).with_context(|| format!("the file {} cannot be read", path.display()))?;
    record(path, &bytes);
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = vec![];
        let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
        decoder.read_to_end(&mut unpacked).with_context(|| format!("{} is not a whole gzip file", path.display()))?;
        return Ok(unpacked);
    }
    Ok(bytes)
}

/// Records that this thread has read a file with this content.
pub(super) fn record(path: &Path, content: &[u8]) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    RECORDED.with_borrow_mut(|recorded| {
        recorded.retain(|source| source.path != path);
        recorded.push(DataSource { path, sha256 });
    });
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
