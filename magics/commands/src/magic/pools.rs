//! The pools beyond this machine that `%pool` has added in this session.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tunebook_pool::{FarPool, SlotSpec, SlotState, SlotStatus};

/// The name under which the slots of this machine are listed.
pub const LOCAL: &str = "local";

/// Where trials run.
#[derive(Default)]
pub struct Pools {
    pub far: Vec<FarPool>,
    /// Whether no trial runs on this machine.
    pub without_local: bool,
    /// How often pools were added and removed.
    version: u64,
    /// The number of the pool that is added next.
    next_id: u64,
    /// What the slots do, by the studies that run.
    running: BTreeMap<String, Vec<SlotStatus>>,
    /// The study whose sweep ended last, and how it left its slots.
    last: (String, Vec<SlotStatus>),
    /// The hashes of files, with the length and the time of change for which they hold.
    hashes: BTreeMap<PathBuf, (u64, Option<SystemTime>, String)>,
}

impl Pools {
    /// Adds a pool, and gives it a number of its own.
    pub fn add(&mut self, pool: FarPool) {
        let id = self.next_id;
        (self.next_id, self.version) = (id + 1, self.version + 1);
        self.far.push(FarPool { id, ..pool });
    }

    /// Removes a pool. False if there is none of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(index) = self.far.iter().position(|pool| pool.name == name) else { return false };
        let id = self.far.remove(index).id;
        self.version += 1;
        for status in self.running.values_mut().chain([&mut self.last.1]) {
            status.retain(|slot| slot.pool_id != Some(id) || is_at_work(slot));
        }
        true
    }

    /// Says whether trials run on this machine.
    pub fn set_local(&mut self, used: bool) {
        self.without_local = !used;
        self.version += 1;
    }

    /// A number that changes when pools are added or removed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the pool of a slot was removed since a sweep began with it.
    pub fn is_removed(&self, spec: &SlotSpec) -> bool {
        match &spec.far {
            Some(far) => !self.far.iter().any(|pool| pool.id == far.id),
            None => self.without_local,
        }
    }

    /// Remembers what the slots of a study do, which runs.
    pub fn runs(&mut self, study: &str, status: Vec<SlotStatus>) {
        self.running.insert(study.into(), status);
    }

    /// Remembers how a sweep left its slots.
    pub fn ended(&mut self, study: &str, status: Vec<SlotStatus>) {
        self.running.remove(study);
        self.last = (study.into(), status);
    }

    /// How the sweep of a study left its slots. Nothing if another one ended later.
    pub fn last_of(&self, study: &str) -> &[SlotStatus] {
        if self.last.0 == study { &self.last.1 } else { &[] }
    }

    /// What all slots do, or how the last sweep left them if none runs. A slot is listed once, as the study says that
    /// uses it; its counts are those of all studies.
    pub fn status(&self) -> Vec<SlotStatus> {
        let studies: Vec<&Vec<SlotStatus>> = self.running.values().collect();
        match studies[..] {
            [] => self.last.1.clone(),
            [only] => only.clone(),
            _ => merged(&studies),
        }
    }

    /// The hash of a file. It is computed again only if the file has changed.
    pub fn hash(&mut self, path: &Path) -> std::io::Result<String> {
        let metadata = std::fs::metadata(path)?;
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        if let Some((known, at, hash)) = self.hashes.get(path)
            && (*known, *at) == (length, modified)
        {
            return Ok(hash.clone());
        }
        let hash = tunebook_pool::hash(path)?;
        self.hashes.insert(path.into(), (length, modified, hash.clone()));
        Ok(hash)
    }
}

/// The name of a slot, and the number of its pool: a pool that was removed and one that was added under its name have
/// slots of the same names.
type Name<'a> = (&'a str, Option<u64>);

/// The slots of several studies, each once. A device has as many slots as in the study with most of them, or as run a
/// trial now.
fn merged(studies: &[&Vec<SlotStatus>]) -> Vec<SlotStatus> {
    let mut names: Vec<Name<'_>> = vec![];
    // The slots of each name, and how many a study has at most.
    let mut of_name: BTreeMap<Name<'_>, (Vec<&SlotStatus>, usize)> = BTreeMap::new();
    for study in studies {
        let mut counts: BTreeMap<Name<'_>, usize> = BTreeMap::new();
        for slot in study.iter() {
            let name = (slot.slot.as_str(), slot.pool_id);
            let (slots, most) = of_name.entry(name).or_default();
            if slots.is_empty() {
                names.push(name);
            }
            slots.push(slot);
            let count = counts.entry(name).or_default();
            *count += 1;
            *most = (*most).max(*count);
        }
    }
    let mut merged: Vec<SlotStatus> = vec![];
    for name in names {
        let Some((mut slots, most)) = of_name.remove(&name) else { continue };
        slots.sort_by_key(|slot| ORDER.iter().position(|state| *state == slot.state));
        let listed = most.max(slots.iter().filter(|slot| is_at_work(slot)).count());
        let (first, rest) = (merged.len(), slots.split_off(listed));
        merged.extend(slots.into_iter().cloned());
        for slot in rest {
            merged[first].trials += slot.trials;
            merged[first].lost += slot.lost;
        }
    }
    merged
}

