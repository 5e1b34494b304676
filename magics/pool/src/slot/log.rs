//! The log of a trial: what it prints, in the file `log.txt` of its folder, up to a limit.

use parking_lot::Mutex;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// How many bytes of a log are kept.
const LIMIT: usize = 10 << 20;

/// An open log. Clones write to the same file.
#[derive(Clone)]
pub(super) struct Log {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    file: File,
    written: usize,
    last_line: String,
    /// The line in which an allocator says that memory ran out.
    allocator: Option<String>,
}

impl Log {
    /// Creates the trial's folder and an empty log in it. Only their owner can read them.
    pub(super) fn create(directory: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(directory.join("log.txt"))?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { file, written: 0, last_line: String::new(), allocator: None })) })
    }

    /// Appends a line. If that fails, because the disk is full for example, the trial goes on without.
    pub(super) fn line(&self, line: &str) {
        let mut inner = self.inner.lock();
        if !line.trim().is_empty() {
            inner.last_line = line.trim().chars().take(300).collect();
        }
        // Rust's allocator, and C++ without a handler, end the process.
        if (line.contains("memory allocation of ") && line.contains("failed")) || line.contains("bad_alloc") {
            inner.allocator = Some(inner.last_line.clone());
        }
        if inner.written > LIMIT {
            return;
        }
        inner.written += line.len() + 1;
        let cut = if inner.written > LIMIT { "\n[cut here: the log has reached 10 MiB]" } else { "" };
        let _ = writeln!(inner.file, "{line}{cut}");
    }

    /// The line in which an allocator says that memory ran out. A backtrace may follow it.
    pub(super) fn out_of_memory(&self) -> Option<String> {
        self.inner.lock().allocator.clone()
    }

    /// The last line that is not blank. It often names the error.
    pub(super) fn last_line(&self) -> Option<String> {
        let inner = self.inner.lock();
        (!inner.last_line.is_empty()).then(|| inner.last_line.clone())
    }
}
