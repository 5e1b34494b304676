//! The lease of a study: which process may write it. It ends when its owner gives it up or dies.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds without renewal after which a lease counts as abandoned, if this process cannot find out whether its owner
/// lives: on another machine, or without `/proc`.
pub(super) const EXPIRES_AFTER: f64 = 30.0;

/// What stands between the name of a host and its boot.
const BOOT: &str = " (boot ";

/// The nonces of the leases that this process has. The store alone cannot tell: a lease that was given up while the
/// disk was full stays written there. All stores of this process share this set, hence a static.
static OWN: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The owner of a lease, as the store records it. Each lease has an owner of its own, also within one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Owner {
    host: String,
    pid: u32,
    /// When the process started, in clock ticks since boot. The process id alone does not identify it: ids are reused.
    start: Option<u64>,
    /// Tells the leases of one process apart.
    nonce: u64,
    /// The namespace of process ids in which the id is valid. Two containers of one machine have two, even if they have
    /// the same host name. None where the system tells none, and in records from before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

impl Owner {
    /// A new owner in this process. The caller calls [`release`](Self::release) when it gives the lease up.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        let nonce = NEXT.fetch_add(1, Ordering::Relaxed);
        OWN.lock().insert(nonce);
        Self { host: host(), pid, start: start_of(pid), nonce, namespace: namespace() }
    }

    /// Gives the lease up, even if the store still records it.
    pub(super) fn release(&self) {
        OWN.lock().remove(&self.nonce);
    }

    /// Whether this process can look the owner's process up by its id.
    fn is_known_here(&self) -> bool {
        self.host == host() && (self.namespace.is_none() || self.namespace == namespace())
    }

    /// The machine of the owner, for people on the machine `host`: its name, and more where both have the same name.
    fn machine(&self, host: &str, own: Option<&str>) -> String {
        let name = |host: &str| host.split_once(BOOT).map_or(host.to_string(), |(name, _)| name.to_string());
        if self.host != host && name(&self.host) == name(host) {
            return self.host.clone();
        }
        let is_elsewhere = self.host == host && self.namespace.is_some() && self.namespace.as_deref() != own;
        name(&self.host) + if is_elsewhere { ", in another container" } else { "" }
    }

    /// Whether this owner still has the lease that it renewed `age` seconds ago.
    pub(super) fn is_alive(&self, age: f64) -> bool {
        if !self.is_known_here() || self.start.is_none() {
            return age < EXPIRES_AFTER;
        }
        let is_running = start_of(self.pid) == self.start;
        is_running && (self.pid != std::process::id() || OWN.lock().contains(&self.nonce))
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_known_here() && self.pid == std::process::id() {
            return f.write_str("this very kernel");
        }
        write!(f, "another kernel (process {} on {})", self.pid, self.machine(&host(), namespace().as_deref()))
    }
}

/// The host name and the boot of the machine: after a reboot no owner from before is alive.
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let name = read("/proc/sys/kernel/hostname");
    let name = if name.is_empty() { std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".into()) } else { name };
    let boot = read("/proc/sys/kernel/random/boot_id");
    if boot.is_empty() { name } else { format!("{name}{BOOT}{})", &boot[..boot.len().min(8)]) }
}

/// The namespace of process ids of this process, such as `pid:[4026531836]`. None where the system tells none.
fn namespace() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// When a process started: field 22 of `/proc/PID/stat`. None if it is not running; a zombie is not. Field 2 is the
/// name of the program in brackets and may contain anything, so the fields are counted from the last bracket.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_an_owner_is_told_by_its_name_unless_that_is_ours_too() {
        let owner = |host: &str, namespace: &str| Owner {
            host: host.into(),
            pid: 7,
            start: Some(1),
            nonce: 0,
            namespace: Some(namespace.into()),
        };
        let seen = |owner: Owner| owner.machine("vm (boot 12345678)", Some("pid:[1]"));
        assert_eq!(seen(owner("vm (boot 12345678)", "pid:[1]")), "vm");
        assert_eq!(seen(owner("node (boot abcdef01)", "pid:[2]")), "node");
        assert_eq!(seen(owner("vm (boot abcdef01)", "pid:[1]")), "vm (boot abcdef01)");
        assert_eq!(seen(owner("vm (boot 12345678)", "pid:[2]")), "vm, in another container");
    }
}
