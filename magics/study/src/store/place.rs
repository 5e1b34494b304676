//! Notices that the file of an open store was moved, removed, replaced or cut, and keeps what was recorded.
//!
//! SQLite writes to the file that it has opened, wherever that is now: nothing fails, and what is written is lost with
//! the last connection, or is not where the next kernel looks for it. The file is never opened here, for the reason
//! that the module `identity` gives.

use super::files::{create_private_file, create_private_folder, on_network_file_system};
use super::{Result, Store, StoreError, now};
use std::cell::Cell;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a store was opened, and which file that was.
pub(super) struct Place {
    /// The absolute path: the current folder may change.
    path: PathBuf,
    /// The device and the inode of the file. None on a network file system, where inodes may change.
    file: Option<(u64, u64)>,
    /// How long the file was. SQLite shortens it only if it is compacted (`VACUUM`).
    length: Cell<u64>,
}

/// What is said of a store whose file was removed.
const AT_THE_SAME_PLACE: &str =
    "All that was recorded was written to a new file of this name. Run the cell again with `--resume`";

/// What became of the file.
enum Fate {
    /// There is no file of this name.
    Gone,
    /// Another file has its name.
    Replaced,
    /// It is shorter than it was.
    Cut,
}

impl Place {
    /// The place of a store that was just opened there.
    pub(super) fn of(path: PathBuf) -> Option<Self> {
        let found = std::fs::metadata(&path).ok()?;
        let file = (!on_network_file_system(&path)).then(|| inode(&found));
        Some(Self { path, file, length: Cell::new(found.len()) })
    }

    /// None if the file is as it was, or nothing is known of it.
    fn fate(&self) -> Option<Fate> {
        match std::fs::metadata(&self.path) {
            Ok(found) if self.file.is_some_and(|file| file != inode(&found)) => Some(Fate::Replaced),
            Ok(found) if found.len() < self.length.get() => Some(Fate::Cut),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Some(Fate::Gone),
            _ => None,
        }
    }

    /// Where the open file is now, if it was moved.
    fn moved_to(&self) -> Option<PathBuf> {
        let is_it = |found: Metadata| Some(inode(&found)) == self.file;
        std::fs::read_dir("/proc/self/fd").ok()?.find_map(|entry| {
            let descriptor = entry.ok()?.path();
            let path = std::fs::read_link(&descriptor).ok()?;
            let leads_to_it = |path: &Path| std::fs::metadata(path).is_ok_and(is_it);
            // The name that is told of a removed file leads nowhere.
            (leads_to_it(&descriptor) && leads_to_it(&path)).then_some(path)
        })
    }

    /// Removes a log that was left beside the name: it belongs to the old file. Whoever writes that still has it open.
    fn remove_logs(&self) {
        for ending in ["-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(self.with(ending));
        }
    }

    /// The path with an ending.
    fn with(&self, ending: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(ending);
        path.into()
    }
}

/// The device and the inode of a file, which no other file has at the same time.
fn inode(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

impl Store {
    /// An error if the file was moved, removed, replaced or cut since it was opened. It costs one look at the name.
    pub fn check_file(&self) -> Result<()> {
        match self.fate() {
            None => Ok(()),
            Some(fate) => Err(self.lost(&fate, "Run the cell again with `--resume`".into())),
        }
    }

    /// What became of the file. None if it is as it was, or nothing is known of it.
    fn fate(&self) -> Option<Fate> {
        let place = self.place.as_ref()?;
        place.fate().filter(|fate| !matches!(fate, Fate::Cut) || !self.was_compacted(place))
    }

    /// Whether the file is shorter because another program has compacted it (`VACUUM`): SQLite knows its new length.
    fn was_compacted(&self, place: &Place) -> bool {
        let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let known = self.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).ok();
        let known = known.and_then(|known| u64::try_from(known).ok()).unwrap_or(0);
        let found = std::fs::metadata(&place.path).map_or(0, |found| found.len());
        let was_compacted = found > 0 && (1..place.length.get()).contains(&known);
        if was_compacted {
            place.length.set(found);
        }
        was_compacted
    }

    /// An error as that of [`check_file`](Self::check_file), after which what was recorded is kept: all that the open
    /// file holds was copied to a new file, unless the file was only moved.
    pub(super) fn keep_file(&self) -> Result<()> {
        let (Some(place), Some(fate)) = (&self.place, self.fate()) else { return Ok(()) };
        let is_whole = !matches!(fate, Fate::Cut) && self.empty_log();
        let kept = match place.moved_to().filter(|_| is_whole) {
            Some(moved) => {
                // Another process may have made a file of this name meanwhile.
                if std::fs::symlink_metadata(&place.path).is_err() {
                    place.remove_logs();
                }
                let back = if matches!(fate, Fate::Gone) { "Move it back, or set" } else { "Set" };
                let moved = moved.display();
                format!(
                    "What was recorded is in {moved}. {back} TUNEBOOK_STUDIES to it, and run the cell again with \
                     `--resume`"
                )
            }
            None => match self.save(place, &fate) {
                Ok(saved) if saved == place.path => AT_THE_SAME_PLACE.into(),
                Ok(saved) => format!(
                    "What was recorded was written to {}. Set TUNEBOOK_STUDIES to it, and run the cell again with \
                     `--resume`",
                    saved.display()
                ),
                Err(error) => format!(
                    "What was recorded could not be saved: {error}. Make room for the store, or set TUNEBOOK_STUDIES \
                     to another file, and run the cell again"
                ),
            },
        };
        Err(self.lost(&fate, kept))
    }

    /// Moves all that is in the log beside the name to the file that is open. Returns whether that was possible. SQLite
    /// would read what is left in the log as a part of any file that has the name now.
    fn empty_log(&self) -> bool {
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy: rusqlite::Result<i64> = self.connection.query_row(checkpoint, [], |row| row.get(0));
        is_busy.is_ok_and(|is_busy| is_busy == 0)
    }

    fn lost(&self, fate: &Fate, kept: String) -> StoreError {
        let what = match fate {
            Fate::Gone => "was moved or removed",
            Fate::Replaced => "was replaced by another file",
            Fate::Cut => "was cut short",
        };
        StoreError::FileLost { path: self.path.clone(), what: what.into(), kept }
    }

    /// Writes all that the open file holds to a new file, which only its owner can read. Returns its path: that of the
    /// store if there is no file any more.
    fn save(&self, place: &Place, fate: &Fate) -> std::io::Result<PathBuf> {
        let saved = place.with(&format!(".saved-{:.0}", now() * 1e6));
        let name = saved.to_str().ok_or_else(|| std::io::Error::other("its name is not UTF-8"))?;
        if let Some(folder) = saved.parent() {
            create_private_folder(folder)?;
        }
        // SQLite writes to a file that is there only if it is empty.
        create_private_file(&saved)?;
        if let Err(error) = self.connection.execute("VACUUM INTO ?1", [name]) {
            let _ = std::fs::remove_file(&saved);
            return Err(std::io::Error::other(error));
        }
        if !matches!(fate, Fate::Gone) || std::fs::symlink_metadata(&place.path).is_ok() {
            return Ok(saved);
        }
        place.remove_logs();
        // A link replaces nothing, also if another process has made a file of this name meanwhile.
        match std::fs::hard_link(&saved, &place.path).and_then(|()| std::fs::remove_file(&saved)) {
            Ok(()) => Ok(place.path.clone()),
            Err(_) => Ok(saved),
        }
    }
}
