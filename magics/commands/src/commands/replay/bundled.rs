//! The place of an unpacked bundle that stands for paths of the machine where the bundle was made. A study may name its
//! program or its data by whole paths. Where these files are not there, or are other ones, its trials read those of the
//! bundle. What the store recorded of the study stays as it is.

use crate::commands::sweep::changes;
use crate::commands::sweep::trial_options::GivenTrial;
use crate::files::with_path;
use crate::studies::text_values;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tunebook_study::{Distribution, SearchSpace, StudyDefinition, Value, WorkloadReference};

/// A path that the trials of a replay read elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bundled {
    /// The whole path in the record of the study: of a file, or of the folder in which the study ran.
    pub recorded: String,
    /// Its place in the unpacked bundle.
    pub read: String,
    /// Whether there is another file at the recorded path.
    pub other: bool,
}

impl Bundled {
    /// The sentence about it.
    pub fn sentence(&self) -> String {
        let why = if self.other { "is another file here" } else { "is not there" };
        format!("`{}` {why}, so the trials use `{}`, which is in the bundle.", self.recorded, self.read)
    }
}

/// The paths that the study names and that the bundle stands for, if the store is that of an unpacked bundle.
pub fn of(store: &Path, definition: &StudyDefinition) -> Vec<Bundled> {
    let Some((folder, files)) = manifest(&store.with_file_name("manifest.json")) else { return vec![] };
    let Some(project) = project(store).and_then(|project| project.canonicalize().ok()) else { return vec![] };
    let is_named = |path: &Path| {
        let path = path.display().to_string();
        words(definition).any(|word| with_path(word, &braces(&path), "") != *word)
            || text_values(definition).any(|text| with_path(text, &path, "") != *text)
    };
    let bundled = |recorded: &Path, read: &Path, other: bool| Bundled {
        recorded: recorded.display().to_string(),
        read: read.display().to_string(),
        other,
    };
    if !folder.exists() {
        return if is_named(&folder) { vec![bundled(&folder, &project, false)] } else { vec![] };
    }
    let mut found = vec![];
    for file in files {
        let (recorded, read) = (folder.join(&file), project.join(&file));
        let is_same = changes::hash(&recorded) == changes::hash(&read);
        if read.is_file() && !is_same && is_named(&recorded) {
            found.push(bundled(&recorded, &read, recorded.exists()));
        }
    }
    found
}

/// The folder with the files of an unpacked bundle, if the store is that of one.
pub fn project(store: &Path) -> Option<PathBuf> {
    let manifest: Json = serde_json::from_slice(&std::fs::read(store.with_file_name("manifest.json")).ok()?).ok()?;
    (manifest["kind"] == "bundle").then(|| store.with_file_name("project"))
}

/// The folder in which a bundle was made, and the files in the bundle. None if there is no manifest of a bundle, or if
/// no study in it names a file by its whole path.
fn manifest(path: &Path) -> Option<(PathBuf, BTreeSet<PathBuf>)> {
    let manifest: Json = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let folder = manifest["folder"].as_str().filter(|_| manifest["kind"] == "bundle")?;
    let included = manifest["files"].as_array()?.iter().filter(|file| file["left_out"].is_null());
    let files = included.filter_map(|file| file["path"].as_str()).map(PathBuf::from).collect();
    Some((folder.into(), files))
}

/// The words of the command of a study.
fn words(definition: &StudyDefinition) -> impl Iterator<Item = &String> {
    let line = match &definition.workload {
        WorkloadReference::Command(line) => Some(line),
        _ => None,
    };
    line.into_iter().flat_map(|line| &line.words)
}

