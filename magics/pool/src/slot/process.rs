//! Child processes and their end.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, setsid};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Process groups of the children that run now.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Leaves the kernel's process group and session: an interrupt typed at the kernel's terminal is the kernel's to handle.
/// It fails where the process leads a group already, which serves as well.
pub(super) fn become_leader() {
    let _ = setsid();
}

/// A child in a process group of its own. Dropping it ends the whole group, grandchildren included.
pub(super) struct Group {
    child: Child,
    id: Pid,
}

impl Group {
    /// Takes over a child that was spawned with `process_group(0)`.
    pub(super) fn new(child: Child) -> Self {
        let id = Pid::from_raw(child.id() as i32);
        if let Ok(mut groups) = GROUPS.lock() {
            groups.push(id);
        }
        Self { child, id }
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Asks the group to end, and ends it if it has not after 0.3 s.
    pub(super) fn end_gently(&mut self) {
        let _ = killpg(self.id, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_millis(300);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end();
    }

    /// Ends the group at once.
    pub(super) fn end(&mut self) {
        let _ = killpg(self.id, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        if let Ok(mut groups) = GROUPS.lock() {
            groups.retain(|id| *id != self.id);
        }
    }
}

/// Ends all groups and this process; for when the kernel is gone.
pub(super) fn end_everything() -> ! {
    if let Ok(groups) = GROUPS.lock() {
        for id in groups.iter() {
            let _ = killpg(*id, Signal::SIGKILL);
            let _ = kill(*id, Signal::SIGKILL);
        }
    }
    std::process::exit(0)
}

/// How a process ended, for people.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = Signal::try_from(signal).map_or(String::new(), |signal| format!(" ({signal})"));
            format!("was killed by signal {signal}{name}")
        }
        (None, Some(code)) => format!("exited with status {code}"),
        (None, None) => "ended".into(),
    }
}

/// How often the kernel's out-of-memory killer has struck in this control group or machine.
pub(super) fn out_of_memory_kills() -> u64 {
    let count = |text: String| {
        let line = text.lines().find(|line| line.starts_with("oom_kill "))?.to_string();
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let own_group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own_group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_string();
    std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.events"))
        .or_else(|_| std::fs::read_to_string("/proc/vmstat"))
        .ok()
        .and_then(count)
        .unwrap_or(0)
}
