//! How studies that run at the same time share the slots of a session.
//!
//! Each study says what it does with its slots, and is told how many trials it may run and which further slots it may
//! get to work. Slots are known by their names, so no two studies use one slot. With more studies than slots, a study
//! without a slot waits, and the one that has waited longest gets the next slot that it can use.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tunebook_pool::Usage;

/// The studies that run now, with what each of them uses.
#[derive(Default)]
pub struct Sharing {
    studies: Mutex<Studies>,
    next: AtomicU64,
}

#[derive(Default)]
struct Studies {
    runs: Vec<Run>,
    /// The slots that the studies have together, by their names: of each name as many as the study has that has most.
    slots: BTreeMap<String, usize>,
    /// How many these are.
    total: usize,
    /// How often studies have said what they do.
    turns: u64,
}

#[derive(Debug)]
struct Run {
    id: u64,
    study: String,
    /// It runs at most so many trials at a time, by its own options.
    limit: usize,
    /// What it does with its slots, as it said last.
    usage: Arc<Usage>,
    /// How many of its trials wait for a slot.
    waiting: usize,
    /// How many trials it may run at a time, as it was told last.
    granted: usize,
    /// The further slots that it may get to work, as it was told last. None if it may take all that it has.
    slots: Option<BTreeMap<String, usize>>,
    /// Whether it may run a further trial and found no slot on this machine for it.
    lacks_slot: bool,
    /// The turn in which a trial of it began or ended last, or in which it joined.
    since: u64,
    /// Whether more studies can use its slots than there are of them, or others run in all of these.
    is_crowded: bool,
    /// Whether it runs nothing because others use all slots that it could use.
    is_idle: bool,
}

/// The share of one study, until it is dropped.
pub struct Share<'a> {
    sharing: &'a Sharing,
    id: u64,
}

/// What a study may use now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// It may run so many trials at a time.
    pub trials: usize,
    /// The further slots that it may get to work, and how many of each name. None if no other study runs.
    pub slots: Option<BTreeMap<String, usize>>,
    /// The slots elsewhere that run no trial and are to be ended, because another study has too few. They wait for a
    /// machine and are too many, or the other study comes first.
    pub back: Vec<String>,
    /// Whether other studies run.
    pub shared: bool,
    /// Whether the study runs nothing and waits, because other studies use all slots that it could use.
    pub waits: bool,
}

impl Sharing {
    /// A study begins, of which `waiting` trials wait. It runs at most `limit` trials at a time by its own options, in
    /// the slots of `usage`.
    pub fn join(&self, study: &str, limit: usize, waiting: usize, usage: Arc<Usage>) -> Share<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (study, slots) = (study.into(), Some(BTreeMap::new()));
        let mut studies = self.studies.lock();
        studies.turns += 1;
        let (since, granted, lacks_slot, is_crowded, is_idle) = (studies.turns, 0, false, false, false);
        studies.runs.push(Run {
            id,
            study,
            limit,
            usage,
            waiting,
            granted,
            slots,
            lacks_slot,
            since,
            is_crowded,
            is_idle,
        });
        studies.count();
        Share { sharing: self, id }
    }

    /// The trials that run on a device, as `STUDY I`.
    pub fn on(&self, device: &str) -> Vec<String> {
        let studies = self.studies.lock();
        let of = |run: &Run| {
            let here = run.usage.at_work.iter().filter(|(used, _)| used == device);
            here.map(|(_, number)| format!("{} {number}", run.study)).collect::<Vec<_>>()
        };
        studies.runs.iter().flat_map(of).collect()
    }

    /// Whether the study of this name runs nothing and waits, because other studies use all slots that it could use.
    pub fn waits(&self, study: &str) -> bool {
        self.studies.lock().runs.iter().any(|run| run.study == study && run.is_idle)
    }
}

impl Studies {
    fn count(&mut self) {
        self.slots.clear();
        for (name, count) in self.runs.iter().flat_map(|run| &run.usage.slots) {
            let most = self.slots.entry(name.clone()).or_default();
            *most = (*most).max(*count);
        }
        self.total = self.slots.values().sum();
    }
}

impl Run {
    fn running(&self) -> usize {
        self.usage.at_work.len()
    }

    /// How many trials it could run at a time if it were alone.
    fn alone(&self) -> usize {
        self.limit.min(self.usage.slots.values().sum())
    }

