//! What a pool does with its slots, for studies that share them.

use crate::pool_slot::{Process, Slot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a pool does with its slots, by their names. Slots that share a device have the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many slots of each name run a trial or could run one. Those that were given up or removed could not.
    pub slots: BTreeMap<String, usize>,
    /// The slots that run a trial, and its number.
    pub at_work: Vec<(String, u32)>,
    /// The slots elsewhere that were started and have no trial yet.
    pub started: Vec<String>,
    /// Those of them that wait for a machine.
    pub pending: Vec<String>,
    /// The slots on this machine that could take a trial. Those whose process runs already come first.
    pub free: Vec<String>,
    /// The slots elsewhere that could be started.
    pub startable: Vec<String>,
}

/// The usage as it was computed last, with what it was computed from. A pool has many slots, and few of them change
/// between two looks at it.
#[derive(Default)]
pub(crate) struct LastUsage {
    seen: Vec<Seen>,
    usage: Arc<Usage>,
}

/// What the usage of a slot depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    kind: Kind,
    trial: Option<u32>,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Pending,
    Ready,
    Paused,
    GivenUp,
}

impl Seen {
    fn of(slot: &Slot) -> Self {
        let kind = match &slot.process {
            Process::None => Kind::None,
            Process::Pending(_) => Kind::Pending,
            Process::Ready(_) => Kind::Ready,
            Process::Paused(_) => Kind::Paused,
            Process::GivenUp => Kind::GivenUp,
        };
        Self { kind, trial: slot.trial.as_ref().map(|trial| trial.number), closed: slot.closed }
    }
}

impl LastUsage {
    /// The usage of these slots now.
    pub(crate) fn of(&mut self, slots: &[Slot]) -> Arc<Usage> {
        let seen: Vec<Seen> = slots.iter().map(Seen::of).collect();
        if seen != self.seen {
            self.usage = Arc::new(usage(slots, &seen));
            self.seen = seen;
        }
        self.usage.clone()
    }

    /// The slots are others now.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

fn usage(slots: &[Slot], seen: &[Seen]) -> Usage {
    let mut usage = Usage::default();
    let mut cold = vec![];
    for (slot, Seen { kind, trial, closed }) in slots.iter().zip(seen) {
        let name = || slot.spec.device.clone();
        if trial.is_some() || !(*closed || *kind == Kind::GivenUp) {
            *usage.slots.entry(name()).or_default() += 1;
        }
        match (trial, slot.spec.far.is_some(), kind) {
            (Some(number), ..) => usage.at_work.push((name(), *number)),
            (None, true, Kind::Pending | Kind::Ready) => {
                usage.started.push(name());
                usage.pending.extend((*kind == Kind::Pending).then(name));
            }
            (None, ..) if *closed => {}
            (None, false, Kind::Ready) => usage.free.push(name()),
            (None, false, _) => cold.push(name()),
            (None, true, Kind::None) => usage.startable.push(name()),
            (None, true, _) => {}
        }
    }
    usage.free.extend(cold);
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Far, Scheduler, SlotSpec};
    use std::time::Instant;
    use tunebook_study::protocol::TrialId;

    fn slot(name: &str) -> Slot {
        let pool = name.split_once('/').map(|(pool, _)| pool.to_string());
        let far = pool.map(|pool| Far { pool, id: 0, scheduler: Scheduler::None, copies: false, shown: String::new() });
        let (device, command, environment) = (name.to_string(), vec![], Default::default());
        Slot::new(SlotSpec { device, command, environment, folder: None, far })
    }

    #[test]
    fn each_slot_is_counted_by_what_it_can_do() {
        let names = ["cuda:0", "cuda:0", "cuda:1", "cuda:2", "far/1", "far/2", "far/3", "far/4"];
        let mut slots: Vec<Slot> = names.into_iter().map(slot).collect();
        for (index, number) in [(1, 7), (3, 8)] {
            slots[index].trial = Some(TrialId { study: "s".into(), number });
        }
        // A trial goes on in a slot that was removed, and none starts in one without a trial.
        (slots[2].closed, slots[3].closed) = (true, true);
        (slots[5].process, slots[6].process) = (Process::GivenUp, Process::Paused(Instant::now()));
        slots[7].closed = true;
        let mut last = LastUsage::default();
        let usage = last.of(&slots);
        let counts: Vec<(&str, usize)> = usage.slots.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counts, [("cuda:0", 2), ("cuda:2", 1), ("far/1", 1), ("far/3", 1)]);
        assert_eq!(usage.at_work, [("cuda:0".to_string(), 7), ("cuda:2".to_string(), 8)]);
        assert_eq!((&usage.free[..], &usage.startable[..]), (&["cuda:0".to_string()][..], &["far/1".to_string()][..]));
        assert!(Arc::ptr_eq(&usage, &last.of(&slots)));
        // Each change is seen.
        slots[2].closed = false;
        assert_eq!(last.of(&slots).free, ["cuda:0", "cuda:1"]);
        slots[1].trial = None;
        assert_eq!(last.of(&slots).at_work.len(), 1);
    }
}
