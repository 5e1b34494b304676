//! The hashes of the files that were copied to a node, so that a large file is not read again at each start.

use super::cleaning::seconds;
use crate::hash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What changes when a file is written or replaced. The time of its last change (ctime) cannot be set by programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    inode: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let (written, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Some(Self { size: file.len(), inode: file.ino(), written, changed })
    }
}

/// What is known of a file. Other versions of Tunebook read and write it without the date.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    stamp: Stamp,
    /// When it was last needed, in seconds since 1970, or 0.
    #[serde(default)]
    used: u64,
}

impl State {
    fn of(stamp: Stamp) -> Self {
        Self { stamp, used: seconds(SystemTime::now()) }
    }
}

/// The files that were copied, with their hashes and the stamps for which these hold.
pub(super) struct Known {
    file: PathBuf,
    hashes: BTreeMap<PathBuf, (State, String)>,
}

impl Known {
    /// Reads what was written last. Without it, or if it cannot be read, every file is hashed again.
    pub(super) fn read(file: PathBuf) -> Self {
        let text = std::fs::read(&file).unwrap_or_default();
        Self { file, hashes: serde_json::from_slice(&text).unwrap_or_default() }
    }

    /// The hash of a file that is needed now. None if there is no such file, or it cannot be read.
    pub(super) fn hash(&mut self, path: &Path) -> Option<String> {
        let stamp = Stamp::of(path)?;
        if let Some((known, hash)) = self.hashes.get_mut(path)
            && known.stamp == stamp
        {
            *known = State::of(stamp);
            return Some(hash.clone());
        }
        let hash = hash(path).ok()?;
        self.hashes.insert(path.into(), (State::of(stamp), hash.clone()));
        Some(hash)
    }

    /// Remembers a file that was just copied.
    pub(super) fn copied(&mut self, path: &Path, sha256: &str) {
        if let Some(stamp) = Stamp::of(path) {
            self.hashes.insert(path.into(), (State::of(stamp), sha256.into()));
        }
    }

    /// For how many seconds a file was not needed. If that is not known, they are counted from now on.
    pub(super) fn unused(&mut self, path: &Path, now: u64) -> u64 {
        // This stamp is that of no file.
        let unknown = || (State { stamp: Stamp::default(), used: 0 }, String::new());
        let (state, _) = self.hashes.entry(path.into()).or_insert_with(unknown);
        if state.used == 0 {
            state.used = now;
        }
        now.saturating_sub(state.used)
    }

    /// Removes a file.
    pub(super) fn remove(&mut self, path: &Path) {
        if std::fs::remove_file(path).is_ok() {
            self.hashes.remove(path);
        }
    }

    /// Removes the files that were copied to a folder and are not to stay.
    pub(super) fn remove_from(&mut self, folder: &Path, stays: impl Fn(&Path) -> bool) {
        let gone = |path: &Path| path.starts_with(folder) && !stays(path);
        self.hashes.retain(|path, _| !gone(path) || (std::fs::remove_file(path).is_err() && path.exists()));
    }

    /// Writes it, so that it is whole whenever it is read. If that fails, files are hashed again.
    pub(super) fn write(&self) {
        let partial = self.file.with_extension("partial");
        let text = serde_json::to_vec(&self.hashes).unwrap_or_default();
        let _ = std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, &self.file));
    }
}