    /// How many trials others leave to it, where `fair` is the share of each study: what it needs, but no more than it
    /// was told, or than its fair share if that is larger.
    fn kept(&self, fair: usize) -> usize {
        let told = self.granted.max(fair).min(self.alone());
        self.running().max((self.running() + self.waiting).min(told))
    }

    /// Whether it gets a slot that both can use before another study does.
    fn comes_before(&self, other: &Self) -> bool {
        self.lacks_slot && (self.running(), self.since) < (other.running(), other.since)
    }

    /// Whether both can use a slot.
    fn meets(&self, other: &Self) -> bool {
        other.usage.slots.keys().any(|name| self.usage.slots.contains_key(name))
    }

    /// Whether more studies can use its slots than there are of them.
    fn is_crowded(&self, others: &[&Self]) -> bool {
        1 + others.iter().filter(|other| other.meets(self)).count() > self.usage.slots.values().sum()
    }

    /// Whether it has fewer slots, with those that wait for a machine, than it may run trials.
    fn is_short(&self) -> bool {
        let told = self.slots.as_ref().map(|slots| slots.values().sum::<usize>());
        let has = |told| self.running() + self.usage.started.len() + told;
        told.is_some_and(|told| has(told) < self.granted.min(self.running() + self.waiting))
    }

    /// The slots that it would take.
    fn wanted(&self) -> impl Iterator<Item = &String> {
        let usage = &self.usage;
        usage.free.iter().chain(usage.startable.iter().filter(|_| usage.started.is_empty()))
    }

    /// The names of the slots that others cannot have now. A name occurs once for each slot.
    fn held(&self) -> impl Iterator<Item = &str> {
        let usage = &self.usage;
        // Trials that wait may have begun in these slots since it spoke last.
        let maybe = usage.free.iter().chain(&usage.startable).filter(|_| self.slots.is_none() && self.waiting > 0);
        let told = self.slots.iter().flatten().flat_map(|(name, count)| std::iter::repeat_n(name, *count));
        let names = usage.at_work.iter().map(|(name, _)| name).chain(&usage.started).chain(maybe).chain(told);
        names.map(String::as_str)
    }
}

fn counts<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// The pool of a slot elsewhere.
fn pool_of(name: &str) -> Option<&str> {
    name.split_once('/').map(|(pool, _)| pool)
}

/// Slots for `more` trials of a study that nobody holds. `all` are the slots that the studies have together.
///
/// The slots of one pool can wait in a queue while those of another are there at once. So it gets slots for `more`
/// trials in each pool, as long as no other study has too few.
fn free_slots(run: &Run, others: &[&Run], all: &BTreeMap<String, usize>, more: usize) -> BTreeMap<String, usize> {
    if more == 0 {
        return BTreeMap::new();
    }
    let usage = &run.usage;
    let held = counts(others.iter().flat_map(|other| other.held()));
    let held_of = |name: &str| held.get(name).copied().unwrap_or(0);
    let mut own = counts(usage.at_work.iter().map(|(name, _)| name).chain(&usage.started).map(String::as_str));
    // A study that has found no slot gets the next one that it can use, if it has fewer trials, or has waited longer.
    let left_to_others: BTreeSet<&String> =
        others.iter().filter(|other| other.comes_before(run)).flat_map(|other| other.wanted()).collect();
    let mut here: Vec<&String> = usage.free.iter().collect();
    // A device that nobody else uses comes first.
    here.sort_by_key(|name| held_of(name));
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    // Slots that were started already take trials too.
    let mut started = counts(usage.started.iter().filter_map(|name| pool_of(name)));
    let mut left = more;
    let mut room = match others.iter().any(|other| other.is_short()) {
        true => more.saturating_sub(usage.started.len()),
        false => usize::MAX,
    };
    for name in here.into_iter().chain(&usage.startable) {
        let used = own.entry(name).or_default();
        let is_left = all.get(name).copied().unwrap_or(0) > held_of(name) + *used;
        if !is_left || left_to_others.contains(name) {
            continue;
        }
        match pool_of(name) {
            None if left > 0 => (left, room) = (left - 1, room.saturating_sub(1)),
            Some(pool) if room > 0 && left > started.get(pool).copied().unwrap_or(0) => {
                *started.entry(pool).or_default() += 1;
                room -= 1;
            }
            _ => continue,
        }
        *used += 1;
        *found.entry(name.clone()).or_default() += 1;
    }
    found
}

