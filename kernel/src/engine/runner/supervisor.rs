//! The process between evcxr and the runner. It passes reports and interrupts on, and tells evcxr when a runner has
//! died.

use super::channels::{COMMANDS, END, REPORTS, USER_STDERR, USER_STDIN, USER_STDOUT, mark, opened};
use super::{COMPLETE, RESTORED, RUNNER, TAKEOVER};
use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Supervises a runner, and the snapshots that take over from it, until the last of them has ended.
pub(super) fn run() -> ! {
    // A snapshot whose runner has died becomes a child of this process, so that its end can be waited for.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
    // If the kernel is killed, a cell that never ends must end too.
    super::end_with_parent();
    let current = Arc::new(AtomicI32::new(0));
    pass_interrupts_on(current.clone());
    let (runner, reports) = match start() {
        Ok(started) => started,
        Err(error) => {
            eprintln!("the process of cells cannot be started: {error}");
            std::process::exit(1)
        }
    };
    current.store(runner.id() as i32, Ordering::SeqCst);
    let mut stdout = io::stdout().lock();
    // The pipe is closed when the last process that can report has ended without a snapshot.
    for line in BufReader::new(reports).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let passed = match line.strip_prefix(TAKEOVER).and_then(|pid| pid.trim().parse().ok()) {
            Some(snapshot) => {
                let died = current.swap(snapshot, Ordering::SeqCst);
                let how = end_of(died).map_or_else(|| "it is gone".into(), |status| status.to_string());
                format!("{RESTORED} {how}\n{COMPLETE}\n")
            }
            None => format!("{line}\n"),
        };
        if stdout.write_all(passed.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            break;
        }
    }
    let end = [mark(), format!("{{\"{END}\":true}}\n").into_bytes()].concat();
    for descriptor in [USER_STDOUT, USER_STDERR] {
        let _ = opened(descriptor, true).and_then(|mut stream| stream.write_all(&end));
    }
    let status = end_of(current.load(Ordering::SeqCst));
    // This process ends in the same way as the runner did, because evcxr reports the status of this process.
    if let Some(signal) = status.and_then(|status| status.signal()).and_then(|signal| Signal::try_from(signal).ok()) {
        let _ = SigSet::all().thread_unblock();
        let _ = raise(signal);
    }
    std::process::exit(status.and_then(|status| status.code()).unwrap_or(1))
}

/// Starts the runner, and returns it with the pipe of its reports.
fn start() -> io::Result<(Child, File)> {
    let (reports, write) = io::pipe()?;
    // The runner reads the commands of evcxr itself, and sees when evcxr closes the pipe.
    let commands = io::stdin().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(std::env::args_os().skip(1))
        .env(RUNNER, "1")
        .env("EVCXR_REPORT_FD", REPORTS.to_string())
        // The backtrace of a panic would show frames of evcxr's generated code.
        .env("RUST_BACKTRACE", "0")
        .stdin(opened(USER_STDIN, false)?)
        .stdout(opened(USER_STDOUT, true)?)
        .stderr(opened(USER_STDERR, true)?)
        .fd_mappings(vec![
            FdMapping { parent_fd: commands, child_fd: COMMANDS },
            FdMapping { parent_fd: write.into(), child_fd: REPORTS },
        ])
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok((command.spawn()?, File::from(OwnedFd::from(reports))))
}

/// Waits for the end of a child, and returns its status.
fn end_of(pid: i32) -> Option<ExitStatus> {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return Some(ExitStatus::from_raw((code & 0xff) << 8)),
            Ok(WaitStatus::Signaled(_, signal, dumped)) => {
                return Some(ExitStatus::from_raw(signal as i32 | if dumped { 0x80 } else { 0 }));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Starts a thread that passes the signal by which the kernel interrupts a cell on to the current runner.
fn pass_interrupts_on(current: Arc<AtomicI32>) {
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGUSR1);
    // Blocked before any other thread starts, so that all threads inherit it.
    let _ = interrupts.thread_block();
    std::thread::spawn(move || {
        while interrupts.wait().is_ok() {
            let pid = current.load(Ordering::SeqCst);
            if pid > 0 {
                let _ = kill(Pid::from_raw(pid), Signal::SIGUSR1);
            }
        }
    });
}
