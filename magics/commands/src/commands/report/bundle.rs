//! `--bundle FILE.zip`: what another machine needs to run the studies of a report again.
//!
//! ```text
//! README.md            what this is, and how to run it again (BUNDLE.md if the report is README.md)
//! manifest.json        the studies, and each file that their trials read, with its hash
//! studies.db           a store with these studies alone
//! report.html          the report, under its own name, and the pictures of one in Markdown
//! workloads/NAME.rs    the source of each %%workload
//! workloads/NAME.lock  the Cargo.lock with which its worker was built, and is built again
//! project/             the current folder of the replay, with the files that the trials read
//! ```

use crate::commands::sweep::changes;
use crate::error::{ErrorName, Result, Source};
use crate::files;
use crate::magic::Context;
use crate::report::{Report, table};
use crate::studies::text_values;
use crate::syntax::Word;
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write};
use std::path::{Component, Path, PathBuf};
use tunebook_study::store::{Store, StudyRecord, WorkloadRecord};
use tunebook_study::{StudyDefinition, WorkloadReference};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A larger file is listed, but not included.
const LARGEST_FILE: u64 = 16 << 20;
/// Nor are further files once so much is included.
const ALL_FILES: u64 = 64 << 20;

/// What was written.
#[derive(Serialize)]
pub struct Bundle {
    path: PathBuf,
    bytes: u64,
    studies: Vec<String>,
    /// Those that a replay can run elsewhere: what their trials ran is recorded, and all files that they read are in
    /// the bundle.
    replayable: Vec<String>,
    files: Vec<BundledFile>,
    /// What a replay elsewhere lacks.
    notes: Vec<String>,
}

/// A version of a file that trials read.
#[derive(Serialize)]
struct BundledFile {
    path: PathBuf,
    sha256: String,
    bytes: Option<u64>,
    /// The studies whose trials read this version.
    studies: Vec<String>,
    /// Why it is not in the bundle. None if it is.
    left_out: Option<String>,
    /// What to do about that.
    advice: Option<String>,
}

impl Bundle {
    /// Adds sentences about it to the report of the magic.
    pub fn say(&self, report: Report, written: &str) -> Report {
        let included = self.files.iter().filter(|file| file.left_out.is_none()).count();
        let files = match (self.files.len(), included) {
            (0, _) => String::new(),
            (1, 1) => " with the file that the trials read".into(),
            (all, included) if all == included => format!(" with the {all} files that the trials read"),
            (all, included) => format!(" with {included} of the {all} files that the trials read"),
        };
        let promise = promise(&self.studies, &self.replayable, written);
        let mut report = report.line(&format!("Wrote {written} ({}){files}. {promise}", table::bytes(self.bytes)));
        for file in &self.files {
            if let Some(reason) = &file.left_out {
                let advice = file.advice.as_deref().map_or(String::new(), |advice| format!(" {advice}"));
                report = report.line(&format!("Left out: {}: {reason}.{advice}", file.path.display()));
            }
        }
        self.notes.iter().fold(report, |report, note| report.line(note))
    }
}

/// The sentence about which studies a replay of the bundle can run again, and how.
fn promise(studies: &[String], replayable: &[String], written: &str) -> String {
    let command = format!("tunebook replay {}", shell_words::quote(written));
    match (studies, replayable) {
        (_, []) => {
            let what = if studies.len() == 1 { "the study" } else { "the studies" };
            format!("It keeps the record of {what}, but a replay elsewhere cannot run the trials again:")
        }
        ([_], _) => format!("`{command}` runs the study again from it."),
        _ if studies.len() == replayable.len() => format!("`{command}` runs the studies again from it."),
        (_, [study]) => {
            let study = shell_words::quote(study);
            format!("`{command} --study {study}` runs that study again from it; the others cannot run again elsewhere:")
        }
        _ => format!(
            "`{command} --study NAME` runs one of {} again from it; the others cannot run again elsewhere:",
            in_words(replayable)
        ),
    }
}

