//! What a trial prints: kept in its folder, up to a limit.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Bytes of a log that are kept.
const LIMIT: usize = 10 << 20;

/// An open log; clones write to the same file.
#[derive(Clone)]
pub(super) struct Log {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    file: File,
    written: usize,
    last_line: String,
}

impl Log {
    /// Makes the trial's folder, for its owner only, and an empty log in it.
    pub(super) fn create(directory: &Path) -> std::io::Result<Self> {
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        folder.create(directory)?;
        let file = options.open(directory.join("log.txt"))?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { file, written: 0, last_line: String::new() })) })
    }

    /// Adds a line. A log that cannot be written (full disk) is no reason to end a trial.
    pub(super) fn line(&self, line: &str) {
        let Ok(mut inner) = self.inner.lock() else { return };
        if !line.trim().is_empty() {
            inner.last_line = line.trim().chars().take(300).collect();
        }
        if inner.written > LIMIT {
            return;
        }
        inner.written += line.len() + 1;
        let cut = if inner.written > LIMIT { "\n[cut here: the log has reached 10 MiB]" } else { "" };
        let _ = writeln!(inner.file, "{line}{cut}");
    }

    /// The last line that says something; it often names the error.
    pub(super) fn last_line(&self) -> Option<String> {
        let inner = self.inner.lock().ok()?;
        (!inner.last_line.is_empty()).then(|| inner.last_line.clone())
    }
}
