//! The process that runs the user's cells, its snapshots, and its supervisor.
//!
//! ```text
//! kernel ── evcxr ──► supervisor ──► runner ──► snapshot (while a cell runs)
//! ```
//!
//! Before each cell the [`run_loop`] forks a paused copy of itself. A cell that ends well drops it. Where the cell ends its
//! process (a segfault, an abort, `exit`, an overflow of the stack, an interrupt) or panics, the copy goes on in its place with
//! every variable as it was before the cell, and the [`supervisor`] tells evcxr. A process with several threads cannot be
//! copied: fork carries one thread. Then a death costs the variables, and the kernel says which.
//!
//! Standard input, output and error of the runner are the user's ([`channels`]); what evcxr and the runner say to each other
//! goes over descriptors of its own, so that nothing that a cell prints can be taken for it.
//!
//! When the supervisor dies, so do runner and snapshot.

mod channels;
mod run_loop;
mod supervisor;

pub use channels::{Channels, END};

/// Set for the runner itself.
const RUNNER: &str = "TUNEBOOK_RUNNER";
const RUNTIME: &str = "EVCXR_IS_RUNTIME";

// What the runner says to evcxr, a line each.
const COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";
const PANIC: &str = "EVCXR_PANIC_NOTIFICATION";
const RESTORED: &str = "EVCXR_RESTORED";
const TIMES: &str = "EVCXR_TIMES";
/// And to the supervisor, before its process id: this process takes over from the one of a cell that died.
const TAKEOVER: &str = "TUNEBOOK_TAKEOVER";

/// To be called first in `main`. Returns in the kernel and in slots; supervisors, runners and rustc wrappers end here.
pub fn hook() {
    if std::env::var_os(RUNTIME).is_some() {
        match std::env::var_os(RUNNER) {
            Some(_) => run_loop::run(),
            None => supervisor::run(),
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
