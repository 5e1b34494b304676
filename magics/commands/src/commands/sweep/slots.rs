//! The slots that a sweep uses, on this machine and in the pools that `%pool` has added, and where its trials ran.

use super::copied::{Contents, contents};
use super::plan::SweepPlan;
use super::run_context::RunContext;
use crate::error::{ErrorName, MagicError, Result};
use crate::magic::{Context, LOCAL, Pools};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tunebook_pool::{
    Copied, Devices, FarPool, NeededFile, Needs, SlotSpec, SlotState, SlotStatus, default_slots, name_of_this_machine,
};
use tunebook_study::WorkloadReference;
use tunebook_study::store::{Store, StudyRecord, StudyWriter};

/// The kind of the result that says where the trials of a study ran.
const PLACES: &str = "places";

/// The slots of a sweep.
pub struct Slots {
    /// On this machine.
    pub here: Vec<SlotSpec>,
    /// In pools.
    pub far: Vec<SlotSpec>,
    /// At most so many trials run at a time. None if all slots may be used.
    pub limit: Option<usize>,
}

impl Slots {
    /// The slots of a run on these devices. The number of trials at a time is bounded: the slots that this leaves idle
    /// are there too, so that a sweep can avoid those that others use. Without pools there are at least so many slots
    /// on this machine.
    pub fn of(context: &Context, run: &RunContext, devices: &Devices) -> Self {
        let RunContext { folder, environment, parallel, .. } = run;
        let (parallel, slot) = (*parallel, &context.settings.slot);
        let mut far: Vec<SlotSpec> = run.pools.iter().flat_map(|pool| pool.specs(slot, environment)).collect();
        // The program of a prefix may be a path from there.
        far.iter_mut().for_each(|spec| spec.folder = Some(folder.clone()));
        let here = |count| default_slots(devices, slot, environment, folder, count, run.per_gpu);
        let here = match (run.without_local, here(None)) {
            (true, _) => vec![],
            (false, all) if far.is_empty() && parallel.is_some_and(|count| count > all.len()) => here(parallel),
            (false, all) => all,
        };
        Self { here, far, limit: parallel }
    }

    /// How many trials run at a time once all slots are there.
    pub fn at_once(&self) -> usize {
        (self.here.len() + self.far.len()).min(self.limit.unwrap_or(usize::MAX))
    }

    /// The names of all slots.
    pub fn names(&self) -> Vec<String> {
        self.here.iter().chain(&self.far).map(|spec| spec.device.clone()).collect()
    }
}

/// An error if this session has no slot.
pub fn check(context: &Context) -> Result<()> {
    let pools = context.pools.lock();
    check_any(pools.without_local, &pools.far)
}

/// An error if there is no slot.
pub fn check_any(without_local: bool, pools: &[FarPool]) -> Result<()> {
    if !without_local || !pools.is_empty() {
        return Ok(());
    }
    let help = Some(format!("`%pool add {LOCAL}` lets trials run on this machine again"));
    Err(MagicError::new(ErrorName::SlotError, "there is no slot: this machine was removed from `%pool`", help))
}

/// What the nodes of each pool need, so that trials of a plan can run there. `folder` holds the folders of the study's
/// trials.
pub fn needs(
    (context, run): (&Context, &RunContext),
    plan: &SweepPlan,
    writer: &StudyWriter,
    devices: &Devices,
    folder: &Path,
) -> Result<BTreeMap<String, Needs>> {
    let (mut needs, mut shared) = (BTreeMap::new(), None::<Needs>);
    for pool in &run.pools {
        let of_pool = match &pool.copies {
            Some(patterns) => copied((context, run), plan, writer, devices, folder, &pool.name, patterns)?,
            None => {
                if shared.is_none() {
                    shared = Some(to_share((context, run), plan, devices, folder)?);
                }
                shared.clone().unwrap_or_default()
            }
        };
        needs.insert(pool.name.clone(), of_pool);
    }
    Ok(needs)
}