/// Of several studies, the one in whose words a slot is described has the state that comes first here.
const ORDER: [SlotState; 4] = [SlotState::Running, SlotState::Pending, SlotState::Failed, SlotState::Idle];

/// Whether a sweep has the slot now.
pub fn is_at_work(slot: &SlotStatus) -> bool {
    matches!(slot.state, SlotState::Running | SlotState::Pending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_pool::Launcher;

    fn slot(name: &str, state: SlotState, trials: u32) -> SlotStatus {
        let (node, job, reason, unanswered) = (None, None, None, None);
        let pool = name.split_once('/').map(|(pool, _)| pool.to_string());
        let pool_id = pool.as_ref().map(|_| 0);
        SlotStatus {
            slot: name.into(),
            pool,
            pool_id,
            state,
            given_up: false,
            node,
            job,
            reason,
            unanswered,
            trials,
            lost: 0,
        }
    }

    fn listed(pools: &Pools) -> Vec<(String, SlotState, u32)> {
        pools.status().into_iter().map(|slot| (slot.slot, slot.state, slot.trials)).collect()
    }

    #[test]
    fn the_slots_of_all_studies_that_run_are_listed_once() {
        use SlotState::{Failed, Idle, Pending, Running};
        let mut pools = Pools::default();
        pools.runs("a", vec![slot("cuda:0", Running, 1), slot("far/1", Idle, 0), slot("far/2", Failed, 2)]);
        pools.runs("b", vec![slot("cuda:0", Idle, 4), slot("far/1", Pending, 0), slot("far/2", Idle, 1)]);
        let expected = |name: &str, state, trials| (name.to_string(), state, trials);
        let both = [expected("cuda:0", Running, 5), expected("far/1", Pending, 0), expected("far/2", Failed, 3)];
        assert_eq!(listed(&pools), both);
        // Two trials on one device are two slots.
        pools.runs("b", vec![slot("cuda:0", Running, 4), slot("cuda:0", Idle, 5)]);
        assert_eq!(listed(&pools)[..2], [expected("cuda:0", Running, 6), expected("cuda:0", Running, 4)][..]);
        // What ended is listed only once nothing runs.
        pools.ended("a", vec![slot("cuda:0", Idle, 9)]);
        assert_eq!(listed(&pools), [expected("cuda:0", Running, 4), expected("cuda:0", Idle, 5)]);
        assert_eq!((pools.last_of("a").len(), pools.last_of("b").len()), (1, 0));
        pools.ended("b", vec![slot("cuda:0", Idle, 8)]);
        assert_eq!(listed(&pools), [expected("cuda:0", Idle, 8)]);
        // The slots of a pool that was removed are not those of a new one of its name.
        pools.runs("a", vec![slot("far/1", Running, 1)]);
        pools.runs("b", vec![SlotStatus { pool_id: Some(1), ..slot("far/1", Running, 2) }]);
        assert_eq!(listed(&pools), [expected("far/1", Running, 1), expected("far/1", Running, 2)]);
    }

    #[test]
    fn a_pool_that_is_added_again_is_another_one() {
        let mut pools = Pools::default();
        let pool = || FarPool { name: "far".into(), id: 0, launcher: Launcher::Prefix(vec![]), slots: 1, copies: None };
        let specs = |pools: &Pools| pools.far[0].specs(&[], &Default::default());
        pools.add(pool());
        let first = specs(&pools);
        let version = pools.version();
        assert!(!pools.is_removed(&first[0]));
        assert!(pools.remove("far") && !pools.remove("far"));
        assert!(pools.is_removed(&first[0]) && pools.version() != version);
        pools.add(pool());
        assert!(pools.is_removed(&first[0]) && !pools.is_removed(&specs(&pools)[0]));
        let here = SlotSpec { device: "cpu:0".into(), far: None, ..first[0].clone() };
        pools.set_local(false);
        assert!(pools.is_removed(&here));
        pools.set_local(true);
        assert!(!pools.is_removed(&here));
    }
}
