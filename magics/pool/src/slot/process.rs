//! The child processes of a slot, each with everything that it starts.

use super::orphans;
use crate::guard::{Guard, GuardLine, MARK};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, setsid};
use parking_lot::Mutex;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The process groups of the children that run now. Static, because the thread that ends them all when the kernel is
/// gone shares nothing else with the one that starts them.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Ends the groups if this process is killed. Started with the first group. The text is the mark of this slot, by which
/// the guard knows processes that have left their group.
static GUARD: OnceLock<Option<(Guard, String)>> = OnceLock::new();

/// How long the end of killed processes is waited for. One that hangs in a driver or in a file system may stay.
const DYING: Duration = Duration::from_secs(1);
/// The same once the kernel is gone.
const DYING_LAST: Duration = Duration::from_millis(200);

/// Leaves the process group and the session of the kernel, so that Ctrl-C at its terminal interrupts the kernel alone.
/// It fails if this process leads a process group already, which has the same effect.
pub(super) fn become_leader() {
    let _ = setsid();
}

/// What tells the guard, which is a process of the same executable. Without one, the groups outlive this process if it
/// is killed.
fn guard() -> Option<&'static (Guard, String)> {
    let start = || {
        let executable = std::env::current_exe().ok()?.into_os_string().into_string().ok()?;
        let guard = Guard::start(&[executable, "guard".into()]).ok()?;
        guard.line().be_impatient();
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let mark = format!("{}-{moment:x}", std::process::id());
        guard.line().knows_mark(&mark);
        Some((guard, mark))
    };
    GUARD.get_or_init(start).as_ref()
}

fn guard_line() -> GuardLine {
    guard().map(|(guard, _)| guard.line()).unwrap_or_default()
}

/// The process of the guard, if there is one yet.
fn guard_id() -> Option<Pid> {
    GUARD.get()?.as_ref()?.0.id()
}

/// A child in a process group of its own. Dropping it ends the whole group, with all processes that the child started.
pub(super) struct Group {
    child: Child,
    id: Pid,
    has_ended: bool,
}

impl Group {
    /// Starts a command.
    pub(super) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        // Locked while the child starts, so that `end_everything`, which exits with the lock held, does not miss it.
        if let Some((_, mark)) = guard() {
            command.env(MARK, mark);
        }
        let mut groups = GROUPS.lock();
        let child = command.process_group(0).spawn()?;
        let id = Pid::from_raw(child.id() as i32);
        groups.push(id);
        guard_line().tell(id, true);
        Ok(Self { child, id, has_ended: false })
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

    /// Kills the group and waits for the end of the child, and for that of what the child started, also outside of the
    /// group: until then it holds memory, perhaps of a GPU, which the next trial needs.
    pub(super) fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let _ = killpg(self.id, Signal::SIGKILL);
        let _ = self.child.wait();
        // A slot runs one trial at a time. So what is no guard and no worker that waits belongs to this trial.
        let others: Vec<Pid> = GROUPS.lock().iter().copied().filter(|id| *id != self.id).chain(guard_id()).collect();
        orphans::end(&others, DYING);
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
        guard_line().tell(self.id, false);
    }
}

/// Asks for the status of processes that trials have left and that have ended.
pub(super) fn reap_orphans() {
    let known: Vec<Pid> = GROUPS.lock().iter().copied().chain(guard_id()).collect();
    orphans::reap(&known);
}

/// Kills all groups, and what has left them, and exits, because the kernel is gone.
pub(super) fn end_everything() -> ! {
    // To start a program can take forever (on a network file system that hangs), and that must not keep this process.
    let groups = GROUPS.try_lock_for(Duration::from_secs(1));
    for id in groups.iter().flat_map(|groups| groups.iter()) {
        let _ = killpg(*id, Signal::SIGKILL);
        let _ = kill(*id, Signal::SIGKILL);
    }
    let guard: Vec<Pid> = guard_id().into_iter().collect();
    orphans::end(&guard, DYING_LAST);
    std::process::exit(if groups.is_some() { 0 } else { 1 })
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
