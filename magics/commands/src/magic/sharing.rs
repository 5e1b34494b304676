//! How studies that run at the same time share the slots of a session.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The studies that run now, with what each of them uses.
#[derive(Default)]
pub struct Sharing {
    runs: Mutex<Vec<Run>>,
    next: AtomicU64,
}

#[derive(Clone, Debug)]
struct Run {
    id: u64,
    study: String,
    /// So many trials it could run at a time if it were alone.
    slots: usize,
    /// How many trials of it wait for a slot.
    waiting: usize,
    /// How many trials it may run at a time, as it was told last.
    granted: usize,
    /// Its trials that run: the device, and the number.
    running: Vec<(String, u32)>,
}

/// The share of one study, until it is dropped.
pub struct Share<'a> {
    sharing: &'a Sharing,
    id: u64,
}

/// What a study may use now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// It may run so many trials at a time.
    pub trials: usize,
    /// The devices that other studies use.
    pub taken: Vec<String>,
    /// Whether other studies run.
    pub shared: bool,
}

impl Sharing {
    /// A study begins. `slots` is how many trials it could run at a time if it were alone.
    pub fn join(&self, study: &str, slots: usize) -> Share<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.runs.lock().push(Run { id, study: study.into(), slots, waiting: slots, granted: 0, running: vec![] });
        Share { sharing: self, id }
    }

    /// The trials that run on a device, as `STUDY I`.
    pub fn on(&self, device: &str) -> Vec<String> {
        let runs = self.runs.lock();
        let of = |run: &Run| {
            let here = run.running.iter().filter(|(used, _)| used == device);
            here.map(|(_, number)| format!("{} {number}", run.study)).collect::<Vec<_>>()
        };
        runs.iter().flat_map(of).collect()
    }
}

impl Share<'_> {
    /// Says what the study does now, and returns what it may do next.
    ///
    /// All studies together run no more trials than there are slots, except that each has at least one. A study that
    /// waits with less than its fair share gets the next slot that becomes free.
    pub fn update(&self, waiting: usize, running: Vec<(String, u32)>) -> Allowed {
        let mut runs = self.sharing.runs.lock();
        if let Some(run) = runs.iter_mut().find(|run| run.id == self.id) {
            (run.waiting, run.running) = (waiting, running);
        }
        let count = runs.len().max(1);
        let slots = runs.iter().map(|run| run.slots).max().unwrap_or(1);
        let own = runs.iter().find(|run| run.id == self.id).map_or(1, |run| run.slots);
        let others = || runs.iter().filter(|run| run.id != self.id);
        // What another study needs, but no more than it was told, or than its fair share if that is larger.
        let kept = |run: &Run| {
            let told = run.granted.max((run.slots / count).max(1));
            run.running.len().max((run.running.len() + run.waiting).min(told))
        };
        let kept: usize = others().map(kept).sum();
        let least = usize::from(count > slots);
        let trials = own.min(slots.saturating_sub(kept).max(least));
        let taken = others().flat_map(|run| run.running.iter().map(|(device, _)| device.clone())).collect();
        if let Some(run) = runs.iter_mut().find(|run| run.id == self.id) {
            run.granted = trials;
        }
        Allowed { trials, taken, shared: count > 1 }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.sharing.runs.lock().retain(|run| run.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(devices: &[&str]) -> Vec<(String, u32)> {
        devices.iter().zip(1..).map(|(device, number)| (device.to_string(), number)).collect()
    }

    #[test]
    fn a_second_study_gets_the_next_slot_and_the_first_one_gets_it_back() {
        let sharing = Sharing::default();
        let first = sharing.join("first", 2);
        assert_eq!(first.update(9, vec![]), Allowed { trials: 2, taken: vec![], shared: false });
        first.update(9, on(&["cpu:0", "cpu:1"]));
        let second = sharing.join("second", 2);
        // Both slots are taken. The first study starts no further trial once one of its own has ended.
        assert_eq!(second.update(9, vec![]).trials, 0);
        assert_eq!(first.update(9, on(&["cpu:1"])).trials, 1);
        let allowed = second.update(9, vec![]);
        assert_eq!((allowed.trials, allowed.taken), (1, vec!["cpu:1".to_string()]));
        second.update(9, on(&["cpu:0"]));
        assert_eq!(sharing.on("cpu:0"), ["second 1"]);
        // The last trial of the second study runs, so that its slot alone is kept for it.
        second.update(0, on(&["cpu:0"]));
        assert_eq!(first.update(9, on(&["cpu:1"])).trials, 1);
        drop(second);
        assert_eq!(first.update(9, on(&["cpu:1"])).trials, 2);
    }

    #[test]
    fn all_slots_are_used_and_none_twice() {
        let sharing = Sharing::default();
        let (first, second) = (sharing.join("first", 3), sharing.join("second", 3));
        assert_eq!(first.update(9, vec![]).trials, 2);
        assert_eq!(second.update(9, vec![]).trials, 1);
        // Each may keep what it has, whoever asks first.
        assert_eq!(second.update(9, on(&["a"])).trials, 1);
        assert_eq!(first.update(9, on(&["b", "c"])).trials, 2);
        // With more studies than slots, each has one.
        let one = Sharing::default();
        let shares: Vec<Share<'_>> = (0..3).map(|_| one.join("s", 1)).collect();
        assert!(shares.iter().all(|share| share.update(9, vec![]).trials == 1));
    }
}