/// A text as it stands in the word of a command, where a brace is written twice.
fn braces(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// The definition whose command and values name the places in the bundle.
pub fn definition(bundled: &[Bundled], mut definition: StudyDefinition) -> StudyDefinition {
    if let WorkloadReference::Command(line) = &mut definition.workload {
        for word in &mut line.words {
            for Bundled { recorded, read, .. } in bundled {
                *word = with_path(word, &braces(recorded), &braces(read));
            }
        }
    }
    let mut space = SearchSpace::new();
    for h in definition.space.hyperparameters() {
        let mut h = h.clone();
        match &mut h.distribution {
            Distribution::Choice { values } => replace(bundled, values),
            Distribution::Constant { value } => replace(bundled, std::iter::once(value)),
            _ => {}
        }
        for condition in &mut h.conditions {
            replace(bundled, &mut condition.values);
        }
        if space.declare(h).is_err() {
            return definition;
        }
    }
    definition.space = space;
    definition
}

/// The trial whose values name the places in the bundle.
pub fn trial(bundled: &[Bundled], mut given: GivenTrial) -> GivenTrial {
    replace(bundled, given.trial.params.values_mut());
    given
}

/// Replaces the recorded paths in values by the places in the bundle.
fn replace<'a>(bundled: &[Bundled], values: impl IntoIterator<Item = &'a mut Value>) {
    for value in values {
        if let Value::Text(text) = value {
            for Bundled { recorded, read, .. } in bundled {
                *text = with_path(text, recorded, read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::definition as any_definition;
    use serde_json::json;
    use tunebook_study::{Hyperparameter, ProgramLine, Role};

    #[test]
    fn only_files_that_are_not_there_are_read_from_the_bundle() {
        let machine = tempfile::tempdir().unwrap();
        let (made, unpacked) = (machine.path().join("made {in}"), machine.path().join("unpacked"));
        std::fs::create_dir_all(unpacked.join("project")).unwrap();
        for name in ["train.py", "a.csv", "left-out.csv"] {
            std::fs::write(unpacked.join("project").join(name), name).unwrap();
        }
        let files = json!([{ "path": "train.py", "left_out": null }, { "path": "a.csv", "left_out": null },
            { "path": "left-out.csv", "left_out": "it has 1 GiB" }]);
        let manifest = |folder: Json| {
            let manifest = json!({ "kind": "bundle", "version": 1, "folder": folder, "files": files });
            std::fs::write(unpacked.join("manifest.json"), manifest.to_string()).unwrap();
        };
        let whole = |name: &str| made.join(name).display().to_string();
        let mut study = any_definition();
        let words = ["python3", &braces(&whole("train.py")), "--data={data}", "train.py"].map(String::from);
        study.workload = WorkloadReference::Command(ProgramLine { words: words.into(), optional: vec![] });
        let distribution = Distribution::constant(Value::Text(whole("a.csv")));
        let data = Hyperparameter { name: "data".into(), role: Role::Fixed, distribution, conditions: vec![] };
        study.space.declare(data).unwrap();
        let store = unpacked.join("studies.db");
        assert_eq!(of(&store, &study), [], "there is no manifest");
        manifest(Json::Null);
        assert_eq!(of(&store, &study), [], "no study names a whole path");
        manifest(json!(made.display().to_string()));

        let found = of(&store, &study);
        let project = unpacked.join("project").canonicalize().unwrap();
        let read = |name: &str| project.join(name).display().to_string();
        assert_eq!(found.iter().map(|file| file.read.clone()).collect::<Vec<_>>(), [project.display().to_string()]);
        let WorkloadReference::Command(line) = definition(&found, study.clone()).workload else { panic!("a command") };
        assert_eq!(line.words, ["python3", &read("train.py"), "--data={data}", "train.py"]);

        // The folder is there, with one of the two files as it was.
        std::fs::create_dir(&made).unwrap();
        std::fs::write(made.join("train.py"), "train.py").unwrap();
        std::fs::write(made.join("a.csv"), "other").unwrap();
        let found = of(&store, &study);
        assert_eq!(found, [Bundled { recorded: whole("a.csv"), read: read("a.csv"), other: true }]);
        assert!(found[0].sentence().contains("is another file here"), "{}", found[0].sentence());
        let moved = definition(&found, study.clone());
        assert_eq!(moved.workload, study.workload, "the command does not name that file itself");
        assert_eq!(text_values(&moved).collect::<Vec<_>>(), [&read("a.csv")]);
        std::fs::remove_file(made.join("train.py")).unwrap();
        let names: Vec<_> = of(&store, &study).into_iter().map(|file| (file.read, file.other)).collect();
        assert_eq!(names, [(read("a.csv"), true), (read("train.py"), false)]);
    }
}
