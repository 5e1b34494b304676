//! Stands between evcxr and the runner: passes its reports on, tells of deaths, passes interrupts on.

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

/// Supervises a runner, and the snapshots that take over from it, to the end.
pub(super) fn run() -> ! {
    // A snapshot whose runner died becomes a child of this process.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
    // A cell that never ends must not outlive a kernel that was killed.
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
    // Their end is the end of the last process that can report: there was no snapshot to take over.
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
    // End as the runner did, so that evcxr reports it as it was.
    if let Some(signal) = status.and_then(|status| status.signal()).and_then(|signal| Signal::try_from(signal).ok()) {
        let _ = SigSet::all().thread_unblock();
        let _ = raise(signal);
    }
    std::process::exit(status.and_then(|status| status.code()).unwrap_or(1))
}

/// Starts the runner; gives what it reports.
fn start() -> io::Result<(Child, File)> {
    let (reports, write) = io::pipe()?;
    // evcxr's commands reach the runner directly, and so does their end.
    let commands = io::stdin().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(std::env::args_os().skip(1))
        .env(RUNNER, "1")
        .env("EVCXR_REPORT_FD", REPORTS.to_string())
        // The frames of a panic are those of the machinery.
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

/// How a process of ours ended; waits for it.
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

/// The kernel interrupts a cell by a signal to this process, which knows who runs cells now.
fn pass_interrupts_on(current: Arc<AtomicI32>) {
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGUSR1);
    // Before any other thread is there, so that all have it blocked.
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
