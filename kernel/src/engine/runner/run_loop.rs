//! Loads and runs what evcxr compiled, one cell after the other, each with a snapshot of the process behind it.

#![allow(unsafe_code)] // Loads the user's code and calls it; forks a process that has one thread; names descriptors by number.

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
    // Programs that a cell starts have nothing to do with these.
    for descriptor in ALL {
        // SAFETY: it is only asked about, and closes with a program that is started.
        let _ = fcntl(unsafe { BorrowedFd::borrow_raw(descriptor) }, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
    let (Ok(commands), Ok(reports)) = (opened(COMMANDS, false), opened(REPORTS, true)) else { std::process::exit(98) };
    // Made now: a cell can change its environment.
    let mark = mark();
    let begin = |pid: Pid| [&mark[..], format!("{{\"begin\":{pid}}}\n").as_bytes()].concat();
    let end = [&mark[..], format!("{{\"{END}\":true}}\n").as_bytes()].concat();
    // Whoever interrupts a cell sends it; between cells it waits, and is forgotten.
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGUSR1);
    let _ = interrupts.thread_block();
    let supervisor = getppid();
    let mut variables: *mut c_void = std::ptr::null_mut();
    while let Some(line) = command(&commands) {
        let mut words = line.split(' ');
        let (Some("LOAD_AND_RUN"), Some(path), Some(name)) = (words.next(), words.next(), words.next()) else {
            eprintln!("not understood: {line}");
            std::process::exit(99);
        };
        let snapshot = match Snapshot::take(supervisor) {
            Taken::Over => {
                end_of_cell(&end);
                say(&reports, &format!("{TAKEOVER} {}", getpid()));
                continue;
            }
            Taken::Snapshot(snapshot) => Some(snapshot),
            Taken::Impossible => None,
        };
        let _ = std::io::stdout().write_all(&begin(getpid())).and_then(|()| std::io::stdout().flush());
        // SAFETY: an ignored signal is no longer pending; the disposition is the default one outside of these two lines.
        unsafe {
            let _ = signal(Signal::SIGUSR1, SigHandler::SigIgn);
            let _ = signal(Signal::SIGUSR1, SigHandler::SigDfl);
        }
        let _ = interrupts.thread_unblock();
        let clock = Clock::start();
        // SAFETY: evcxr compiled it for this call, with this signature, and to be handed what the last one returned.
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
            say(&reports, PANIC);
            if snapshot.is_some() {
                // As after any other end of a cell's process, all is as it was before the cell.
                // SAFETY: ends this process without running what was registered for its end.
                unsafe { nix::libc::_exit(0) };
            }
        }
        variables = after;
        drop(snapshot);
        end_of_cell(&end);
        say(&reports, &times);
        say(&reports, COMPLETE);
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

/// The next command, byte by byte: what is read ahead here would stand twice in a snapshot.
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

fn say(mut reports: &File, line: &str) {
    if reports.write_all(format!("{line}\n").as_bytes()).is_err() {
        std::process::exit(0);
    }
}

/// Marks the end of the cell in what it printed.
fn end_of_cell(end: &[u8]) {
    let _ = std::io::stdout().write_all(end).and_then(|()| std::io::stdout().flush());
    let _ = std::io::stderr().write_all(end);
}

/// Wall clock and processor time of a cell.
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

    /// Nanoseconds of this process for the user and for the system.
    fn processor() -> [i64; 2] {
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        usage.map_or([0; 2], |usage| [usage.user_time(), usage.system_time()].map(|time| time.num_nanoseconds()))
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
        let Ok((waits, alive)) = std::io::pipe() else { return Taken::Impossible };
        let runner = getpid();
        // SAFETY: this process has one thread, so no lock of another one is copied.
        match unsafe { fork() } {
            Err(_) => Taken::Impossible,
            Ok(ForkResult::Parent { child }) => Taken::Snapshot(Snapshot { pid: child, _alive: alive.into() }),
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
