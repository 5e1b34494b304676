//! The process that runs the user's cells, its snapshots, and its supervisor.
//!
//! ```text
//! kernel ── evcxr ──► supervisor ──► runner ──► snapshot (while a cell runs)
//! ```
//!
//! Before each cell the [`cells`] runner forks a paused copy of itself. A cell that ends well drops it. Where the cell ends its
//! process (a segfault, an abort, `exit`, an overflow of the stack, an interrupt), the copy goes on in its place with every
//! variable as it was before the cell, and the [`supervisor`] tells evcxr and the kernel. A process with several threads cannot be
//! copied: fork carries one thread. Then a death costs the variables, and the kernel says which.
//!
//! When the supervisor dies, so do runner and snapshot.

mod cells;
mod relay;
mod supervisor;

/// Set for the runner itself: how its snapshots announce that they take over.
const RUNNER: &str = "TUNEBOOK_RUNNER";
/// What stands behind the token after a panic.
pub const PANICKED: &str = "-panicked";
/// What stands behind the token after a `?` that met an error.
pub const QUESTION_MARK: &str = "-question-mark";
/// What stands behind the token, before how it ended, when a snapshot has taken over from the process of a cell.
pub const ENDED: &str = "-ended ";
/// Begins the line that reports how a cell ended; the kernel chooses it anew each time, so that no user prints it by accident.
pub const TOKEN: &str = "TUNEBOOK_PANIC_TOKEN";

const RUNTIME: &str = "EVCXR_IS_RUNTIME";
const COMPLETE: &[u8] = b"EVCXR_EXECUTION_COMPLETE\n";
const PANIC: &[u8] = b"EVCXR_PANIC_NOTIFICATION\n";
const FAILED: &[u8] = b"EVCXR_ERROR_OCCURRED\n";

/// To be called first in `main`. Returns in the kernel and in slots; supervisors, runners and rustc wrappers end here.
pub fn hook() {
    if std::env::var_os(RUNTIME).is_some() {
        match std::env::var(RUNNER) {
            Ok(takeover) => cells::run(&takeover),
            Err(_) => supervisor::run(),
        }
    }
    evcxr::runtime_hook();
}

/// Ends the cell that runs in the runner of a supervisor. Between two cells nothing happens.
pub fn interrupt(supervisor: u32) -> bool {
    let pid = nix::unistd::Pid::from_raw(supervisor as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).is_ok()
}

/// Ends this process with its parent, however that ends: cells run only while somebody can see them.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
}
