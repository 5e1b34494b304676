//! Stands between evcxr and the runner: relays its output, reports deaths, passes interrupts on.

use super::relay::Relay;
use super::{RUNNER, TOKEN};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
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
    let takeover = format!("EVCXR_TAKEOVER_{}_", uuid::Uuid::new_v4().simple());
    let Ok(executable) = std::env::current_exe() else { std::process::exit(1) };
    let runner = Command::new(executable)
        .args(std::env::args_os().skip(1))
        .env(RUNNER, &takeover)
        // The frames of a panic are those of the machinery.
        .env("RUST_BACKTRACE", "0")
        .env_remove(TOKEN)
        // Its standard input is the supervisor's own: evcxr's commands reach it directly, and so does their end.
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut runner) = runner else { std::process::exit(1) };
    let Some(mut output) = runner.stdout.take() else { std::process::exit(1) };
    current.store(runner.id() as i32, Ordering::SeqCst);
    let mut relay = Relay::new(std::env::var(TOKEN).unwrap_or_default(), takeover);
    let mut stdout = std::io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    // The end of the output is the end of the last process that holds it: there was no snapshot to take over.
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        let passed = relay.pass(&buffer[..count], &mut |snapshot| {
            let died = current.swap(snapshot, Ordering::SeqCst);
            end_of(died).map_or_else(|| "it is gone".into(), |status| status.to_string())
        });
        if stdout.write_all(&passed).and_then(|()| stdout.flush()).is_err() {
            break;
        }
    }
    let _ = stdout.write_all(relay.rest()).and_then(|()| stdout.flush());
    let status = end_of(current.load(Ordering::SeqCst));
    // End as the runner did, so that evcxr reports it as it was.
    if let Some(signal) = status.and_then(|status| status.signal()).and_then(|signal| Signal::try_from(signal).ok()) {
        let _ = SigSet::all().thread_unblock();
        let _ = raise(signal);
    }
    std::process::exit(status.and_then(|status| status.code()).unwrap_or(1))
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
