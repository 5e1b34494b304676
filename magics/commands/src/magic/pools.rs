//! The pools beyond this machine that `%pool` has added in this session.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tunebook_pool::{FarPool, SlotStatus};

/// The name under which the slots of this machine are listed.
pub const LOCAL: &str = "local";

/// Where trials run.
#[derive(Default)]
pub struct Pools {
    pub far: Vec<FarPool>,
    /// Whether no trial runs on this machine.
    pub without_local: bool,
    /// What the slots do, or did in the last sweep.
    pub status: Vec<SlotStatus>,
    /// The hashes of files, with the length and the time of change for which they hold.
    hashes: BTreeMap<PathBuf, (u64, Option<SystemTime>, String)>,
}

impl Pools {
    /// The hash of a file. It is computed again only if the file has changed.
    pub fn hash(&mut self, path: &Path) -> std::io::Result<String> {
        let metadata = std::fs::metadata(path)?;
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        if let Some((known, at, hash)) = self.hashes.get(path)
            && (*known, *at) == (length, modified)
        {
            return Ok(hash.clone());
        }
        let hash = tunebook_pool::hash(path)?;
        self.hashes.insert(path.into(), (length, modified, hash.clone()));
        Ok(hash)
    }
}
