//! The process that runs cells (the runner), its snapshots, and its supervisor.
//!
//! ```text
//! kernel ── evcxr ──► supervisor ──► runner ──► snapshot (while a cell runs)
//! ```
//!
//! Before each cell the runner (`run_loop`) forks a paused copy of itself, the snapshot. After a cell that ends well
//! the snapshot is killed. If the cell panics, or ends its process (a segmentation fault, an abort, `exit`, a stack
//! overflow, an interrupt), the snapshot becomes the runner, with every variable as it was before the cell, and the
//! `supervisor` tells evcxr. A process with several threads has no snapshot, because fork copies one thread only. If
//! such a process ends, the variables are lost, and the error names them.
//!
//! Standard input, output and error of the runner belong to cells (`channels`). evcxr and the runner talk over file
//! descriptors of their own, so that no output of a cell can be taken for one of their messages.
//!
//! The runner and the snapshot die with the supervisor.

mod channels;
mod run_loop;
mod supervisor;

pub use channels::{Channels, END};

/// The environment variable that tells the runner from its supervisor.
const RUNNER: &str = "TUNEBOOK_RUNNER";
/// The environment variable that evcxr sets for the process that runs cells.
const RUNTIME: &str = "EVCXR_IS_RUNTIME";

// The reports of the runner to evcxr, one line each.
const COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";
const PANIC: &str = "EVCXR_PANIC_NOTIFICATION";
const RESTORED: &str = "EVCXR_RESTORED";
const TIMES: &str = "EVCXR_TIMES";
/// The report of a snapshot to the supervisor that it is the runner from here on. Its process id follows.
const TAKEOVER: &str = "TUNEBOOK_TAKEOVER";

/// Runs the supervisor, the runner or the wrapper around rustc, if this process was started as one of these, and then
/// does not return. Call it first in `main`.
pub fn hook() {
    if std::env::var_os(RUNTIME).is_some() {
        match std::env::var_os(RUNNER) {
            Some(_) => run_loop::run(),
            None => supervisor::run(),
        }
    }
    evcxr::runtime_hook();
}

/// Interrupts the cell that runs in the runner of this supervisor (a process id). Between two cells this does nothing.
pub fn interrupt(supervisor: u32) -> bool {
    let pid = nix::unistd::Pid::from_raw(supervisor as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).is_ok()
}

/// Has this process killed when its parent ends, for whatever reason: no cell goes on without a kernel.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
}
