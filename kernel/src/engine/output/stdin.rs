//! The standard input of cells. A program does not announce that it reads a line. So `/proc` is watched for a thread of
//! the running cell that waits in `read` on file descriptor 0; then the user is asked for a line.

use super::Cell;
use parking_lot::Mutex;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The time between two looks at `/proc`.
const INTERVAL: Duration = Duration::from_millis(40);

/// What is known about the next line of input. The forwarder of output sets it.
#[derive(Default)]
pub struct NextInput {
    /// The cell that runs.
    pub cell: Option<Arc<dyn Cell>>,
    /// The prompt that the cell announced in evcxr's convention, and whether the answer is a password.
    pub prompt: Option<(String, bool)>,
    /// The unfinished line that was printed last and is not shown yet: the prompt, if the cell reads a line now.
    pub line: Option<String>,
}

/// The pipe that is the standard input of cells.
pub struct Stdin {
    /// The end from which cells read. It is kept here so that the pipe can be opened again for writing.
    reader: File,
    /// The only end for writing. While there is none, whoever reads is at the end of the input.
    writer: Mutex<Option<File>>,
}

impl Stdin {
    /// The pipe of which these are the ends.
    pub fn new(reader: File, writer: File) -> Self {
        Self { reader, writer: Mutex::new(Some(writer)) }
    }

    /// Ends the input, or with `can_ask` lets it go on.
    pub fn set(&self, can_ask: bool) {
        let mut writer = self.writer.lock();
        match can_ask {
            true if writer.is_some() => {}
            true => *writer = File::options().write(true).open(format!("/dev/fd/{}", self.reader.as_raw_fd())).ok(),
            false => *writer = None,
        }
    }

    /// Gives a line to whoever reads, or without a line ends the input.
    fn answer(&self, line: Option<String>) {
        match (line, &mut *self.writer.lock()) {
            // This fails if no process of cells is left; then nobody reads.
            (Some(line), Some(writer)) => drop(writer.write_all(format!("{line}\n").as_bytes())),
            (Some(_), None) => {}
            (None, writer) => *writer = None,
        }
    }
}

/// Watches the process that runs cells, and answers its reads from standard input. `running` is the id of that process,
/// or 0 while no code runs.
pub fn watch(stdin: Arc<Stdin>, running: Arc<AtomicI32>, next: Arc<Mutex<NextInput>>) {
    std::thread::spawn(move || {
        let mut answered = None;
        loop {
            std::thread::sleep(INTERVAL);
            let pid = running.load(Ordering::SeqCst);
            let waits = (pid != 0).then(|| waits_for_input(pid)).flatten();
            // A thread that was just answered takes a moment until it leaves `read`.
            if waits.is_none() || waits == answered {
                continue;
            }
            let (cell, prompt, printed) = {
                let mut next = next.lock();
                (next.cell.clone(), next.prompt.take(), next.line.take())
            };
            let Some(cell) = cell else { continue };
            let (prompt, password) = prompt.or(printed.clone().map(|line| (line, false))).unwrap_or_default();
            let given_up = || running.load(Ordering::SeqCst) != pid || waits_for_input(pid) != waits;
            let line = cell.input(&prompt, password, &given_up);
            if let (None, Some(printed)) = (&line, printed) {
                cell.text(&printed, false);
            }
            if given_up() {
                continue;
            }
            answered = waits;
            // The cell was interrupted while it waited. The end of the input would let it go on until it is ended.
            if line.is_none() && cell.takes_input() {
                continue;
            }
            stdin.answer(line);
        }
    });
}

/// The thread of a process that waits for standard input, and the number of times that it has waited for anything. The
/// number tells one wait from the next one of the same thread.
#[cfg(target_os = "linux")]
fn waits_for_input(pid: i32) -> Option<(PathBuf, u64)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let calls = [nix::libc::SYS_read, nix::libc::SYS_readv];
    tasks.map(|task| task.path()).find_map(|task| {
        let call = std::fs::read_to_string(task.join("syscall")).ok()?;
        let mut words = call.split(' ');
        let number: i64 = words.next()?.parse().ok()?;
        if !calls.contains(&number) || words.next() != Some("0x0") {
            return None;
        }
        let status = std::fs::read_to_string(task.join("status")).ok()?;
        let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((task, waits.trim().parse().ok()?))
    })
}

/// Other systems do not show this. There only `tunebook::input` asks for a line.
#[cfg(not(target_os = "linux"))]
fn waits_for_input(_: i32) -> Option<(PathBuf, u64)> {
    None
}
