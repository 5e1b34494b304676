//! Reading files: what was read is recorded with its checksum, and a missing file says where to get it.

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use tunebook_study::protocol::DataSource;

thread_local! {
    static READ: RefCell<Vec<DataSource>> = const { RefCell::new(vec![]) };
}

/// Forgets what this thread has read so far.
pub(crate) fn begin_to_record() {
    READ.with_borrow_mut(Vec::clear);
}

/// What this thread has read since, each file once.
pub(crate) fn recorded() -> Vec<DataSource> {
    READ.with_borrow(Vec::clone)
}

/// The bytes of a file; one that ends in `.gz` is unpacked. Where `path` is missing and `path.gz` is there, that is read.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let packed = path.with_file_name(format!("{}.gz", path.file_name().unwrap_or_default().to_string_lossy()));
    let path = if !path.exists() && packed.exists() { packed.as_path() } else { path };
    let bytes = std::fs::read(path).with_context(|| format!("the file {} cannot be read", path.display()))?;
    record(path, &bytes);
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = vec![];
        let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
        decoder.read_to_end(&mut unpacked).with_context(|| format!("{} is no whole gzip file", path.display()))?;
        return Ok(unpacked);
    }
    Ok(bytes)
}

/// Notes that a file was read.
pub(super) fn record(path: &Path, bytes: &[u8]) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    READ.with_borrow_mut(|read| {
        read.retain(|source| source.path != path);
        read.push(DataSource { path, sha256 });
    });
}

/// The error for a data set that is not there: which file, and where to get it.
pub fn missing(path: &Path, advice: &str) -> anyhow::Error {
    anyhow!("there is no {}; {advice}", path.display())
}
