//! The main loop of the runner: loads the library that evcxr compiled for a cell, and calls the code of the user in it.
//! Before each cell it takes a snapshot of the process.

// This file loads the user's code and calls it, forks a process that has one thread, and names file descriptors by
// number.
#![allow(unsafe_code)]

use super::channels::{ALL, COMMANDS, END, REPORTS, mark, opened};
use super::{COMPLETE, PANIC, TAKEOVER, TIMES};
use libloading::Library;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::time::TimeValLike;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, read};
use std::ffi::c_void;
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Runs cells until there are no more commands.
pub(super) fn run() -> ! {
    super::end_with_parent();
    // Programs that a cell starts must not inherit these file descriptors.
    for descriptor in ALL {
        // SAFETY: the descriptor is borrowed for this call only, which does not close it.
        let _ = fcntl(unsafe { BorrowedFd::borrow_raw(descriptor) }, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
    let (Ok(commands), Ok(reports)) = (opened(COMMANDS, false), opened(REPORTS, true)) else { std::process::exit(98) };
    // Read before the first cell, because a cell can change its environment.
    let mark = mark();
    let begin = |pid: Pid| [&mark[..], format!("{{\"begin\":{pid}}}\n").as_bytes()].concat();
    let end = [&mark[..], format!("{{\"{END}\":true}}\n").as_bytes()].concat();
    // The signal that interrupts a cell. It is blocked between two cells, and discarded before the next one.
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGUSR1);
    let _ = interrupts.thread_block();
    let supervisor = getppid();
    let mut variables: *mut c_void = std::ptr::null_mut();
    while let Some(line) = command(&commands) {
        let mut words = line.split(' ');
        let (Some("LOAD_AND_RUN"), Some(path), Some(name)) = (words.next(), words.next(), words.next()) else {
            eprintln!("unknown command: {line}");
            std::process::exit(99);
        };
        let snapshot = match Snapshot::take(supervisor) {
            Fork::Resumed => {
                end_of_cell(&end);
                report(&reports, &format!("{TAKEOVER} {}", getpid()));
                continue;
            }
            Fork::Taken(snapshot) => Some(snapshot),
            Fork::Impossible => None,
        };
        let _ = std::io::stdout().write_all(&begin(getpid())).and_then(|()| std::io::stdout().flush());
        // Ignoring a signal discards one that is pending.
        // SAFETY: no handler is installed, and the default disposition is restored at once.
        unsafe {
            let _ = signal(Signal::SIGUSR1, SigHandler::SigIgn);
            let _ = signal(Signal::SIGUSR1, SigHandler::SigDfl);
        }
        let _ = interrupts.thread_unblock();
        let clock = Clock::start();
        // SAFETY: evcxr compiled the function for this call: with this signature, and for the pointer that the last one
        // returned.
        let ran = unsafe { load_and_run(path, name, variables) };
        let times = clock.stop();
        let _ = interrupts.thread_block();
        let (after, panicked) = match ran {
            // The lowest bit of the pointer says that the code panicked.
            Ok(after) => (after.map_addr(|address| address & !1), after.addr() & 1 == 1),
            Err(error) => {
                eprintln!("{path} cannot be loaded: {error}");
                std::process::exit(99);
            }
        };
        if panicked {
            report(&reports, PANIC);
            if snapshot.is_some() {
                // The snapshot takes over, with every variable as before the cell. SAFETY: ends this process without
                // running exit handlers, which would act on state that the snapshot uses.
                unsafe { nix::libc::_exit(0) };
            }
        }
        variables = after;
        drop(snapshot);
        end_of_cell(&end);
        report(&reports, &times);
        report(&reports, COMPLETE);
    }
    std::process::exit(0)
}

/// Calls a function of a library with the pointer to the variables, and returns the pointer that it returns. The
/// library is never unloaded, because later cells call its functions.
///
/// # Safety
///
/// The function must have this signature and accept this pointer.
unsafe fn load_and_run(path: &str, name: &str, variables: *mut c_void) -> Result<*mut c_void, libloading::Error> {
    // SAFETY: the caller guarantees it.
    unsafe {
        let library = Library::new(path)?;
        let run = *library.get::<extern "C" fn(*mut c_void) -> *mut c_void>(name.as_bytes())?;
        std::mem::forget(library);
        Ok(run(variables))
    }
}

/// Reads the next command. It is read byte by byte, because a snapshot would have a copy of bytes that are read ahead.
fn command(commands: &File) -> Option<String> {
    let (mut line, mut byte) = (vec![], [0]);
    loop {
        match read(commands, &mut byte) {
            Ok(0) => return None,
            Ok(_) if byte[0] == b'\n' => return String::from_utf8(line).ok(),
            Ok(_) => line.push(byte[0]),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Sends a report. Ends the process if nobody reads reports any more.
fn report(mut reports: &File, line: &str) {
    if reports.write_all(format!("{line}\n").as_bytes()).is_err() {
        std::process::exit(0);
    }
}

/// Prints the message about the end of the cell on both streams.
fn end_of_cell(end: &[u8]) {
    let _ = std::io::stdout().write_all(end).and_then(|()| std::io::stdout().flush());
    let _ = std::io::stderr().write_all(end);
}

/// Measures the wall-clock and processor time of a cell.
struct Clock {
    wall: Instant,
    processor: [i64; 2],
}

impl Clock {
    fn start() -> Self {
        Self { processor: Self::processor(), wall: Instant::now() }
    }

    fn stop(self) -> String {
        let wall = self.wall.elapsed().as_nanos();
        let [user, system] = Self::processor();
        format!("{TIMES} {wall} {} {}", user - self.processor[0], system - self.processor[1])
    }

    /// The processor time of this process in user mode and in the operating system, in nanoseconds.
    fn processor() -> [i64; 2] {
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        usage.map_or([0; 2], |usage| [usage.user_time(), usage.system_time()].map(|time| time.num_nanoseconds()))
    }
}

/// A paused copy of this process. It is killed when this is dropped.
struct Snapshot {
    pid: Pid,
    /// The write end of a pipe from which the copy reads. It is closed when this process ends, for whatever reason, and
    /// then the copy goes on.
    _alive: OwnedFd,
}

/// The result of taking a snapshot, in either of the two processes.
enum Fork {
    /// This process is the original, and has a snapshot.
    Taken(Snapshot),
    /// This process is the copy, and the original has died.
    Resumed,
    /// There is no snapshot: this process has several threads, or fork failed.
    Impossible,
}

impl Snapshot {
    /// Forks a copy of this process, which waits until this process has ended.
    fn take(supervisor: Pid) -> Fork {
        if threads() != Some(1) {
            return Fork::Impossible;
        }
        let Ok((waits, alive)) = std::io::pipe() else { return Fork::Impossible };
        let runner = getpid();
        // SAFETY: this process has one thread, so the copy holds no lock of a thread that it lacks.
        match unsafe { fork() } {
            Err(_) => Fork::Impossible,
            Ok(ForkResult::Parent { child }) => Fork::Taken(Snapshot { pid: child, _alive: alive.into() }),
            Ok(ForkResult::Child) => {
                drop(alive);
                let mut nothing = [0];
                while read(&waits, &mut nothing) == Err(nix::errno::Errno::EINTR) {}
                // A dying process closes its files a moment before its children get another parent.
                let deadline = Instant::now() + Duration::from_secs(5);
                while getppid() == runner && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_micros(200));
                }
                super::end_with_parent();
                if getppid() != supervisor {
                    // The supervisor has died as well: no kernel would see the output of cells.
                    // SAFETY: ends the copy without running exit handlers that the original registered for itself.
                    unsafe { nix::libc::_exit(0) };
                }
                Fork::Resumed
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

/// The number of threads of this process; None if it cannot be determined.
#[cfg(not(target_os = "macos"))]
fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

#[cfg(target_os = "macos")]
fn threads() -> Option<usize> {
    use nix::libc::{PROC_PIDTASKINFO, proc_pidinfo, proc_taskinfo};
    let size = size_of::<proc_taskinfo>() as i32;
    let mut info = std::mem::MaybeUninit::<proc_taskinfo>::zeroed();
    // SAFETY: the call writes at most `size` bytes, and all bytes of the structure are plain numbers.
    let written = unsafe { proc_pidinfo(getpid().as_raw(), PROC_PIDTASKINFO, 0, info.as_mut_ptr().cast(), size) };
    // SAFETY: as above; it was zeroed.
    (written == size).then(|| unsafe { info.assume_init() }.pti_threadnum as usize)
}
