//! Processes that have left the process group of their trial. On Linux they stay descendants of the slot, because a
//! process whose parent has ended becomes a child of the slot.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A process, as `/proc` shows it.
struct Seen {
    parent: Pid,
    has_ended: bool,
}

/// Makes this process the parent of processes whose parents end.
pub(super) fn adopt() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Kills the descendants of this process and waits for their end, at most for `patience`. Those of `kept` stay, with
/// what they have started.
pub(super) fn end(kept: &[Pid], patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        let all = processes();
        let found = descendants(&all, Pid::this(), kept);
        if found.is_empty() {
            return;
        }
        for id in found {
            match all.get(&id).is_some_and(|process| process.has_ended) {
                // Nobody else asks for its status. This fails if it is no child yet, because its parent ends just now.
                true => drop(waitpid(id, Some(WaitPidFlag::WNOHANG))),
                false => drop(kill(id, Signal::SIGKILL)),
            }
        }
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asks for the status of children that have ended, but for those of `kept`. Otherwise they would stay as long as their
/// trial runs.
pub(super) fn reap(kept: &[Pid]) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::wait::{Id, waitid};
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(id) = waitid(Id::All, peek).ok().and_then(|status| status.pid())
            && !kept.contains(&id)
            && waitpid(id, Some(WaitPidFlag::WNOHANG)).is_ok()
        {}
    }
    #[cfg(not(target_os = "linux"))]
    let _ = kept;
}

/// All processes that `/proc` shows. None where there is no `/proc`.
fn processes() -> BTreeMap<Pid, Seen> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: i32| {
        Some((Pid::from_raw(id), seen(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))
    })
    .collect()
}

/// Reads `/proc/ID/stat`. The name of the process, in parentheses, may have any characters.
fn seen(stat: &str) -> Option<Seen> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let has_ended = matches!(words.next()?, "Z" | "X");
    Some(Seen { parent: Pid::from_raw(words.next()?.parse().ok()?), has_ended })
}

/// The descendants of a process, but for those of `kept` and what they have started.
fn descendants(all: &BTreeMap<Pid, Seen>, of: Pid, kept: &[Pid]) -> Vec<Pid> {
    let mut children: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    for (id, process) in all {
        children.entry(process.parent).or_default().push(*id);
    }
    let (mut found, mut next) = (vec![], vec![of]);
    while let Some(parent) = next.pop() {
        let of_parent = children.remove(&parent).unwrap_or_default();
        let more: Vec<Pid> = of_parent.into_iter().filter(|id| !kept.contains(id)).collect();
        found.extend(&more);
        next.extend(more);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_and_those_of_kept_processes_are_not() {
        let lines = [
            "10 (slot) S 1 10 10 0",
            "11 (a) b) S 10 11 10 0",
            "12 (c) R 11 12 12 0",
            "13 (guard) S 10 13 10 0",
            "14 (of guard) S 13 13 10 0",
            "15 (other) S 1 15 15 0",
            "16 (ended) Z 10 16 16 0",
        ];
        let id = |line: &str| Pid::from_raw(line.split(' ').next().unwrap().parse().unwrap());
        let all: BTreeMap<Pid, Seen> = lines.iter().map(|line| (id(line), seen(line).unwrap())).collect();
        let mut found: Vec<i32> =
            descendants(&all, Pid::from_raw(10), &[Pid::from_raw(13)]).into_iter().map(Pid::as_raw).collect();
        found.sort();
        assert_eq!(found, [11, 12, 16]);
        assert!(all[&Pid::from_raw(16)].has_ended && !all[&Pid::from_raw(12)].has_ended);
    }
}