/// An error if the name cannot be that of a bundle, or if there is another file of that name.
pub fn check(context: &Context, source: &Source, word: &Word, force: bool) -> Result<()> {
    let path = files::expand(context, &word.text);
    if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("zip")) {
        let message = format!("a bundle is a ZIP file, and `{}` does not end in .zip", word.text);
        let named = Path::new(&word.text).with_extension("zip");
        let help = format!("write `--bundle {}`", shell_words::quote(&named.to_string_lossy()));
        return Err(source.error(ErrorName::InvalidValue, word.span.clone(), message, Some(help)));
    }
    let is_bundle = || {
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&path).ok()?).ok()?;
        archive.by_name("manifest.json").is_ok().then_some(())
    };
    if path.exists() && !force && is_bundle().is_none() {
        let message = format!("`{}` exists already and is no bundle", word.text);
        let help = "choose another name; --force overwrites the file".to_string();
        return Err(source.error(ErrorName::FileError, word.span.clone(), message, Some(help)));
    }
    Ok(())
}

/// Writes the bundle of the studies among these names, with the report and its pictures.
pub fn write(
    context: &Context,
    source: &Source,
    word: &Word,
    names: &[Word],
    report: &Path,
    pictures: &[String],
) -> Result<Bundle> {
    let path = files::expand(context, &word.text);
    let store = context.store()?;
    let mut studies: Vec<StudyRecord> = vec![];
    for name in names {
        if let Some(study) = store.study(&name.text)?
            && !studies.contains(&study)
        {
            studies.push(study);
        }
    }
    if studies.is_empty() {
        let message = "a bundle holds studies, and none of these names is one";
        let help = "name a study too, or leave out `--bundle`; `%study` lists the studies".to_string();
        return Err(source.error(ErrorName::UnknownStudy, word.span.clone(), message, Some(help)));
    }
    let here = files::current()?;
    let failed = |error: std::io::Error| files::not_written(source, word, &path, &error);
    let mut zip = Archive::new();
    let found = project(versions(&store, &studies, &here)?, &mut zip).map_err(failed)?;
    let notes = notes(&studies, &found, &here);
    let is_imported = |study: &StudyRecord| matches!(study.definition.workload, WorkloadReference::Imported { .. });
    let lacks_file =
        |study: &StudyRecord| found.iter().any(|file| file.left_out.is_some() && file.studies.contains(&study.name));
    let imported: Vec<&str> =
        studies.iter().filter(|study| is_imported(study)).map(|study| study.name.as_str()).collect();
    let replayable = studies.iter().filter(|study| !is_imported(study) && !lacks_file(study));
    let replayable: Vec<String> = replayable.map(|study| study.name.clone()).collect();
    // Where the bundle was made is told only if a replay needs to know it.
    let names_whole = studies.iter().any(|study| !whole_paths(&study.definition, &here).is_empty());
    let folder = tempfile::tempdir().map_err(failed)?;
    let copy = folder.path().join("studies.db");
    let all: Vec<&StudyRecord> = studies.iter().collect();
    let names: Vec<String> = studies.iter().map(|study| study.name.clone()).collect();
    let of_these = |result: &Json| names.iter().any(|name| result["subject"] == name.as_str());
    let moved = |file: &Path| file.strip_prefix(&here).unwrap_or(file).to_path_buf();
    store.copy_studies(&all, &copy, &of_these, &moved)?;
    zip.add("studies.db", &std::fs::read(&copy).map_err(failed)?).map_err(failed)?;
    for (file, workload) in workloads(&store, &studies)? {
        let text = format!("%%workload {}\n{}", workload.name, workload.body);
        zip.add(&format!("workloads/{file}.rs"), text.as_bytes()).map_err(failed)?;
        zip.add(&format!("workloads/{file}.lock"), workload.lock.as_bytes()).map_err(failed)?;
    }
    let name = report.file_name().map_or("report".into(), |name| name.to_string_lossy().into_owned());
    zip.add(&name, &std::fs::read(report).map_err(failed)?).map_err(failed)?;
    for picture in pictures {
        zip.add(picture, &std::fs::read(report.with_file_name(picture)).map_err(failed)?).map_err(failed)?;
    }
    let manifest = json!({ "kind": "bundle", "version": 1, "tunebook": env!("CARGO_PKG_VERSION"), "studies": names,
        "imported": imported, "report": name, "folder": names_whole.then(|| here.display().to_string()), "files": found });
    zip.add("manifest.json", format!("{manifest:#}\n").as_bytes()).map_err(failed)?;
    let bundle_name = path.file_name().map_or(word.text.clone(), |name| name.to_string_lossy().into_owned());
    let explanation = if name.eq_ignore_ascii_case("README.md") { "BUNDLE.md" } else { "README.md" };
    zip.add(explanation, readme(&names, &replayable, &found, &notes, [&name, &bundle_name]).as_bytes())
        .map_err(failed)?;
    let bytes = zip.finish().map_err(failed)?;
    files::write_whole(&path, &bytes).map_err(failed)?;
    Ok(Bundle { path, bytes: bytes.len() as u64, studies: names, replayable, files: found, notes })
}

