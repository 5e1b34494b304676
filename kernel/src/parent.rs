//! The process that started the kernel. When it is gone, for whatever reason, nobody can reach the kernel any more, and
//! the kernel ends.

use nix::unistd::{Pid, getpid, getppid};
use std::time::Duration;

/// How often the kernel looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the kernel takes at most to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// The variable in which a front end says its process id.
const FRONT_END: &str = "JPY_PARENT_PID";

/// A process whose end is the end of the kernel.
#[derive(Debug, PartialEq)]
enum Parent {
    /// The kernel's own parent.
    Own(Pid),
    /// The front end, where another process lies between it and the kernel: its id, and when it was started.
    FrontEnd { pid: i32, started: u64 },
}

impl Parent {
    /// The process to watch. None if the kernel stays until it is shut down: it is the first process of a container or
    /// was started by that process, or it was started with `nohup`.
    fn find() -> Option<Self> {
        let own = getppid();
        let front_end: Option<i32> = std::env::var(FRONT_END).ok().and_then(|pid| pid.trim().parse().ok());
        match front_end {
            Some(pid) if pid > 1 && pid != own.as_raw() && pid != getpid().as_raw() => {
                started(pid).map(|started| Self::FrontEnd { pid, started }).or_else(|| Self::own(own))
            }
            Some(_) => Self::own(own),
            None if ignores_hangup() => None,
            None => Self::own(own),
        }
    }

    fn own(parent: Pid) -> Option<Self> {
        (parent.as_raw() > 1).then_some(Self::Own(parent))
    }

    fn is_gone(&self) -> bool {
        match self {
            Self::Own(parent) => getppid() != *parent,
            Self::FrontEnd { pid, started: at } => started(*pid) != Some(*at),
        }
    }
}

/// When a process was started, in ticks since the start of the machine. None if it has ended. The time tells it from a
/// later process with the same id.
#[cfg(target_os = "linux")]
fn started(pid: i32) -> Option<u64> {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()?;
    (!['Z', 'X'].contains(&stat.state)).then_some(stat.starttime)
}

#[cfg(not(target_os = "linux"))]
fn started(pid: i32) -> Option<u64> {
    nix::sys::signal::kill(Pid::from_raw(pid), None).is_ok().then_some(0)
}

/// Whether this process ignores the signal by which a terminal ends its programs, as `nohup` arranges it.
#[cfg(target_os = "linux")]
fn ignores_hangup() -> bool {
    let status = procfs::process::Process::myself().and_then(|own| own.status());
    status.is_ok_and(|status| status.sigign & 1 != 0)
}

#[cfg(not(target_os = "linux"))]
fn ignores_hangup() -> bool {
    false
}

/// Returns when the process that the kernel belongs to is gone. From then on the kernel has [`PATIENCE`] to end.
pub async fn gone() {
    let Some(parent) = Parent::find() else { return std::future::pending().await };
    while !parent.is_gone() {
        tokio::time::sleep(INTERVAL).await;
    }
    tunebook_wire::log("the process that started the kernel is gone; the kernel ends");
    // Nobody is left who could kill a kernel that hangs.
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        std::process::exit(1)
    });
}