/// What a node must share with this machine.
fn to_share(
    (context, run): (&Context, &RunContext),
    plan: &SweepPlan,
    devices: &Devices,
    folder: &Path,
) -> Result<Needs> {
    let mut paths: Vec<PathBuf> = context.settings.slot.first().map(PathBuf::from).into_iter().collect();
    let mut folders = vec![folder.to_path_buf()];
    if !matches!(plan.definition.workload, WorkloadReference::Command(_)) {
        paths.push(plan.worker.clone().unwrap_or_else(|| context.settings.worker.clone()));
        folders.extend(devices.libtorch_folder.clone());
    }
    // A folder of the same name on another disk does not have this file.
    let mark = folder.join(".shared");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&mark, uuid::Uuid::new_v4().to_string()))
        .map_err(|error| unreadable(&mark, &error))?;
    paths.push(mark);
    let mut pools = context.pools.lock();
    let files = paths.iter().map(|path| needed(&mut pools, path)).collect::<Result<Vec<_>>>()?;
    let environment = run.environment.elsewhere();
    Ok(Needs { folder: run.folder.clone(), environment, folders, files, copied: None })
}

/// What is copied to a node of the pool `pool` with `--copy`, whose `--with` names `patterns`.
fn copied(
    (context, run): (&Context, &RunContext),
    plan: &SweepPlan,
    writer: &StudyWriter,
    devices: &Devices,
    folder: &Path,
    pool: &str,
    patterns: &[String],
) -> Result<Needs> {
    let current = run.folder.clone();
    let Contents { files, whole, libraries, defaults, .. } =
        contents(context, plan, writer, devices, &current, patterns)?;
    let mut pools = context.pools.lock();
    let files = files.keys().map(|path| needed(&mut pools, path)).collect::<Result<Vec<_>>>()?;
    let executable = context.settings.slot.first().map(PathBuf::from).unwrap_or_default();
    let copied = Copied {
        executable: needed(&mut pools, &executable)?,
        origin: name_of_this_machine(),
        // Two pools can lead to one machine, with other files.
        study: format!("{} {pool}", writer.study().created),
        trials: folder.into(),
        libraries,
        defaults,
    };
    let folders = whole.into_iter().chain([folder.to_path_buf()]).collect();
    let environment = run.environment.elsewhere();
    Ok(Needs { folder: current, environment, folders, files, copied: Some(copied) })
}

/// A file with its hash and its size.
fn needed(pools: &mut Pools, path: &Path) -> Result<NeededFile> {
    let metadata = path.metadata().map_err(|error| unreadable(path, &error))?;
    let sha256 = pools.hash(path).map_err(|error| unreadable(path, &error))?;
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(NeededFile { path: path.into(), sha256, size: metadata.len(), executable })
}

fn unreadable(path: &Path, error: &std::io::Error) -> MagicError {
    MagicError::new(ErrorName::SlotError, format!("{} cannot be read: {error}", path.display()), None)
}

/// The commands of the pools, for the environment that a study records.
pub fn commands(run: &RunContext) -> Value {
    let command = |pool: &FarPool| {
        let words = pool.launcher.command(&pool.name, 0, &["tunebook".into()]);
        json!({ "pool": pool.name, "kind": pool.launcher.kind(), "slots": pool.slots,
            "copies": pool.copies.is_some(), "command": words.join(" ") })
    };
    run.pools.iter().map(command).collect()
}

/// The names of the pools of a run to which files are copied.
pub fn copying(run: &RunContext) -> Vec<String> {
    run.pools.iter().filter(|pool| pool.copies.is_some()).map(|pool| pool.name.clone()).collect()
}

/// Those of these pools in which the last runs of these trials were.
pub fn used(pools: Vec<String>, places: &Map<String, Value>, numbers: &[u32]) -> Vec<String> {
    let places: Vec<&str> =
        numbers.iter().filter_map(|number| places.get(&number.to_string()).and_then(Value::as_str)).collect();
    let is_in = |pool: &String, place: &str| place.split_once('/').is_some_and(|(name, _)| name == pool.as_str());
    pools.into_iter().filter(|pool| places.iter().any(|place| is_in(pool, place))).collect()
}