/// The versions of workloads that the studies train, each once, under the names of their files.
fn workloads(store: &Store, studies: &[StudyRecord]) -> Result<Vec<(String, WorkloadRecord)>> {
    let mut found: Vec<(String, WorkloadRecord)> = vec![];
    for study in studies {
        let WorkloadReference::Rust { source, .. } = &study.definition.workload else { continue };
        let Some(workload) = store.workload(source)? else { continue };
        if found.iter().any(|(_, other)| other.source == workload.source) {
            continue;
        }
        let versions = found.iter().filter(|(_, other)| other.name == workload.name).count();
        let file = if versions == 0 { workload.name.clone() } else { format!("{}-{}", workload.name, versions + 1) };
        found.push((file, workload));
    }
    Ok(found)
}

/// The versions of files that trials read: a path and hashes, with the names of the studies that read this version.
type Versions = BTreeMap<(PathBuf, Vec<String>), Vec<String>>;

fn versions(store: &Store, studies: &[StudyRecord], here: &Path) -> Result<Versions> {
    let mut versions = Versions::new();
    for study in studies {
        for (path, hashes) in store.inputs(study)?.into_iter().filter(|(_, hashes)| !hashes.is_empty()) {
            let relative = path.strip_prefix(here).unwrap_or(&path).to_path_buf();
            versions.entry((relative, hashes)).or_default().push(study.name.clone());
        }
    }
    Ok(versions)
}

/// Adds the files that the trials read, as far as they are below this folder, small, and as they were then.
fn project(versions: Versions, zip: &mut Archive) -> std::io::Result<Vec<BundledFile>> {
    let mut room = ALL_FILES;
    let mut included = BTreeSet::new();
    let mut found = vec![];
    for ((path, hashes), readers) in versions {
        let bytes = path.metadata().ok().map(|metadata| metadata.len());
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let back = "Put back what the trials read";
        let left_out = match (bytes, changes::hash(&path)) {
            (None, _) | (_, None) => Some(("it is gone".to_string(), format!("{back}, and write the bundle again."))),
            (_, Some(now)) if !hashes.contains(&now) => {
                let reason = format!("it has changed since the trials of {} read it", in_words(&readers));
                let first = readers.first().map_or("NAME", String::as_str);
                let commit = format!("(`%study {first}` shows the recorded git commit, if there was one)");
                Some((reason, format!("{back} {commit}, and write the bundle again.")))
            }
            _ if !is_below => {
                let advice = "A replay on another machine needs the same file at the same place.";
                Some(("it is outside of the current folder".into(), advice.into()))
            }
            _ if included.contains(&path) => None,
            (Some(bytes), _) if bytes > LARGEST_FILE.min(room) => {
                let advice = "A replay needs it in the folder `project` of the unpacked bundle: copy it there by hand.";
                Some((format!("it has {}", table::bytes(bytes)), advice.into()))
            }
            _ => None,
        };
        let (left_out, advice) = left_out.unzip();
        if left_out.is_none() && included.insert(path.clone()) {
            room -= bytes.unwrap_or(0);
            zip.add(&format!("project/{}", path.display()), &std::fs::read(&path)?)?;
        }
        let sha256 = hashes.last().cloned().unwrap_or_default();
        found.push(BundledFile { path, sha256, bytes, studies: readers, left_out, advice });
    }
    Ok(found)
}