/// The slots elsewhere that the study has started and that have no trial, but for which another study waits that has no
/// other slot and comes first. Each such study gets one.
fn left_to_first(run: &Run, others: &[&Run]) -> Vec<String> {
    let mut left: Vec<String> = vec![];
    for other in others.iter().filter(|other| (other.is_crowded || other.is_idle) && other.comes_before(run)) {
        let is_one = |name: &&String| run.usage.started.contains(name) && !left.contains(name);
        let one = other.wanted().find(is_one).cloned();
        left.extend(one);
    }
    left
}

/// The slots of a study that wait for a machine, and that another one gets. `trials` is how many trials it may run.
fn slots_to_end(run: &Run, others: &[&Run], trials: usize) -> Vec<String> {
    let usage = &run.usage;
    let too_many = (run.running() + usage.started.len()).saturating_sub(trials);
    let short: Vec<&&Run> = others.iter().filter(|other| other.is_short()).collect();
    let is_needed = |name: &&String| short.iter().any(|other| other.usage.startable.contains(name));
    usage.pending.iter().rev().filter(is_needed).take(too_many).cloned().collect()
}

impl Share<'_> {
    /// Says what the study does now, and returns what it may do next.
    ///
    /// All studies together run no more trials than there are slots, and no two of them use one slot. A study that
    /// waits with less than its fair share gets the next slot that becomes free. With more studies than slots, each
    /// runs one trial at a time, in turn.
    pub fn update(&self, waiting: usize, usage: Arc<Usage>) -> Allowed {
        let mut studies = self.sharing.studies.lock();
        let studies = &mut *studies;
        let Some(index) = studies.runs.iter().position(|run| run.id == self.id) else { return Allowed::default() };
        studies.turns += 1;
        let turn = studies.turns;
        let run = &mut studies.runs[index];
        let has_changed = run.usage.slots != usage.slots;
        // A trial that began and ended between two turns is no longer at work, but it does not wait any more either.
        if run.usage.at_work != usage.at_work || waiting < run.waiting {
            run.since = turn;
        }
        (run.waiting, run.usage) = (waiting, usage);
        if has_changed {
            studies.count();
        }
        let (run, total, count) = (&studies.runs[index], studies.total, studies.runs.len());
        let others: Vec<&Run> = studies.runs.iter().filter(|other| other.id != self.id).collect();
        let shared = !others.is_empty();
        let (running, alone) = (run.running(), run.alone());
        let fair = (total / count).max(1);
        let of_all = total.saturating_sub(others.iter().map(|other| other.kept(fair)).sum());
        // Many studies with few slots of their own leave those that they cannot use.
        let meeting = others.iter().filter(|other| other.meets(run)).map(|other| other.kept(fair)).sum();
        let of_own = run.usage.slots.values().sum::<usize>().saturating_sub(meeting);
        let left = alone.min(of_all.max(of_own));
        let is_crowded = run.is_crowded(&others) || running + left == 0;
        // If there are too few slots for all, their names decide whether there is one.
        let granted = if is_crowded { running + alone.saturating_sub(running).min(waiting).min(1) } else { left };
        let more = waiting.min(granted.saturating_sub(running));
        let slots = shared.then(|| free_slots(run, &others, &studies.slots, more));
        let found = slots.as_ref().map(|slots| slots.values().sum::<usize>());
        let mut back = left_to_first(run, &others);
        let kept = run.usage.started.len() - back.len();
        let trials = match found {
            Some(found) if is_crowded => granted.min(running + kept + found),
            _ => granted,
        };
        back.extend(slots_to_end(run, &others, trials));
        let is_served = slots.as_ref().is_none_or(|slots| run.usage.free.iter().any(|name| slots.contains_key(name)));
        let has_none = running == 0 && (trials == 0 || found == Some(0) && run.usage.started.is_empty());
        let waits = shared && waiting > 0 && has_none && run.wanted().next().is_some();
        let run = &mut studies.runs[index];
        (run.granted, run.slots, run.lacks_slot) = (granted, slots.clone(), more > 0 && !is_served);
        (run.is_crowded, run.is_idle) = (is_crowded, waits);
        Allowed { trials, slots, back, shared, waits }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut studies = self.sharing.studies.lock();
        studies.runs.retain(|run| run.id != self.id);
        studies.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A study as the shares see it. Slots elsewhere have names with `/`.
    struct Fake<'a> {
        share: Share<'a>,
        slots: Vec<String>,
        running: Vec<String>,
        /// They wait for a machine.
        started: Vec<String>,
        /// They have a machine and no trial.
        ready: Vec<String>,
    }

    impl<'a> Fake<'a> {
        fn new(sharing: &'a Sharing, limit: usize, slots: &[&str]) -> Self {
            let slots: Vec<String> = slots.iter().map(|name| name.to_string()).collect();
            let usage = usage(&slots, &[], &[], &[]);
            Self { share: sharing.join("s", limit, 9, usage), slots, running: vec![], started: vec![], ready: vec![] }
        }

        /// Tells what it does, and is told what it may do. `waiting` trials wait.
        fn ask(&self, waiting: usize) -> Allowed {
            self.share.update(waiting, usage(&self.slots, &self.running, &self.started, &self.ready))
        }

        /// Asks, ends commands that are too many, and gets slots to work as it is told. Commands wait for a machine.
        fn turn(&mut self, waiting: usize) -> Allowed {
            let allowed = self.ask(waiting);
            self.started.retain(|name| !allowed.back.contains(name));
            self.ready.retain(|name| !allowed.back.contains(name));
            let mut granted = allowed.slots.clone();
            let mut more = waiting.min(allowed.trials.saturating_sub(self.running.len()));
            // A slot that is ready takes a trial first.
            while let Some(name) = (more > 0).then(|| self.ready.pop()).flatten() {
                more -= 1;
                self.running.push(name);
            }
            let used: Vec<String> = self.running.iter().chain(&self.started).cloned().collect();
            for name in left(&self.slots, &used) {
                let pool = pool_of(&name);
                let of_pool = self.started.iter().filter(|started| pool_of(started) == pool).count();
                let is_needed = more > if pool.is_none() { 0 } else { of_pool };
                let count = granted.as_mut().map(|granted| granted.entry(name.clone()).or_default());
                if !is_needed || count.as_ref().is_some_and(|count| **count == 0) {
                    continue;
                }
                if let Some(count) = count {
                    *count -= 1;
                }
                if pool.is_none() {
                    more -= 1;
                    self.running.push(name);
                } else {
                    self.started.push(name);
                }
            }
            self.ready.clear();
            // In each pool there are so many as trials wait.
            let mut of_pool: BTreeMap<String, usize> = BTreeMap::new();
            self.started.retain(|name| {
                let count = of_pool.entry(pool_of(name).unwrap_or_default().into()).or_default();
                *count += 1;
                *count <= more
            });
            allowed
        }
    }

    /// The slots without those that are used.
    fn left(slots: &[String], used: &[String]) -> Vec<String> {
        let mut used = used.to_vec();
        let mut left = slots.to_vec();
        left.retain(|name| match used.iter().position(|other| other == name) {
            Some(index) => {
                used.remove(index);
                false
            }
            None => true,
        });
        left
    }

    fn usage(slots: &[String], running: &[String], pending: &[String], ready: &[String]) -> Arc<Usage> {
        let started: Vec<String> = pending.iter().chain(ready).cloned().collect();
        let used: Vec<String> = running.iter().chain(&started).cloned().collect();
        let (startable, free) = left(slots, &used).into_iter().partition(|name| name.contains('/'));
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        slots.iter().for_each(|name| *counts.entry(name.clone()).or_default() += 1);
        // A trial goes on in a slot that was removed.
        for name in running {
            counts.entry(name.clone()).or_insert(1);
        }
        let at_work = running.iter().cloned().zip(1..).collect();
        let pending = pending.to_vec();
        Arc::new(Usage { slots: counts, at_work, started, pending, free, startable })
    }

    fn names(allowed: &Allowed) -> Vec<&str> {
        allowed.slots.iter().flatten().flat_map(|(name, count)| std::iter::repeat_n(name.as_str(), *count)).collect()
    }

    #[test]
    fn a_second_study_gets_the_next_slot_and_the_first_one_gets_it_back() {
        let sharing = Sharing::default();
        let mut first = Fake::new(&sharing, 9, &["cpu:0", "cpu:1"]);
        assert_eq!(first.turn(9), Allowed { trials: 2, ..Allowed::default() });
        first.ask(9);
        let mut second = Fake::new(&sharing, 9, &["cpu:0", "cpu:1"]);
        // Both slots are taken. The first study starts no further trial once one of its own has ended.
        assert_eq!(second.turn(9).trials, 0);
        first.running.remove(0);
        assert_eq!(first.turn(9).trials, 1);
        assert_eq!(first.running, ["cpu:1"]);
        assert_eq!(second.turn(9).trials, 1);
        assert_eq!(second.running, ["cpu:0"]);
        second.ask(9);
        assert_eq!(sharing.on("cpu:0"), ["s 1"]);
        // The last trial of the second study runs, so that its slot alone is kept for it.
        second.ask(0);
        assert_eq!(first.ask(9).trials, 1);
        drop(second);
        assert_eq!(first.ask(9).trials, 2);
    }

    #[test]
    fn all_slots_are_used_and_none_twice() {
        let sharing = Sharing::default();
        let slots = ["cpu:0", "cpu:1", "cpu:2"];
        let (mut first, mut second) = (Fake::new(&sharing, 9, &slots), Fake::new(&sharing, 9, &slots));
        // Neither has told yet that it has started anything when the other one asks.
        assert_eq!([first.turn(9).trials, second.turn(9).trials], [2, 1]);
        let mut used: Vec<&String> = first.running.iter().chain(&second.running).collect();
        used.sort();
        assert_eq!(used, ["cpu:0", "cpu:1", "cpu:2"]);
        // Each may keep what it has, whoever asks first.
        assert_eq!([second.turn(9).trials, first.turn(9).trials], [1, 2]);
    }

    #[test]
    fn with_more_studies_than_slots_they_take_turns() {
        for slot in ["cuda:0", "far/1"] {
            let sharing = Sharing::default();
            let mut studies: Vec<Fake> = (0..3).map(|_| Fake::new(&sharing, 9, &[slot])).collect();
            let mut turns = vec![];
            for _ in 0..6 {
                for _ in 0..4 {
                    for study in &mut studies {
                        study.turn(9);
                        study.running.append(&mut study.started);
                    }
                }
                turns.extend(studies.iter().position(|study| study.running == [slot]));
                let running: usize = studies.iter().map(|study| study.running.len()).sum();
                assert_eq!(running, 1, "{slot}");
                assert!(sharing.waits("s"));
                for study in &mut studies {
                    study.ready.extend(study.running.drain(..).filter(|name| name.contains('/')));
                }
            }
            assert_eq!(turns, [0, 1, 2, 0, 1, 2], "{slot}");
        }
        let sharing = Sharing::default();
        let mut studies: Vec<Fake> = (0..3).map(|_| Fake::new(&sharing, 9, &["cuda:0"])).collect();
        let waits: Vec<bool> = studies.iter_mut().map(|study| study.turn(9).waits).collect();
        assert_eq!(waits, [false, true, true]);
        // A study that has nothing left to do waits for nothing.
        assert!(!studies[1].turn(0).waits);
        studies.remove(2);
        studies.remove(1);
        assert!(!sharing.waits("s"));
        let second = Fake::new(&sharing, 9, &["cuda:0", "cuda:1"]);
        studies[0].ask(9);
        assert_eq!(names(&second.ask(9)), ["cuda:1"]);
    }

    #[test]
    fn a_short_trial_that_was_not_seen_at_work_is_a_turn_too() {
        let sharing = Sharing::default();
        let mut first = Fake::new(&sharing, 9, &["cuda:0"]);
        let mut second = Fake::new(&sharing, 9, &["cuda:0"]);
        first.turn(9);
        first.running.clear();
        // Its trial began and ended since it spoke last. The second study has not asked yet.
        assert_eq!(first.turn(8).trials, 1);
        first.running.clear();
        let mut begun = 0;
        for left in (0..8).rev() {
            second.turn(9);
            begun += second.running.len();
            second.running.clear();
            first.turn(left);
            first.running.clear();
        }
        assert!(begun > 2, "{begun}");
    }

    #[test]
    fn many_studies_with_one_slot_leave_the_others_alone() {
        let sharing = Sharing::default();
        let mut few: Vec<Fake> = (0..5).map(|_| Fake::new(&sharing, 9, &["far/1"])).collect();
        let mut other = Fake::new(&sharing, 9, &["cuda:0", "cuda:1"]);
        few.iter_mut().for_each(|study| drop(study.turn(9)));
        assert_eq!(other.turn(9).trials, 2);
        assert_eq!(other.running, ["cuda:0", "cuda:1"]);
    }

    #[test]
    fn slots_that_wait_for_a_machine_do_not_bring_two_trials_to_one_device() {
        let sharing = Sharing::default();
        let slots = ["cuda:0", "far/1", "far/2", "far/3", "far/4"];
        let mut first = Fake::new(&sharing, 9, &slots);
        first.turn(9);
        assert_eq!((&first.running[..], first.started.len()), (&["cuda:0".to_string()][..], 4));
        let mut second = Fake::new(&sharing, 9, &slots);
        for _ in 0..4 {
            second.turn(9);
            first.turn(8);
        }
        assert_eq!((&first.running[..], &second.running[..]), (&["cuda:0".to_string()][..], &[][..]));
        // Both wait for slots of their own.
        assert_eq!((first.started.len(), second.started.len()), (2, 2), "{:?}", second.started);
        assert!(!second.started.iter().any(|name| first.started.contains(name)), "{:?}", second.started);
    }

    #[test]
    fn two_studies_in_one_pool_start_other_slots() {
        let sharing = Sharing::default();
        let slots = ["box/1", "box/2", "box/3", "box/4"];
        let (mut first, mut second) = (Fake::new(&sharing, 9, &slots), Fake::new(&sharing, 9, &slots));
        for _ in 0..3 {
            first.turn(9);
            second.turn(9);
        }
        let mut started: Vec<&String> = first.started.iter().chain(&second.started).collect();
        started.sort();
        assert_eq!(started, ["box/1", "box/2", "box/3", "box/4"]);
        assert_eq!(first.started.len(), 2);
    }

    #[test]
    fn a_study_bounds_itself_and_leaves_the_rest_to_others() {
        let sharing = Sharing::default();
        let slots: Vec<String> = (0..16).map(|i| format!("cpu:{i}")).collect();
        let slots: Vec<&str> = slots.iter().map(String::as_str).collect();
        let (mut first, mut second) = (Fake::new(&sharing, 2, &slots), Fake::new(&sharing, 2, &slots));
        first.turn(9);
        second.turn(9);
        assert_eq!(
            (&first.running[..], &second.running[..]),
            (&["cpu:0".to_string(), "cpu:1".into()][..], &["cpu:2".to_string(), "cpu:3".into()][..])
        );
        let mut third = Fake::new(&sharing, 99, &slots);
        assert_eq!(third.turn(20).trials, 12);
        assert_eq!(third.running.len(), 12);
        // With more trials at a time than there are GPUs, trials share GPUs, whoever they belong to.
        let sharing = Sharing::default();
        let mut many = Fake::new(&sharing, 4, &["cuda:0", "cuda:1", "cuda:0", "cuda:1"]);
        many.turn(9);
        assert_eq!(many.running.len(), 4);
        let mut other = Fake::new(&sharing, 9, &["cuda:0", "cuda:1"]);
        many.running.truncate(2);
        many.turn(9);
        other.turn(9);
        assert_eq!((many.running.len(), other.running.len()), (2, 2));
    }

    #[test]
    fn slots_that_were_given_up_or_removed_do_not_count() {
        let sharing = Sharing::default();
        let mut first = Fake::new(&sharing, 9, &["cuda:0", "far/1", "far/2"]);
        first.turn(9);
        first.slots.truncate(1);
        first.started.clear();
        first.turn(8);
        let mut second = Fake::new(&sharing, 9, &["cuda:0"]);
        // One slot is left, and a trial runs in it. So the second study waits.
        let waiting = second.turn(9);
        assert_eq!((waiting.trials, waiting.waits, second.running.len()), (0, true, 0));
        let mut third = Fake::new(&sharing, 9, &["cuda:0", "cuda:1"]);
        first.slots.clear();
        assert_eq!((first.ask(8).slots, first.ask(8).trials), (Some(BTreeMap::new()), 1));
        // The trial ends in the slot that was removed, and the study has nowhere to go.
        first.running.clear();
        assert_eq!(first.turn(8).trials, 0);
        assert_eq!(third.turn(9).trials, 1);
        assert_eq!(third.running, ["cuda:1"]);
    }

    #[test]
    fn commands_that_wait_in_two_pools_make_way_for_another_study() {
        let sharing = Sharing::default();
        let slots = ["far/1", "far/2", "box/1", "box/2"];
        let mut first = Fake::new(&sharing, 2, &slots);
        // It waits in both pools for whatever comes first.
        first.turn(9);
        assert_eq!(first.started.len(), 4);
        let mut second = Fake::new(&sharing, 9, &slots);
        for _ in 0..3 {
            second.turn(9);
            first.turn(9);
        }
        assert_eq!((first.started.len(), second.started.len()), (2, 2));
        assert!(!second.started.iter().any(|name| first.started.contains(name)), "{:?}", second.started);
    }

    #[test]
    fn while_slots_elsewhere_do_not_start_studies_take_turns_on_a_device() {
        let sharing = Sharing::default();
        let slots = ["cuda:0", "far/1", "far/2"];
        let (mut first, mut second) = (Fake::new(&sharing, 9, &slots), Fake::new(&sharing, 9, &slots));
        let mut turns = vec![];
        for _ in 0..6 {
            for _ in 0..3 {
                first.turn(9);
                second.turn(9);
            }
            turns.push((first.running.len(), second.running.len()));
            first.running.clear();
            second.running.clear();
        }
        assert_eq!(turns, [(1, 0), (0, 1), (1, 0), (0, 1), (1, 0), (0, 1)]);
    }

    #[test]
    fn whatever_happens_no_slot_is_used_twice_and_each_study_gets_on() {
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let all = ["cuda:0", "cuda:1", "cuda:1", "far/1", "far/2", "box/1", "box/2"];
        for round in 0..60 {
            let sharing = Sharing::default();
            let mut studies = vec![];
            // Every other round has more studies than slots.
            let (count, keep) = if round % 2 == 0 { (2 + random(3), 66) } else { (4 + random(5), 25) };
            for _ in 0..count {
                let slots: Vec<&str> = all.into_iter().filter(|_| random(100) < keep).collect();
                studies.push((Fake::new(&sharing, 1 + random(7), &slots), 0));
            }
            studies.retain(|(study, _)| !study.slots.is_empty());
            for _ in 0..200 * studies.len() {
                let index = random(studies.len());
                let (study, begun) = &mut studies[index];
                let before = study.running.len();
                if before > 0 && random(2) == 0 {
                    let ended = study.running.remove(random(before));
                    // The slot elsewhere is ready for the next trial.
                    study.ready.extend(Some(ended).filter(|name| name.contains('/')));
                }
                let before = study.running.len();
                let allowed = study.turn(9);
                // A machine answers, except for those of `box`.
                if allowed.trials > study.running.len()
                    && let Some(at) = study.started.iter().position(|name| name.starts_with("far/"))
                {
                    let name = study.started.remove(at);
                    study.running.push(name);
                }
                *begun += study.running.len() - before;
                let used = studies
                    .iter()
                    .flat_map(|(study, _)| study.running.iter().chain(&study.started).chain(&study.ready));
                let used = counts(used.map(String::as_str));
                let capacity = &sharing.studies.lock().slots;
                let twice = used.iter().any(|(name, count)| *count > capacity[*name]);
                assert!(!twice, "round {round}: {used:?}");
            }
            // A study that waits for a machine of `box` only has its share.
            let can_start = |study: &Fake| !study.slots.iter().any(|name| name.starts_with("box/"));
            for (study, begun) in &studies {
                assert!(*begun > 9 || !can_start(study), "round {round}: {begun} of {:?}", study.slots);
            }
        }
    }

    #[test]
    fn a_study_that_can_use_one_device_only_gets_it() {
        let sharing = Sharing::default();
        let mut rich = Fake::new(&sharing, 9, &["cuda:0", "far/1", "far/2", "far/3"]);
        rich.running = vec!["cuda:0".into(), "far/1".into(), "far/2".into(), "far/3".into()];
        rich.ask(9);
        let mut poor = Fake::new(&sharing, 9, &["cuda:0"]);
        rich.running.pop();
        rich.turn(9);
        // There is room for a trial, but not on its device.
        let waiting = poor.turn(9);
        assert_eq!((waiting.trials, waiting.waits, poor.running.len()), (0, true, 0));
        // The other study does not go on there, although it could.
        rich.running.remove(0);
        rich.turn(9);
        assert!(!rich.running.contains(&"cuda:0".to_string()), "{:?}", rich.running);
        poor.turn(9);
        assert_eq!(poor.running, ["cuda:0"]);
    }
}
