//! Removes from a node what nobody has used for long: mirrors of studies, contents in the store, and executables.
//!
//! Each slot holds a shared lock on a file beside its mirror for as long as it lives. The system releases it when the
//! slot ends, however it ends. So a mirror whose lock can be had alone is used by nobody. All this happens while the
//! store is locked, so no slot starts meanwhile. Where a file system has no locks, nothing is removed.

use super::known::Known;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What was not used for so long is removed.
const UNUSED: Duration = Duration::from_secs(14 * DAY.as_secs());
/// If the disk is full, what was not used for so long is removed. Some file systems of clusters have locks that hold on
/// one machine only, so the date must say too that nobody uses it.
const UNUSED_IF_FULL: Duration = Duration::from_secs(60 * 60);
/// A slot that runs notes this often that its files are used.
pub(crate) const NOTED: Duration = Duration::from_secs(10 * 60);
/// A checkpoint from which a trial can go on keeps its mirror for so long.
const CHECKPOINT: Duration = Duration::from_secs(90 * DAY.as_secs());
/// The name of the file from which a trial goes on.
const RESUME: &str = "resume.safetensors";
/// The folder of what is about to be deleted. To move something there takes no time.
const TRASH: &str = "trash";
/// The file whose date says when this was last done.
const CLEANED: &str = "cleaned";

/// What a cleaning spares.
pub(super) struct Cleaner<'a> {
    pub(super) base: &'a Path,
    pub(super) store: &'a Path,
    /// The mirror of the slot that cleans.
    pub(super) mirror: &'a Path,
    /// The executable of that slot.
    pub(super) executable: &'a Path,
    /// The files of the store that this slot needs.
    pub(super) needed: BTreeSet<PathBuf>,
}

/// Opens the file that is locked for a mirror.
pub(super) fn lock_of(mirror: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(mirror.with_extension("lock"))
}

/// The path of an executable that was copied.
pub(super) fn executable(base: &Path, sha256: &str) -> PathBuf {
    base.join(format!("tunebook-{sha256}"))
}

/// Whether a file was last written at least so long ago. A date in the future is now.
fn is_old(path: &Path, now: SystemTime, age: Duration) -> bool {
    let written = path.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| now.duration_since(written).unwrap_or_default() >= age)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Deletes what was moved to the trash, also by a slot that was killed before it could do so.
pub(super) fn empty_trash(base: &Path) {
    for path in entries(&base.join(TRASH)) {
        let _ = std::fs::remove_dir_all(path);
    }
}

impl Cleaner<'_> {
    /// Removes what was not used for long, once a day.
    pub(super) fn clean(&self, known: &mut Known) {
        let (cleaned, now) = (self.base.join(CLEANED), SystemTime::now());
        if !cleaned.exists() || is_old(&cleaned, now, DAY) {
            let _ = std::fs::write(&cleaned, "");
            self.remove(known, now, UNUSED);
        }
    }

    /// The disk is full: removes all that nobody uses now. Checkpoints and executables stay as long as otherwise.
    pub(super) fn make_room(&self, known: &mut Known, now: SystemTime) {
        self.remove(known, now, UNUSED_IF_FULL);
    }

    fn remove(&self, known: &mut Known, now: SystemTime, unused: Duration) {
        for mirror in entries(&self.base.join("mirror")).iter().flat_map(|origin| entries(origin)) {
            if mirror != self.mirror && is_folder(&mirror) {
                self.remove_mirror(&mirror, now, unused);
            }
        }
        if unused < UNUSED {
            // Their large files are links to those of the store, which take room until both are gone.
            empty_trash(self.base);
        }
        for path in entries(self.store) {
            let is_single = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1);
            if is_single && !self.needed.contains(&path) && known.unused(&path, seconds(now)) >= unused.as_secs() {
                known.remove(&path);
            }
        }
        for path in entries(self.base) {
            let name = path.file_name().and_then(|name| name.to_str()?.strip_prefix("tunebook-"));
            let is_executable =
                name.is_some_and(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()));
            if is_executable && path != self.executable && is_old(&path, now, UNUSED) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Moves a mirror to the trash, unless it is used.
    fn remove_mirror(&self, mirror: &Path, now: SystemTime, unused: Duration) {
        let lock = mirror.with_extension("lock");
        if !lock.exists() {
            // A version of Tunebook without these locks has made it, and may use it. From now on its age is known.
            drop(lock_of(mirror));
            return;
        }
        if !is_old(&lock, now, unused) {
            return;
        }
        let Ok(held) = lock_of(mirror) else { return };
        if held.try_lock().is_err() || has_checkpoint(mirror, now) {
            return;
        }
        let trash = self.base.join(TRASH);
        let unique = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let moved = std::fs::create_dir_all(&trash)
            .and_then(|()| std::fs::rename(mirror, trash.join(format!("{}-{unique}", std::process::id()))));
        if moved.is_ok() {
            for extension in ["json", "lock"] {
                let _ = std::fs::remove_file(mirror.with_extension(extension));
            }
        }
    }
}

/// Whether a trial of a mirror can go on from a checkpoint that is not too old.
fn has_checkpoint(mirror: &Path, now: SystemTime) -> bool {
    let mut folders = vec![mirror.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if is_folder(&path) {
                folders.push(path);
            } else if path.ends_with(RESUME) && !is_old(&path, now, CHECKPOINT) {
                return true;
            }
        }
    }
    false
}

/// A time as seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
