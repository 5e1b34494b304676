//! The child processes of a slot, each with everything that it starts.

use crate::guard::{Guard, GuardLine};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, setsid};
use parking_lot::Mutex;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The process groups of the children that run now. Static, because the thread that ends them all when the kernel is
/// gone shares nothing else with the one that starts them.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Ends the groups if this process is killed. Started with the first group.
static GUARD: OnceLock<Option<Guard>> = OnceLock::new();

/// How long the end of killed processes is waited for. A process that was killed stays until its parent asks for its
/// status, and in a container without an init process nobody does.
const DYING: Duration = Duration::from_secs(1);

/// Leaves the process group and the session of the kernel, so that Ctrl-C at its terminal interrupts the kernel alone.
/// It fails if this process leads a process group already, which has the same effect.
pub(super) fn become_leader() {
    let _ = setsid();
}

/// What tells the guard, which is a process of the same executable. Without one, the groups outlive this process if it
/// is killed.
fn guard() -> GuardLine {
    let start = || {
        let executable = std::env::current_exe().ok()?.into_os_string().into_string().ok()?;
        let guard = Guard::start(&[executable, "guard".into()]).ok()?;
        guard.line().be_impatient();
        Some(guard)
    };
    GUARD.get_or_init(start).as_ref().map(Guard::line).unwrap_or_default()
}

/// A child in a process group of its own. Dropping it ends the whole group, with all processes that the child started.
pub(super) struct Group {
    child: Child,
    id: Pid,
}

impl Group {
    /// Starts a command.
    pub(super) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        // Locked while the child starts, so that `end_everything`, which exits with the lock held, does not miss it.
        let guard = guard();
        let mut groups = GROUPS.lock();
        let child = command.process_group(0).spawn()?;
        let id = Pid::from_raw(child.id() as i32);
        groups.push(id);
        guard.tell(id, true);
        Ok(Self { child, id })
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Asks the group to end (SIGTERM), and kills it if the child has not ended after 0.3 s.
    pub(super) fn end_gently(&mut self) {
        let _ = killpg(self.id, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_millis(300);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end();
    }

    /// Kills the group and waits for the end of the child, and for that of what the child started: until then it holds
    /// memory, perhaps of a GPU, which the next trial needs.
    pub(super) fn end(&mut self) {
        let _ = killpg(self.id, Signal::SIGKILL);
        let _ = self.child.wait();
        let deadline = Instant::now() + DYING;
        while killpg(self.id, None).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        GROUPS.lock().retain(|id| *id != self.id);
        guard().tell(self.id, false);
    }
}

/// Kills all groups and exits, because the kernel is gone.
pub(super) fn end_everything() -> ! {
    // To start a program can take forever (on a network file system that hangs), and that must not keep this process.
    if let Some(groups) = GROUPS.try_lock_for(Duration::from_secs(1)) {
        for id in groups.iter() {
            let _ = killpg(*id, Signal::SIGKILL);
            let _ = kill(*id, Signal::SIGKILL);
        }
        std::process::exit(0)
    }
    std::process::exit(1)
}

/// How a process ended, in words that follow its name.
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

/// How many processes Linux has killed because memory ran out, in this control group or else on this machine.
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
