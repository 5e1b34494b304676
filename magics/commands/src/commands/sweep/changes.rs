//! Finds files that have changed since trials of a study read them: the program, its configuration, data. A study whose
//! files have changed is not extended, unless the user accepts that it then has trials from before and after.

use crate::error::{ErrorName, MagicError, Result};
use crate::files::ends_path;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tunebook_pool::program_line;
use tunebook_study::protocol::DataSource;
use tunebook_study::store::{AcceptedChange, Store, StudyRecord, StudyWriter};
use tunebook_study::{Distribution, Params, ProgramLine, SearchSpace, StudyDefinition, TrialState, WorkloadReference};

/// Of a larger file, only so much of its beginning is hashed, with its length and the time of its last change.
const HASHED: u64 = 256 << 20;
/// A file that has changed this often while trials ran is one that they write themselves, such as a log.
const OUTPUT_AFTER: u32 = 3;
/// A word with placeholders stands for at most so many files.
const FILES_OF_WORD: usize = 100;

/// A file that has changed since trials read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub path: PathBuf,
    /// The path as the user knows it.
    pub what: String,
    before: String,
    /// None if the file is gone.
    after: Option<String>,
}

/// The files of a study that have changed since its trials read them last.
pub fn changes(store: &Store, study: &StudyRecord) -> Result<Vec<Change>> {
    changes_in(store, study, &std::env::current_dir().unwrap_or_default())
}

/// The same, where relative paths begin in `folder`.
pub fn changes_in(store: &Store, study: &StudyRecord, folder: &Path) -> Result<Vec<Change>> {
    let inputs = store.inputs(study)?;
    let is_there = |path: &Path, hashes: &[String]| hash(&folder.join(path)).is_some_and(|now| hashes.contains(&now));
    // A workload records the hash of all that it read, however large the file is.
    let is_whole = |path: &Path, hashes: &[String]| {
        let path = folder.join(path);
        path.metadata().is_ok_and(|file| file.len() > HASHED)
            && hash_up_to(&path, u64::MAX).is_some_and(|now| hashes.contains(&now))
    };
    // A project that was moved has its files elsewhere.
    let was_moved = |path: &Path| {
        inputs
            .iter()
            .any(|(other, hashes)| other != path && other.file_name() == path.file_name() && is_there(other, hashes))
    };
    let mut found = vec![];
    for (path, hashes) in &inputs {
        let after = hash(&folder.join(path));
        let is_same = match &after {
            Some(after) => hashes.contains(after) || is_whole(path, hashes),
            // A file that was gone before has an empty hash.
            None => hashes.contains(&String::new()) || was_moved(path),
        };
        if let Some(before) = hashes.last().filter(|_| !is_same) {
            found.push(Change { before: before.clone(), after, what: shown(path, folder), path: path.clone() });
        }
    }
    Ok(found)
}

