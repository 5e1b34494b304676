//! Runs `cargo test` and takes the time of each test program.
//!
//! Cargo says on standard error which test program it starts next. That text goes through a pipe, so that the moments
//! can be noted. Standard output goes straight to the terminal.

use crate::times::{Row, Times};
use anyhow::{Context, Result, bail};
use std::io::{IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long to wait for the rest of standard error once cargo has ended. A program that a test left running can keep
/// the pipe open for ever.
const REST: Duration = Duration::from_secs(2);

/// Runs the tests. `test` is `cargo test` with its environment, `arguments` what the user adds to it.
pub fn run(times: &mut Times, test: &mut Command, arguments: &[String]) -> Result<()> {
    // Cargo sees a pipe and would not use colours. They are asked for with an option and not with CARGO_TERM_COLOR,
    // because the kernels under test would inherit the variable.
    let decides = arguments.iter().any(|argument| argument.starts_with("--color"));
    if std::io::stderr().is_terminal() && !decides && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        test.args(["--color", "always"]);
    }
    let clock = Arc::new(Mutex::new(Clock::start(Instant::now())));
    let mut child = test.args(arguments).stderr(Stdio::piped()).spawn().context("`cargo test` cannot be started")?;
    let stderr = child.stderr.take().context("`cargo test` has no standard error")?;
    let (ended, rest) = mpsc::channel::<()>();
    let of_reader = clock.clone();
    std::thread::spawn(move || {
        forward(stderr, std::io::stderr(), &of_reader);
        drop(ended);
    });
    let status = child.wait().context("`cargo test` cannot be waited for")?;
    // Nothing is ever sent: this returns when the reader has ended, or after the time limit.
    let _ = rest.recv_timeout(REST);
    let clock = std::mem::replace(&mut *lock(&clock), Clock::start(Instant::now()));
    times.extend(clock.end(Instant::now(), status.success()));
    if !status.success() {
        bail!("`cargo test` ended with {status}. The failed test stands above");
    }
    Ok(())
}

fn lock(clock: &Mutex<Clock>) -> std::sync::MutexGuard<'_, Clock> {
    clock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes on what cargo says as soon as it comes, and hands each whole line to the clock.
fn forward(mut from: impl Read, mut to: impl Write, clock: &Mutex<Clock>) {
    let (mut chunk, mut line) = ([0; 8192], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let bytes = &chunk[..count];
        let _ = to.write_all(bytes);
        for &byte in bytes {
            if byte == b'\n' {
                lock(clock).line(&without_colours(&String::from_utf8_lossy(&line)), Instant::now());
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// What runs now and since when, and what has ended.
struct Clock {
    since: Instant,
    part: String,
    is_test: bool,
    failed: bool,
    rows: Vec<Row>,
}

impl Clock {
    /// Cargo builds the tests first.
    fn start(now: Instant) -> Self {
        Self { since: now, part: "building the tests".into(), is_test: false, failed: false, rows: Vec::new() }
    }

    /// Takes a line of cargo's: the start of the next test program, or the failure of the one that runs.
    fn line(&mut self, line: &str, now: Instant) {
        if line.starts_with("error: test failed") || line.starts_with("error: doctest failed") {
            self.failed = true;
        }
        if let Some(program) = program(line) {
            self.finish(now);
            (self.part, self.is_test) = (program, true);
        }
    }

    fn finish(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.since);
        let part = std::mem::take(&mut self.part);
        self.rows.push(Row { part, took, failed: self.failed, is_test: self.is_test });
        (self.since, self.failed) = (now, false);
    }

    /// The rows of the table. If no program began, it was the build that failed.
    fn end(mut self, now: Instant, succeeded: bool) -> Vec<Row> {
        self.failed |= !succeeded && !self.is_test;
        self.finish(now);
        self.rows
    }
}

/// The name of the test program that cargo starts, if it says so in this line:
/// `     Running tests/wire.rs (target/release/deps/wire-0123)`,
/// `     Running unittests src/lib.rs (target/release/deps/tunebook_study-0123)` or `   Doc-tests tunebook_study`.
fn program(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("examples in the documentation of {name}"));
    }
    let (source, path) = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
    let Some(source) = source.strip_prefix("unittests ") else { return Some(source.into()) };
    let file = path.rsplit('/').next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    Some(format!("{name}, {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_the_time_until_the_next_one_starts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock::start(start);
        let said = [
            (1, "   Compiling tunebook-study v0.1.0"),
            (5, "    Finished `release` profile [optimized] target(s) in 5.0s"),
            (6, "\x1b[1m\x1b[92m     Running\x1b[0m unittests src/lib.rs (target/release/deps/tunebook_study-0a1b)"),
            (8, "     Running tests/wire.rs (/target/release/deps/wire-77ff)"),
            (20, "error: test failed, to rerun pass `-p tunebook-tests --test wire`"),
            (21, "   Doc-tests tunebook_study"),
        ];
        for (seconds, line) in said {
            clock.line(&without_colours(line), at(seconds));
        }
        let rows = clock.end(at(22), false);
        let rows: Vec<_> = rows.iter().map(|row| (row.part.as_str(), row.took.as_secs(), row.failed)).collect();
        assert_eq!(
            rows,
            [
                ("building the tests", 6, false),
                ("tunebook_study, src/lib.rs", 2, false),
                ("tests/wire.rs", 13, true),
                ("examples in the documentation of tunebook_study", 1, false),
            ]
        );
    }

    #[test]
    fn tests_that_do_not_compile_are_a_failed_build() {
        let start = Instant::now();
        let mut clock = Clock::start(start);
        clock.line("error: could not compile `tunebook-study` (lib) due to 1 previous error", start);
        let rows = clock.end(start + Duration::from_secs(3), false);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].failed && !rows[0].is_test);
    }

    #[test]
    fn a_line_is_recognized_however_its_bytes_arrive() {
        struct ByteByByte<'a>(&'a [u8]);
        impl Read for ByteByByte<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
                (buffer[0], self.0) = (*first, rest);
                Ok(1)
            }
        }
        let clock = Mutex::new(Clock::start(Instant::now()));
        let (line, mut shown) = (b"     Running tests/wire.rs (deps/wire-77ff)\n", Vec::new());
        forward(ByteByByte(line), &mut shown, &clock);
        assert_eq!(shown, line);
        assert_eq!(lock(&clock).part, "tests/wire.rs");
    }
}