/// A line about the slots of each pool: how many run, wait, and have failed, and why. None without pools.
pub fn line(status: &[SlotStatus]) -> Option<String> {
    let mut pools: Vec<&str> = status.iter().filter_map(|slot| slot.pool.as_deref()).collect();
    pools.dedup();
    let of = |pool: &str| {
        let slots: Vec<&SlotStatus> = status.iter().filter(|slot| slot.pool.as_deref() == Some(pool)).collect();
        let mut parts = vec![];
        for (state, name) in
            [(SlotState::Running, "running"), (SlotState::Pending, "pending"), (SlotState::Failed, "failed")]
        {
            let of_state: Vec<&&SlotStatus> = slots.iter().filter(|slot| slot.state == state).collect();
            let reason = of_state.iter().find_map(|slot| slot.reason.as_deref());
            let reason =
                reason.filter(|_| state != SlotState::Running).map_or(String::new(), |why| format!(" ({why})"));
            if !of_state.is_empty() {
                parts.push(format!("{} {name}{reason}", of_state.len()));
            }
        }
        if parts.is_empty() { None } else { Some(format!("pool {pool}: {}", parts.join(", "))) }
    };
    let lines: Vec<String> = pools.into_iter().filter_map(of).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// A sentence about slots elsewhere that failed, never answered or lost trials in the sweep of a study, which has just
/// ended. None if none did.
pub fn note(context: &Context, study: &str) -> Option<String> {
    note_on(context.pools.lock().last_of(study))
}

fn note_on(slots: &[SlotStatus]) -> Option<String> {
    let far = || slots.iter().filter(|slot| slot.pool.is_some());
    let mut pools: Vec<&str> = far().filter_map(|slot| slot.pool.as_deref()).collect();
    pools.dedup();
    let lost: u32 = far().map(|slot| slot.lost).sum();
    let mut parts = vec![];
    for pool in pools {
        let of_pool = || far().filter(move |slot| slot.pool.as_deref() == Some(pool));
        let count = |count: usize| if count == 1 { "1 slot".into() } else { format!("{count} slots") };
        let failed: Vec<&SlotStatus> = of_pool().filter(|slot| slot.state == SlotState::Failed).collect();
        if let Some(first) = failed.first() {
            let reason = first.reason.as_deref().unwrap_or("no reason is known");
            let count = count(failed.len());
            parts.push(format!("{count} of pool `{pool}` could not be started ({}: {reason})", first.slot));
        }
        let silent: Vec<(&SlotStatus, &String)> = of_pool()
            .filter(|slot| slot.state != SlotState::Failed)
            .filter_map(|slot| Some((slot, slot.unanswered.as_ref()?)))
            .collect();
        if let Some((first, how)) = silent.first() {
            let count = count(silent.len());
            parts.push(format!("{count} of pool `{pool}` gave no answer ({}: {how})", first.slot));
        }
    }
    match lost {
        0 => {}
        1 => parts.push("1 trial lost its slot and ran again".into()),
        lost => parts.push(format!("slots were lost under a trial {lost} times, and these trials ran again")),
    }
    (!parts.is_empty()).then(|| format!("{}; `%pool` lists the slots.", parts.join("; ")))
}

/// Where the trials of a study ran, by their numbers. It is written at times, and when it is dropped nothing is lost
/// but the last second.
pub struct Places {
    places: BTreeMap<u32, String>,
    changed: bool,
    next: Instant,
}

impl Places {
    /// Those that are recorded.
    pub fn read(store: &Store, study: &StudyRecord) -> Result<Self> {
        let recorded = recorded(store, study)?;
        let places =
            recorded.iter().filter_map(|(number, place)| Some((number.parse().ok()?, place.as_str()?.to_string())));
        Ok(Self { places: places.collect(), changed: false, next: Instant::now() })
    }

    pub fn ran(&mut self, number: u32, place: String) {
        self.places.insert(number, place);
        self.changed = true;
    }

    /// Writes them if something has changed, and not more often than is cheap unless `now`.
    pub fn write(&mut self, store: &Store, study: &StudyRecord, now: bool) -> Result<()> {
        let started = Instant::now();
        if !self.changed || (!now && started < self.next) {
            return Ok(());
        }
        let places: Map<String, Value> =
            self.places.iter().map(|(number, place)| (number.to_string(), json!(place))).collect();
        store.keep_result(study, PLACES, "", &Value::Object(places))?;
        self.changed = false;
        self.next = Instant::now() + (started.elapsed() * 50).max(Duration::from_secs(1));
        Ok(())
    }
}

/// How many trials each machine ran last, as a sentence. None if all ran on this one.
pub fn by_machine(places: &Map<String, Value>) -> Option<String> {
    let mut machines: BTreeMap<&str, usize> = BTreeMap::new();
    for place in places.values().filter_map(Value::as_str) {
        *machines.entry(place.split_once(" on ").map_or("this machine", |(_, node)| node)).or_default() += 1;
    }
    if machines.keys().all(|machine| *machine == "this machine") {
        return None;
    }
    let counts: Vec<String> = machines.iter().map(|(machine, count)| format!("{machine} {count}")).collect();
    Some(format!("Trials by machine: {}.", counts.join(", ")))
}

/// Where the trials of a study ran, by their numbers as text.
pub fn recorded(store: &Store, study: &StudyRecord) -> Result<Map<String, Value>> {
    match store.result(study, PLACES, "")? {
        Some(Value::Object(places)) => Ok(places),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sweep::plan::SweepOptions;
    use crate::testing::context;
    use tunebook_pool::{Device, Launcher};

    #[test]
    fn a_note_names_each_pool_whose_slots_failed_or_never_answered() {
        let slot = |name: &str, state, reason: Option<&str>, unanswered: Option<&str>| SlotStatus {
            slot: name.into(),
            pool: name.split_once('/').map(|(pool, _)| pool.into()),
            pool_id: name.contains('/').then_some(0),
            state,
            given_up: false,
            node: None,
            job: None,
            reason: reason.map(String::from),
            unanswered: unanswered.map(String::from),
            trials: 0,
            lost: 0,
        };
        let slots = [
            slot("cpu:0", SlotState::Idle, None, None),
            slot("a/1", SlotState::Failed, Some("no route"), None),
            slot("a/2", SlotState::Failed, Some("no route"), None),
            slot("b/1", SlotState::Failed, Some("no such host"), Some("no answer within 99 s")),
            slot("c/1", SlotState::Idle, None, Some("no answer within 34 s")),
            slot("d/1", SlotState::Idle, None, None),
        ];
        let expected = "2 slots of pool `a` could not be started (a/1: no route); 1 slot of pool `b` could not be \
                        started (b/1: no such host); 1 slot of pool `c` gave no answer (c/1: no answer within 34 s); \
                        `%pool` lists the slots.";
        assert_eq!(note_on(&slots).as_deref(), Some(expected));
        assert_eq!(note_on(&slots[..1]), None);
    }

    #[test]
    fn a_sweep_has_all_slots_and_bounds_its_trials() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let gpu = |index: usize| Device {
            id: format!("cuda:{index}"),
            kind: "cuda".into(),
            name: "GPU".into(),
            memory_bytes: Some(80),
            free_bytes: Some(80),
            utilization: None,
            usable_by_libtorch: true,
        };
        let devices = (0..2).map(gpu).collect();
        let devices = Devices { devices, libtorch: None, driver: None, libtorch_folder: None };
        let of = |parallel| {
            let run = RunContext::new(&context, &SweepOptions { parallel, ..SweepOptions::default() }).unwrap();
            let slots = Slots::of(&context, &run, &devices);
            (slots.names().join(" "), slots.at_once())
        };
        assert_eq!(of(None), ("cuda:0 cuda:1".into(), 2));
        assert_eq!(of(Some(1)), ("cuda:0 cuda:1".into(), 1));
        // With more trials at a time than there are GPUs, trials share GPUs.
        assert_eq!(of(Some(3)), ("cuda:0 cuda:1 cuda:0".into(), 3));
        let launcher = Launcher::Prefix(vec!["env".into()]);
        context.pools.lock().add(FarPool { name: "far".into(), id: 0, launcher, slots: 2, copies: None });
        assert_eq!(of(None), ("cuda:0 cuda:1 far/1 far/2".into(), 4));
        assert_eq!(of(Some(1)), ("cuda:0 cuda:1 far/1 far/2".into(), 1));
        assert_eq!(of(Some(9)).1, 4);
    }
}