fn in_words(studies: &[String]) -> String {
    studies.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
}

/// Sentences about what a replay elsewhere lacks, or does otherwise.
fn notes(studies: &[StudyRecord], files: &[BundledFile], here: &Path) -> Vec<String> {
    let mut notes = vec![];
    let mut runs_programs = false;
    for study in studies {
        match &study.definition.workload {
            WorkloadReference::Command(_) => {
                runs_programs = true;
                notes.extend(whole_paths(&study.definition, here).into_iter().map(|path| {
                    let is_included = files.iter().any(|file| file.left_out.is_none() && file.path == Path::new(&path));
                    let then = match is_included {
                        true => ". If this file is not there, or is another one, a replay uses the file in the bundle.",
                        false => ", and the bundle has no such file, so a replay elsewhere may lack it.",
                    };
                    let whole = here.join(&path);
                    format!("The command of `{}` names `{}` by its absolute path{then}", study.name, whole.display())
                }));
            }
            WorkloadReference::Imported { .. } => {
                notes.push(format!(
                    "`{}` was imported: what trained its trials is not recorded, so `tunebook replay` cannot run them \
                     again.",
                    study.name
                ));
            }
            WorkloadReference::Builtin { .. } | WorkloadReference::Rust { .. } => {}
        }
    }
    if runs_programs {
        let note = "Files that a script reads or imports, but the command does not name, are not known and not in the \
            bundle.";
        notes.push(note.into());
    }
    notes
}

/// The files below a folder that a command names by their whole paths, itself or in a value that it inserts. They are
/// relative to the folder.
fn whole_paths(definition: &StudyDefinition, here: &Path) -> Vec<String> {
    let WorkloadReference::Command(line) = &definition.workload else { return vec![] };
    let folder = format!("{}/", here.display());
    let mut found: Vec<String> = vec![];
    for text in line.words.iter().chain(text_values(definition)) {
        for (at, _) in text.match_indices(&folder) {
            let rest = &text[at + folder.len()..];
            // A path in a script ends before the script does.
            let path = if at == 0 { rest } else { rest.split(files::ends_path).next().unwrap_or_default() };
            let is_path = !path.is_empty() && text[..at].chars().next_back().is_none_or(files::ends_path);
            if is_path && !found.iter().any(|other| other == path) {
                found.push(path.into());
            }
        }
    }
    found
}

/// The text that explains a bundle. `report` and `bundle` are the names of their files.
fn readme(
    studies: &[String],
    replayable: &[String],
    found: &[BundledFile],
    notes: &[String],
    [report, bundle]: [&str; 2],
) -> String {
    let mut text = format!(
        "# {}\n\nThis bundle holds what Tunebook recorded of {}: the report ({report}), a store with all trials \
         (studies.db), the sources of workloads (workloads), and the files that the trials read (project).\n\n",
        studies.join(", "),
        if studies.len() == 1 { "this study" } else { "these studies" },
    );
    let bundle = shell_words::quote(bundle);
    let lines: Vec<String> = match replayable {
        all if all.len() == studies.len() => vec![format!("tunebook replay {bundle}")],
        some => {
            let of = |study: &String| format!("tunebook replay {bundle} --study {}", shell_words::quote(study));
            some.iter().map(of).collect()
        }
    };
    text += &match lines[..] {
        [] => "A replay cannot run the trials again; what it lacks stands below.\n\n".to_string(),
        _ => format!(
            "To run the trials again and compare each value to the last bit:\n\n```text\n{}\n```\n\n\
             The exit status is 0 if all values are the same, 1 if not, and 2 after an error. This runs the programs in \
             the bundle, so do it only if you trust where it comes from.\n\n",
            lines.join("\n")
        ),
    };
    text += "In a notebook, `%env TUNEBOOK_STUDIES=…/studies.db` opens the store of an unpacked bundle.\n";
    if !found.is_empty() {
        text += "\nThe files that the trials read:\n\n| file | SHA-256 | in the bundle |\n| --- | --- | --- |\n";
        for file in found {
            let included = file.left_out.as_deref().map_or("yes".to_string(), |reason| format!("no: {reason}"));
            text += &format!("| {} | {} | {included} |\n", file.path.display(), file.sha256);
        }
    }
    for note in notes {
        text += &format!("\n{note}\n");
    }
    text
}

