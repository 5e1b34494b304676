//! Who may write a study: one process at a time, until it lets go or dies.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds after which a lease of another machine, or of one without `/proc`, counts as abandoned.
pub(super) const EXPIRES_AFTER: f64 = 30.0;

/// Nonces of this process's holders that have not let go. The store cannot tell: on a full disk a lease that was let go
/// of stays written.
static HOLDING: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

/// A holder of a lease; no two are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Owner {
    host: String,
    pid: u32,
    /// Start of the process, in the kernel's ticks: a process id alone may be used again.
    start: Option<u64>,
    nonce: u64,
}

impl Owner {
    /// A new holder in this process.
    pub(super) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        let nonce = COUNT.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut holding) = HOLDING.lock() {
            holding.get_or_insert_default().insert(nonce);
        }
        Self { host: host(), pid, start: start_of(pid), nonce }
    }

    /// Lets go, whatever the store still says.
    pub(super) fn release(&self) {
        if let Ok(mut holding) = HOLDING.lock() {
            holding.get_or_insert_default().remove(&self.nonce);
        }
    }

    /// Whether it still holds what it renewed `age` seconds ago.
    pub(super) fn is_alive(&self, age: f64) -> bool {
        if self.host == host() && self.start.is_some() {
            let is_own = self.pid == std::process::id() && start_of(self.pid) == self.start;
            let released = || HOLDING.lock().is_ok_and(|h| !h.as_ref().is_some_and(|h| h.contains(&self.nonce)));
            return start_of(self.pid) == self.start && !(is_own && released());
        }
        age < EXPIRES_AFTER
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host == host() && self.pid == std::process::id() {
            return f.write_str("this very kernel");
        }
        write!(f, "another kernel (process {} on {})", self.pid, self.host)
    }
}

/// Host name and boot: after a reboot nobody of before is alive.
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let name = read("/proc/sys/kernel/hostname");
    let name = if name.is_empty() { std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".into()) } else { name };
    let boot = read("/proc/sys/kernel/random/boot_id");
    if boot.is_empty() { name } else { format!("{name} (boot {})", &boot[..boot.len().min(8)]) }
}

/// Field 22 of `/proc/PID/stat`; the name in field 2 may hold anything, so fields are counted after its last bracket.
/// A zombie holds nothing.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
