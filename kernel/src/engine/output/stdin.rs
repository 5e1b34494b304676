//! Standard input of cells. A program that reads it does not say so: that the process waits in `read` on descriptor 0 is seen
//! in `/proc`, and then the user is asked.

use super::Cell;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(40);

/// Whom to ask, and what for.
#[derive(Default)]
pub struct State {
    /// The cell that runs.
    pub cell: Option<Arc<dyn Cell>>,
    /// What was printed as the prompt of the next line, and whether it must not be shown.
    pub prompt: Option<(String, bool)>,
    /// The beginning of a line that was printed last and is not shown yet: the prompt, if a line is read next.
    pub line: Option<String>,
}

/// Shared with the reader of standard output.
pub type Asking = Arc<Mutex<State>>;

/// Watches the process that runs cells, and writes the user's lines where it reads them.
pub fn watch(mut stdin: File, running: Arc<AtomicI32>, asking: Asking) {
    std::thread::spawn(move || {
        let mut answered = None;
        loop {
            std::thread::sleep(EVERY);
            let pid = running.load(Ordering::SeqCst);
            let waits = (pid != 0).then(|| waits_for_input(pid)).flatten();
            // It takes a moment to wake up with the last line.
            if waits.is_none() || waits == answered {
                continue;
            }
            let taken = asking.lock().map(|mut state| (state.cell.clone(), state.prompt.take(), state.line.take()));
            let Ok((Some(cell), prompt, printed)) = taken else { continue };
            let (prompt, password) = prompt.or(printed.clone().map(|line| (line, false))).unwrap_or_default();
            // Where nobody can be asked, the cell reads an empty line.
            let given_up = || running.load(Ordering::SeqCst) != pid || waits_for_input(pid) != waits;
            let line = cell.input(&prompt, password, &given_up);
            if let (None, Some(printed)) = (&line, printed) {
                cell.text(&printed, false);
            }
            if given_up() {
                continue;
            }
            answered = waits;
            if stdin.write_all(format!("{}\n", line.unwrap_or_default()).as_bytes()).is_err() {
                return;
            }
        }
    });
}

/// The thread of a process that waits for standard input, and how often it has waited for something: another number is another
/// wait.
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

/// Elsewhere it cannot be seen: `tunebook::input` asks all the same.
#[cfg(not(target_os = "linux"))]
fn waits_for_input(_: i32) -> Option<(PathBuf, u64)> {
    None
}
