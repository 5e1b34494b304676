//! The log of a trial: what it prints, in the file `log.txt` of its folder, up to a limit.

use parking_lot::Mutex;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// How many bytes of a log are kept.
const LIMIT: usize = 10 << 20;

/// The line between the attempts of a trial.
const AGAIN: &str = "[tunebook: the trial runs again]";

/// What allocators, libtorch, Python and other runtimes say when memory runs out, in small letters.
const OUT_OF_MEMORY: [&str; 6] = [
    "out of memory",
    "memoryerror",
    "bad_alloc",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
];
/// So many lines may follow it, as a backtrace. A program that reports it earlier has gone on.
const BACKTRACE: usize = 200;

/// An open log. Clones write to the same file.
#[derive(Clone)]
pub(super) struct Log {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    file: File,
    written: usize,
    last_line: String,
    /// The last line of standard error.
    last_error: String,
    /// The line that says that memory ran out, and the number of lines since then.
    out_of_memory: Option<(String, usize)>,
}

impl Log {
    /// Creates the trial's folder and a log in it. Only their owner can read them. The log of an earlier attempt of the
    /// trial is continued.
    pub(super) fn create(directory: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(directory.join("log.txt"))?;
        let mut written = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if (1..=LIMIT).contains(&written) {
            writeln!(file, "{AGAIN}")?;
            written += AGAIN.len() + 1;
        }
        let inner = Inner { file, written, last_line: String::new(), last_error: String::new(), out_of_memory: None };
        Ok(Self { inner: Arc::new(Mutex::new(inner)) })
    }

    /// Appends a line of standard error.
    pub(super) fn error_line(&self, line: &str) {
        self.line(line);
        if !line.trim().is_empty() {
            self.inner.lock().last_error = beginning(line);
        }
    }

    /// Appends a line. If that fails, because the disk is full for example, the trial goes on without.
    pub(super) fn line(&self, line: &str) {
        let mut inner = self.inner.lock();
        if !line.trim().is_empty() {
            inner.last_line = beginning(line);
        }
        let small = line.to_lowercase();
        let of_rust = small.contains("memory allocation of ") && small.contains("failed");
        if of_rust || OUT_OF_MEMORY.iter().any(|text| small.contains(text)) {
            inner.out_of_memory = Some((inner.last_line.clone(), 0));
        } else if let Some((_, since)) = &mut inner.out_of_memory {
            *since += 1;
        }
        if inner.written > LIMIT {
            return;
        }
        inner.written += line.len() + 1;
        let cut = if inner.written > LIMIT { "\n[cut here: the log has reached 10 MiB]" } else { "" };
        let _ = writeln!(inner.file, "{line}{cut}");
    }

    /// The line near the end that says that memory ran out.
    pub(super) fn out_of_memory(&self) -> Option<String> {
        let inner = self.inner.lock();
        inner.out_of_memory.as_ref().filter(|(_, since)| *since <= BACKTRACE).map(|(line, _)| line.clone())
    }

    /// The line that most likely names the error: the last one of standard error, or else the last one of all, blank
    /// ones aside. The order of two streams is not known, so a line of standard output may come after the error.
    pub(super) fn last_line(&self) -> Option<String> {
        let inner = self.inner.lock();
        [&inner.last_error, &inner.last_line].into_iter().find(|line| !line.is_empty()).cloned()
    }
}

/// As much of a line as a reason quotes.
fn beginning(line: &str) -> String {
    line.trim().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_runs_again_continues_its_log_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1/log.txt");
        Log::create(&folder.path().join("1")).unwrap().line("first");
        Log::create(&folder.path().join("1")).unwrap().line("second");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("first\n{AGAIN}\nsecond\n"));
        std::fs::write(&path, vec![b'x'; LIMIT + 1]).unwrap();
        Log::create(&folder.path().join("1")).unwrap().line("third");
        assert_eq!(std::fs::metadata(&path).unwrap().len() as usize, LIMIT + 1);
    }
}
