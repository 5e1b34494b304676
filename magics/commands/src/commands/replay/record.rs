//! What the store has of a study and of its replay.

use super::bundled::{self, Bundled};
use crate::commands::sweep::trial_options::{self, GivenTrial, TrialOptions};
use crate::error::{ErrorName, MagicError, Result};
use crate::magic::Context;
use crate::studies::{is_replayed, replay_of};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use tunebook_study::store::{NewTrial, Store, StudyRecord, StudyWriter, trials_folder};
use tunebook_study::{StopEarly, StudyDefinition, Trial, TrialState};

/// The kind of the result that says of which study another one is the replay.
const REPLAYED: &str = "replay_of";

/// How many trials of a study are left out, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// They were interrupted, or run now.
    pub cancelled: usize,
    /// They ran longer than their time limit, which depends on the machine.
    pub timed_out: usize,
}

/// What a study recorded of its trials.
pub struct Record {
    /// All recorded trials of the study, whatever became of them.
    pub all: Vec<Trial>,
    /// Those that run again, by number.
    pub trials: BTreeMap<u32, Trial>,
    pub left_out: LeftOut,
    /// What the trials read from the bundle that the store belongs to.
    pub bundled: Vec<Bundled>,
    options: BTreeMap<u32, TrialOptions>,
}

impl Record {
    pub fn of(context: &Context, store: &Store, study: &StudyRecord) -> Result<Self> {
        let all = store.trials(study)?;
        let mut left_out = LeftOut::default();
        let mut trials = BTreeMap::new();
        for trial in &all {
            match is_replayed(trial) {
                true => drop(trials.insert(trial.number, trial.clone())),
                false if trial.state.runs_again() => left_out.cancelled += 1,
                false => left_out.timed_out += 1,
            }
        }
        let bundled = bundled::of(&context.store_file(), &study.definition);
        Ok(Self { all, trials, left_out, bundled, options: trial_options::recorded(store, study)? })
    }

    /// Whether a trial was stopped because of what others had reached by then. Its replay stops at the step at which it
    /// stopped, and is compared as far as that.
    pub fn is_cut_short(&self, trial: &Trial) -> bool {
        let options = self.options.get(&trial.number);
        trial.state == TrialState::Stopped && options.is_none_or(|options| options.until.is_none())
    }

    /// The numbers of the trials that have not ended in the replay. A trial that failed there, but not in the study,
    /// has not ended. Trials that failed in the study are the last ones: a run ends if all of its first trials fail.
    pub fn missing(&self, again: &[Trial]) -> Vec<u32> {
        let states: HashMap<u32, TrialState> = again.iter().map(|trial| (trial.number, trial.state)).collect();
        let ended = |trial: &Trial| match states.get(&trial.number) {
            None => false,
            Some(TrialState::Failed) => trial.state == TrialState::Failed,
            Some(state) => !state.runs_again(),
        };
        let missing = self.trials.values().filter(|trial| !ended(trial)).map(|trial| trial.number);
        let mut missing: Vec<u32> = missing.collect();
        missing.sort_by_key(|number| (self.trials[number].state == TrialState::Failed, *number));
        missing
    }

    /// Trials as they are to run again.
    pub fn given(&self, numbers: &[u32]) -> BTreeMap<u32, GivenTrial> {
        let given = |number: &u32| {
            let Trial { number, configuration, params, seed, .. } = self.trials.get(number)?.clone();
            let options = self.options.get(&number).cloned().unwrap_or_default();
            let stop_at = self.trials.get(&number).filter(|trial| self.is_cut_short(trial)).and_then(last_step);
            let given = GivenTrial { trial: NewTrial { number, configuration, params, seed }, options, stop_at };
            Some((number, bundled::trial(&self.bundled, given)))
        };
        numbers.iter().filter_map(given).collect()
    }
}

/// The last step at which a trial measured something.
fn last_step(trial: &Trial) -> Option<u64> {
    trial.summaries.values().map(|summary| summary.last.1).max()
}

/// The definition of the replay of a study.
pub fn definition(study: &StudyRecord) -> StudyDefinition {
    let question = format!("Do the trials of {} give the same results if they run again?", study.name);
    // Where a rule stops a trial depends on the order in which measurements arrive. The replay stops the trials that
    // stopped, where they did, and no others.
    StudyDefinition { question: Some(question), notes: None, stop_early: StopEarly::None, ..study.definition.clone() }
}

/// The replay of a study that the store has, with its trials. An error if the study of its name is another one, unless
/// it is an older replay and `again` deletes it.
pub fn earlier(context: &Context, study: &StudyRecord, again: bool) -> Result<Option<(StudyRecord, Vec<Trial>)>> {
    let name = replay_of(study);
    let Ok((store, replay)) = context.find_study(&name)? else { return Ok(None) };
    let Some(origin) = store.result(&replay, REPLAYED, "")? else {
        let message = format!("there is already a study `{name}`, and it is no replay");
        let help = format!("the replay is recorded under this name. `%study delete {name}` deletes the old study");
        return Err(MagicError::new(ErrorName::StudyExists, message, Some(help)));
    };
    if again {
        let folder = trials_folder(&context.store_file(), &name)?;
        context.store()?.write(replay)?.delete()?;
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("the folder {} cannot be removed: {error}", folder.display());
                return Err(MagicError::advising(ErrorName::FileError, message, "remove it by hand"));
            }
            _ => return Ok(None),
        }
    }
    let is_of_this = origin["created"] == json!(study.created)
        && replay.definition.space == study.definition.space
        && replay.definition.workload == study.definition.workload
        && replay.definition.objective.is_same_metric(&study.definition.objective);
    if !is_of_this {
        let message = format!("`{name}` is the replay of an earlier study `{}`, which had another record", study.name);
        return Err(MagicError::new(ErrorName::StudyExists, message, Some("`--again` replaces it".into())));
    }
    let trials = store.trials(&replay)?;
    Ok(Some((replay, trials)))
}

/// The writer of the replay of a study, which is created if there is none.
pub fn writer(context: &Context, study: &StudyRecord) -> Result<StudyWriter> {
    let mut store = context.store()?;
    let name = replay_of(study);
    let replay = match store.study(&name)? {
        Some(replay) => replay,
        None => {
            let replay = store.create_study(&name, &definition(study))?;
            store.keep_result(&replay, REPLAYED, "", &json!({ "study": study.name, "created": study.created }))?;
            replay
        }
    };
    Ok(store.write(replay)?)
}