/// A ZIP file in memory.
struct Archive(ZipWriter<Cursor<Vec<u8>>>);

impl Archive {
    fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(vec![])))
    }

    fn add(&mut self, name: &str, content: &[u8]) -> std::io::Result<()> {
        self.0.start_file(name, SimpleFileOptions::default())?;
        self.0.write_all(content)
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        Ok(self.0.finish()?.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{Distribution, Hyperparameter, ProgramLine, Role, Value};

    #[test]
    fn the_whole_paths_of_a_command_are_found() {
        let here = Path::new("/home/me");
        for (words, expected) in [
            (&["python3", "/home/me/train.py", "--data=/home/me/a.csv"][..], &["train.py", "a.csv"][..]),
            (&["/home/me/my program", "{x}"], &["my program"]),
            (&["sh", "-c", "cd /tmp; python3 '/home/me/train.py' >/home/me/train.py"], &["train.py"]),
            (&["python3", "train.py", "/home/other/a.csv", "/mnt/home/me/b.csv", "/home/me"], &[]),
        ] {
            let words = words.iter().map(|word| word.to_string()).collect();
            let workload = WorkloadReference::Command(ProgramLine { words, optional: vec![] });
            let definition = StudyDefinition { workload, ..crate::testing::definition() };
            assert_eq!(whole_paths(&definition, here), expected, "{definition:?}");
        }
    }

    #[test]
    fn the_whole_paths_of_values_are_found() {
        let mut definition = crate::testing::definition();
        let words = vec!["train".into(), "{data}".into(), "{extra}".into()];
        definition.workload = WorkloadReference::Command(ProgramLine { words, optional: vec![] });
        let text = |text: &str| Value::Text(text.into());
        let choice = Distribution::choice(vec![text("/home/me/a.csv"), text("/home/other/b.csv")]).unwrap();
        for (name, distribution) in [("data", choice), ("extra", Distribution::constant(text("/home/me/c.csv")))] {
            let h = Hyperparameter { name: name.into(), role: Role::Fixed, distribution, conditions: vec![] };
            definition.space.declare(h).unwrap();
        }
        assert_eq!(whole_paths(&definition, Path::new("/home/me")), ["a.csv", "c.csv"]);
    }

    #[test]
    fn a_version_that_is_not_there_any_more_is_said_with_the_study_that_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, "now").unwrap();
        let now = changes::hash(&path).unwrap();
        let versions = Versions::from([
            ((path.clone(), vec!["before".to_string()]), vec!["first".to_string()]),
            ((path, vec![now]), vec!["second".to_string(), "third".to_string()]),
        ]);
        let found = project(versions, &mut Archive::new()).unwrap();
        let reason = |sha256: &str| {
            found.iter().find(|file| file.sha256.starts_with(sha256)).and_then(|file| file.left_out.clone())
        };
        assert_eq!(found.len(), 2);
        assert_eq!(reason("before"), Some("it has changed since the trials of `first` read it".into()));
        let outside = found.iter().find(|file| file.sha256 != "before").and_then(|file| file.left_out.clone());
        assert_eq!(outside, Some("it is outside of the current folder".into()), "the file is as it was");
        assert!(found.iter().all(|file| file.advice.is_some()), "each says what to do");
    }

    #[test]
    fn only_what_works_is_promised() {
        let said = |studies: &[&str], replayable: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
            promise(&owned(studies), &owned(replayable), "b.zip")
        };
        assert_eq!(said(&["a"], &["a"]), "`tunebook replay b.zip` runs the study again from it.");
        assert_eq!(said(&["a", "b"], &["a", "b"]), "`tunebook replay b.zip` runs the studies again from it.");
        assert!(said(&["a", "b"], &["b"]).starts_with("`tunebook replay b.zip --study b` runs that study again"));
        assert!(said(&["a", "b", "c"], &["b", "c"]).contains("--study NAME` runs one of `b` and `c` again"));
        assert!(!said(&["a"], &[]).contains("tunebook replay") && said(&["a"], &[]).contains("cannot run"));
    }
}
