//! Loads and runs what evcxr compiled, one cell after the other, each with a snapshot of the process behind it.

#![allow(unsafe_code)] // Loads the user's code and calls it; forks a process that has one thread.

use super::COMPLETE;
use libloading::Library;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2, read};
use std::ffi::c_void;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Runs cells until standard input closes. `takeover`: what a snapshot says when it takes over.
pub(super) fn run(takeover: &str) -> ! {
    super::end_with_parent();
    // Whoever interrupts a cell sends it; between cells it waits, and is forgotten.
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGUSR1);
    let _ = interrupts.thread_block();
    let supervisor = getppid();
    let mut variables: *mut c_void = std::ptr::null_mut();
    while let Some(line) = command() {
        let mut words = line.split(' ');
        let (Some("LOAD_AND_RUN"), Some(path), Some(name)) = (words.next(), words.next(), words.next()) else {
            eprintln!("not understood: {line}");
            std::process::exit(99);
        };
        let snapshot = match Snapshot::take(supervisor) {
            Taken::Over => {
                say(format!("{takeover}{}\n", getpid()).as_bytes());
                continue;
            }
            Taken::Snapshot(snapshot) => Some(snapshot),
            Taken::Impossible => None,
        };
        // SAFETY: an ignored signal is no longer pending; the disposition is the default one outside of these two lines.
        unsafe {
            let _ = signal(Signal::SIGUSR1, SigHandler::SigIgn);
            let _ = signal(Signal::SIGUSR1, SigHandler::SigDfl);
        }
        let _ = interrupts.thread_unblock();
        // SAFETY: evcxr compiled it for this call, with this signature, and to be handed what the last one returned.
        let ran = unsafe { load_and_run(path, name, variables) };
        let _ = interrupts.thread_block();
        drop(snapshot);
        match ran {
            Ok(after) => variables = after,
            Err(error) => {
                eprintln!("{path} cannot be loaded: {error}");
                std::process::exit(99);
            }
        }
        say(COMPLETE);
    }
    std::process::exit(0)
}

/// Runs a function of a library on the variables; gives them back. The library stays loaded for as long as the process lives: its
/// functions are called by later ones.
unsafe fn load_and_run(path: &str, name: &str, variables: *mut c_void) -> Result<*mut c_void, libloading::Error> {
    // SAFETY: the caller's.
    unsafe {
        let library = Library::new(path)?;
        let run = *library.get::<extern "C" fn(*mut c_void) -> *mut c_void>(name.as_bytes())?;
        std::mem::forget(library);
        Ok(run(variables))
    }
}

/// The next line of standard input, byte by byte: what is read ahead here would be missing to a cell that reads input, and stand
/// twice in a snapshot.
fn command() -> Option<String> {
    let (mut line, mut byte) = (vec![], [0]);
    loop {
        match read(std::io::stdin(), &mut byte) {
            Ok(0) => return None,
            Ok(_) if byte[0] == b'\n' => return String::from_utf8(line).ok(),
            Ok(_) => line.push(byte[0]),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn say(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A paused copy of this process. Dropping it ends it.
struct Snapshot {
    pid: Pid,
    /// Closes with the process that runs the cell, however it ends; that wakes the copy.
    _alive: OwnedFd,
}

enum Taken {
    /// It waits.
    Snapshot(Snapshot),
    /// This process is the copy, and the one that ran the cell is dead.
    Over,
    /// There are other threads, or no process could be made.
    Impossible,
}

impl Snapshot {
    fn take(supervisor: Pid) -> Taken {
        if threads() != Some(1) {
            return Taken::Impossible;
        }
        let Ok((waits, alive)) = pipe2(nix::fcntl::OFlag::O_CLOEXEC) else { return Taken::Impossible };
        let runner = getpid();
        // SAFETY: this process has one thread, so no lock of another one is copied.
        match unsafe { fork() } {
            Err(_) => Taken::Impossible,
            Ok(ForkResult::Parent { child }) => Taken::Snapshot(Snapshot { pid: child, _alive: alive }),
            Ok(ForkResult::Child) => {
                drop(alive);
                let mut nothing = [0];
                while read(&waits, &mut nothing) == Err(nix::errno::Errno::EINTR) {}
                // The files of a dying process close a moment before its children are given away.
                let deadline = Instant::now() + Duration::from_secs(5);
                while getppid() == runner && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_micros(200));
                }
                super::end_with_parent();
                if getppid() != supervisor {
                    // The supervisor is gone as well: nobody would see what runs here.
                    // SAFETY: ends the copy without running what the original registered for its own end.
                    unsafe { nix::libc::_exit(0) };
                }
                Taken::Over
            }
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// How many threads this process has; `None` where that is not known.
fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}
