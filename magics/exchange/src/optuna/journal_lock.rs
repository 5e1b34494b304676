//! The lock of a journal: a link beside it that exists while somebody writes. Optuna's default lock is the same.

use crate::{ExchangeError, Result};
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// A lock that was not renewed for so long is left from a process that died. Optuna takes it over too.
const ABANDONED: Duration = Duration::from_secs(30);
/// A little longer than the time after which a lock counts as abandoned.
const PATIENCE: Duration = Duration::from_secs(40);

/// The lock, until it is dropped.
pub(super) struct JournalLock(PathBuf);

impl JournalLock {
    pub(super) fn take(journal: &Path) -> Result<Self> {
        let mut lock: OsString = journal.into();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let (started, mut wait) = (Instant::now(), Duration::from_millis(1));
        loop {
            match symlink(journal, &lock) {
                Ok(()) => return Ok(Self(lock)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            let changed = fs::symlink_metadata(&lock).and_then(|there| there.modified()).ok();
            let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                remove(&lock);
                continue;
            }
            if started.elapsed() > PATIENCE {
                return Err(ExchangeError::Locked { lock, seconds: PATIENCE.as_secs() });
            }
            std::thread::sleep(wait);
            wait = (2 * wait).min(Duration::from_secs(1));
        }
    }
}

/// Renames the lock before it is removed, as Optuna does, so that of two processes only one removes it.
fn remove(lock: &Path) {
    let mut renamed: OsString = lock.into();
    renamed.push(format!("{}.rename", uuid::Uuid::new_v4()));
    if fs::rename(lock, &renamed).is_ok() {
        let _ = fs::remove_file(renamed);
    }
}

impl Drop for JournalLock {
    fn drop(&mut self) {
        remove(&self.0);
    }
}