/// A path as the user knows it: below the folder of the kernel if it is there.
fn shown(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// What has changed, in words: `train.py` has changed, `data.csv` is gone.
pub fn in_words(changes: &[Change]) -> String {
    let one = |change: &Change| match change.after {
        Some(_) => format!("`{}` has changed", change.what),
        None => format!("`{}` is gone", change.what),
    };
    changes.iter().map(one).collect::<Vec<_>>().join(", and ")
}

/// The sentence about recorded trials that are shown although files have changed. None if none have.
pub fn note(changes: &[Change]) -> Option<String> {
    (!changes.is_empty())
        .then(|| format!("{} since these trials ran: they are results of what was there before.", in_words(changes)))
}

/// The sentence about changes that happened while trials ran. None if there are none. `copying` are the pools in whose
/// slots trials read copies.
pub fn note_while_running(changes: &[AcceptedChange], copying: &[String]) -> Option<String> {
    let one = |change: &AcceptedChange| format!("`{}` before trial {}", change.what, change.at_trial);
    let all: Vec<String> = changes.iter().map(one).collect();
    let elsewhere = match copying.is_empty() {
        true => String::new(),
        false => format!(" {} went on with the copies from the start of the sweep.", slots_of(copying)),
    };
    (!all.is_empty()).then(|| {
        format!(
            "Files changed while the trials ran: {}. Later trials read the new contents, so do not compare them with \
             the others.{elsewhere}",
            all.join(", ")
        )
    })
}

/// The sentence about changes since the start of a sweep that no trial has read, because trials ran in slots to which
/// files are copied. `copying` are the pools of these slots. None if nothing has changed.
pub fn note_of_copies(changes: &[Change], copying: &[String]) -> Option<String> {
    if copying.is_empty() {
        return note(changes);
    }
    (!changes.is_empty()).then(|| {
        format!(
            "{} here while the trials ran. {} went on with the copies from the start of the sweep, so their trials are \
             results of what was there before.",
            in_words(changes),
            slots_of(copying)
        )
    })
}

fn slots_of(pools: &[String]) -> String {
    let names: Vec<String> = pools.iter().map(|pool| format!("`{pool}`")).collect();
    let pools = if names.len() == 1 { "pool" } else { "pools" };
    format!("The slots of the {pools} {}", names.join(", "))
}

/// To be called before trials run: an error if the study would get trials of two versions of a file, and the user did
/// not accept that. What files contain now is recorded.
pub fn settle(writer: &StudyWriter, numbers: &[u32], accept: bool) -> Result<()> {
    let changed = changes(writer.store(), writer.study())?;
    let Some(first) = numbers.first().filter(|_| !changed.is_empty()) else { return Ok(()) };
    let has_result = |state| matches!(state, TrialState::Complete | TrialState::Infeasible | TrialState::Stopped);
    let trials = writer.store().trials(writer.study())?;
    // Trials that failed, or that run again, have nothing that could be mixed.
    let mixes = trials.iter().any(|trial| has_result(trial.state) && !numbers.contains(&trial.number));
    if mixes && !accept {
        return Err(refuse(&writer.study().name, &changed));
    }
    if mixes {
        let accepted = |change: &Change| AcceptedChange {
            what: change.what.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            at_trial: *first,
        };
        writer.accept_changes(&changed.iter().map(accepted).collect::<Vec<_>>())?;
    }
    let now = |change: Change| DataSource { path: change.path, sha256: change.after.unwrap_or_default() };
    let now: Vec<DataSource> = changed.into_iter().map(now).collect();
    Ok(writer.record_all_data(&now)?)
}

fn refuse(study: &str, changes: &[Change]) -> MagicError {
    let message = format!("{} since the trials of `{study}` ran, and more trials would mix both", in_words(changes));
    let help = format!(
        "give the study another name, or undo the change. `--accept-changes` runs the trials nevertheless, and the \
         study records it. `%study delete {study}` deletes the old trials"
    );
    MagicError::new(ErrorName::FilesChanged, message, Some(help))
}

/// The changes of a study as JSON: those that were accepted, and the names of those that were not, which are `changed`.
pub fn as_json(store: &Store, study: &StudyRecord, changed: &[Change]) -> Result<(Value, Value)> {
    let names: Vec<&str> = changed.iter().map(|change| change.what.as_str()).collect();
    Ok((json!(store.changes(study)?), json!(names)))
}

/// Records a file that the trial of this number read, and its change if an earlier trial read something else. `folder`
/// is that of the kernel.
pub fn loaded(writer: &StudyWriter, source: &DataSource, number: u32, folder: &Path) -> Result<()> {
    let known = writer.store().inputs(writer.study())?.remove(&source.path).unwrap_or_default();
    if let Some(before) = known.last().filter(|_| !known.contains(&source.sha256)) {
        let (before, after) = (before.clone(), Some(source.sha256.clone()));
        let change = AcceptedChange { what: shown(&source.path, folder), before, after, at_trial: number };
        writer.accept_changes(&[change])?;
    }
    Ok(writer.record_data(source)?)
}

/// Looks at the files that a command names, and at those that are copied for it, while its trials run.
pub struct Watch {
    files: Vec<Watched>,
}

struct Watched {
    /// The path as the study records it, from the folder of the kernel if it lies below that.
    path: PathBuf,
    /// Where the file is, whatever the folder of the kernel is later.
    at: PathBuf,
    /// When it was changed, and its length.
    stamp: Option<(SystemTime, u64)>,
    sha256: String,
    /// How often it changed.
    changes: u32,
}

impl Watch {
    /// Records what the files contain that the command of a study names, and what `others` contain, if it is not known
    /// yet. Relative paths begin in `folder`.
    pub fn new(writer: &StudyWriter, definition: &StudyDefinition, others: &[PathBuf], folder: &Path) -> Result<Self> {
        let WorkloadReference::Command(line) = &definition.workload else { return Ok(Self { files: vec![] }) };
        let recorded = writer.store().inputs(writer.study())?;
        let (mut files, mut new) = (vec![], vec![]);
        let named = named_files(line, &definition.space, folder);
        let mut seen = BTreeSet::new();
        for path in named.iter().chain(others) {
            // Relative, so that the project can be moved.
            let at = folder.join(path);
            let path = path.strip_prefix(folder).unwrap_or(path).to_path_buf();
            if !seen.insert(path.clone()) {
                continue;
            }
            let stamp = stamp(&at);
            let sha256 = match recorded.get(&path) {
                // Trials write it.
                Some(hashes) if hashes.is_empty() => continue,
                Some(hashes) => hashes.last().cloned(),
                None => hash(&at),
            };
            let Some(sha256) = sha256 else { continue };
            if !recorded.contains_key(&path) {
                new.push(DataSource { path: path.clone(), sha256: sha256.clone() });
            }
            files.push(Watched { path, at, stamp, sha256, changes: 0 });
        }
        writer.record_all_data(&new)?;
        Ok(Self { files })
    }

    /// Records what has changed before the trial of this number starts.
    pub fn look(&mut self, writer: &StudyWriter, number: u32) -> Result<()> {
        for file in self.files.iter_mut().filter(|file| file.changes < OUTPUT_AFTER) {
            let now = stamp(&file.at);
            if std::mem::replace(&mut file.stamp, now) == now {
                continue;
            }
            let after = hash(&file.at);
            if after.as_ref() == Some(&file.sha256) {
                continue;
            }
            file.changes += 1;
            let what = file.path.display().to_string();
            if file.changes == OUTPUT_AFTER {
                writer.forget_data(&file.path, &what)?;
                continue;
            }
            let before = std::mem::replace(&mut file.sha256, after.clone().unwrap_or_default());
            writer.record_data(&DataSource { path: file.path.clone(), sha256: file.sha256.clone() })?;
            writer.accept_changes(&[AcceptedChange { what, before, after, at_trial: number }])?;
        }
        Ok(())
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The files that a command names, with every value of the lists that it inserts.
pub fn named_files(line: &ProgramLine, space: &SearchSpace, folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = vec![];
    let mut after_module = false;
    for (i, word) in line.words.iter().enumerate() {
        for filled in filled(word, space) {
            let mut names = vec![filled.clone()];
            // `--config=file`, and the script of `sh -c`.
            names.extend(filled.split_once('=').map(|(_, value)| value.to_string()));
            names.extend(filled.split(ends_path).map(String::from));
            if after_module {
                let module = filled.replace('.', "/");
                names.extend([format!("{module}.py"), format!("{module}/__main__.py")]);
            }
            for name in names.iter().filter(|name| !name.is_empty()) {
                // A program without a folder is looked for elsewhere.
                let path = folder.join(name);
                if (i > 0 || name.contains('/')) && path.is_file() && !found.contains(&path) {
                    found.push(path);
                }
            }
        }
        after_module = word == "-m";
    }
    found
}

/// The top-level names of the modules that a command runs with `-m`, also within the script of `sh -c`.
pub fn modules(line: &ProgramLine, space: &SearchSpace) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut after_flag = false;
    for word in &line.words {
        for filled in filled(word, space) {
            let mut is_module = after_flag;
            for part in filled.split(ends_path).filter(|part| !part.is_empty()) {
                if let Some(top) = part.split('.').next().filter(|top| is_module && !top.is_empty()) {
                    found.insert(top.to_string());
                }
                is_module = part == "-m";
            }
        }
        after_flag = word == "-m";
    }
    found
}

/// A word with the values of its placeholders, if they are few.
fn filled(word: &String, space: &SearchSpace) -> Vec<String> {
    let Ok(placeholders) = program_line::placeholders(std::slice::from_ref(word)) else { return vec![] };
    let mut all = vec![Params::new()];
    for placeholder in placeholders {
        let mut values = vec![];
        for h in space.named(&placeholder.name) {
            match &h.distribution {
                Distribution::Choice { values: listed } => values.extend(listed.clone()),
                Distribution::Constant { value } => values.push(value.clone()),
                _ => return vec![],
            }
        }
        let with = |params: &Params, value| {
            let mut params = params.clone();
            params.insert(placeholder.name.clone(), value);
            params
        };
        all = all.iter().flat_map(|params| values.iter().map(move |value| with(params, value.clone()))).collect();
        all.truncate(FILES_OF_WORD);
    }
    let line = ProgramLine { words: vec![word.clone()], optional: vec![] };
    all.iter().filter_map(|params| program_line::fill(&line, params).ok()?.pop()).collect()
}

/// The SHA-256 hash of a file, or of the beginning of a large one. None if it cannot be read.
pub fn hash(path: &Path) -> Option<String> {
    hash_up_to(path, HASHED)
}

fn hash_up_to(path: &Path, limit: u64) -> Option<String> {
    let file = File::open(path).ok().filter(|_| path.is_file())?;
    let metadata = file.metadata().ok()?;
    let mut hasher = Sha256::new();
    if metadata.len() > limit {
        hasher.update(format!("{} {:?}", metadata.len(), metadata.modified().ok()));
    }
    let (mut file, mut buffer) = (file.take(limit), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, definition};
    use tunebook_study::{Hyperparameter, Role};

    #[test]
    fn the_files_of_a_command_are_found_wherever_it_names_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("pkg/sub")).unwrap();
        for name in ["train.py", "a.yaml", "b.yaml", "pkg/sub/run.py", "x.sh", "python3", "data 1.csv"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let mut space = SearchSpace::new();
        let distribution = Distribution::choice(vec!["a".into(), "b".into()]).unwrap();
        let config = Hyperparameter { name: "config".into(), role: Role::Scientific, distribution, conditions: vec![] };
        space.declare(config).unwrap();
        for (words, files) in [
            (&["python3", "train.py", "--lr", "{lr}"][..], &["train.py"][..]),
            (&["./x.sh"], &["./x.sh"]),
            (&["x.sh"], &[]),
            (&["python3", "train.py", "--config={config}.yaml", "pkg"], &["train.py", "a.yaml", "b.yaml"]),
            (&["python3", "-m", "pkg.sub.run"], &["pkg/sub/run.py"]),
            (&["sh", "-c", "A=1 python3 'train.py' >out; cat a.yaml"], &["python3", "train.py", "a.yaml"]),
            (&["p", "data 1.csv"], &["data 1.csv"]),
        ] {
            let line = ProgramLine { words: words.iter().map(|word| word.to_string()).collect(), optional: vec![] };
            let expected: Vec<PathBuf> = files.iter().map(|file| folder.path().join(file)).collect();
            assert_eq!(named_files(&line, &space, folder.path()), expected, "{words:?}");
        }
    }

    #[test]
    fn the_modules_of_a_command_are_found() {
        for (words, expected) in [
            (&["python3", "-m", "pkg.sub.run", "-x", "a.b"][..], &["pkg"][..]),
            (&["sh", "-c", "A=1 python3 -m pkg.run >out; python3 -m other"], &["other", "pkg"]),
            (&["python3", "train.py"], &[]),
        ] {
            let line = ProgramLine { words: words.iter().map(|word| word.to_string()).collect(), optional: vec![] };
            let found = modules(&line, &SearchSpace::new());
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{words:?}");
        }
    }

    #[test]
    fn files_are_found_from_the_folder_in_which_a_sweep_began() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = context(folder.path()).store().unwrap();
        let words = ["sh", "train.sh", "{lr}"].map(String::from).into();
        let workload = WorkloadReference::Command(ProgramLine { words, optional: vec![] });
        let study = store.create_study("s", &StudyDefinition { workload, ..definition() }).unwrap();
        let writer = store.write(study).unwrap();
        let (project, file) = (folder.path(), folder.path().join("train.sh"));
        std::fs::write(&file, "1").unwrap();
        // The tests run in another folder, as the kernel is after a `%cd`.
        let mut watch = Watch::new(&writer, &writer.study().definition.clone(), &[], project).unwrap();
        let recorded: Vec<PathBuf> = writer.store().inputs(writer.study()).unwrap().into_keys().collect();
        assert_eq!(recorded, [PathBuf::from("train.sh")]);
        watch.look(&writer, 2).unwrap();
        let found = || changes_in(writer.store(), writer.study(), project).unwrap();
        assert!(writer.store().changes(writer.study()).unwrap().is_empty() && found().is_empty());
        std::fs::write(&file, "22").unwrap();
        assert_eq!(found().iter().map(|change| change.what.as_str()).collect::<Vec<_>>(), ["train.sh"]);
        watch.look(&writer, 3).unwrap();
        let changes = writer.store().changes(writer.study()).unwrap();
        assert_eq!((changes[0].at_trial, changes[0].after.is_some()), (3, true));
        assert!(found().is_empty());
    }

    #[test]
    fn what_trials_read_is_said_where_files_are_copied() {
        let change =
            Change { path: "vis.py".into(), what: "vis.py".into(), before: "0".into(), after: Some("1".into()) };
        let pools = ["far".to_string()];
        let said = note_of_copies(std::slice::from_ref(&change), &pools).unwrap();
        assert!(
            said.starts_with("`vis.py` has changed here while the trials ran. The slots of the pool `far` went on")
        );
        assert_eq!(note_of_copies(&[], &pools), None);
        assert_eq!(note_of_copies(std::slice::from_ref(&change), &[]), note(&[change]));
        assert_eq!(note_while_running(&[], &pools), None);
    }
}
