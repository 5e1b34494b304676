//! `--bundle FILE.zip`: what another machine needs to run the studies of a report again.
//!
//! ```text
//! README.md            what this is, and how to run it again
//! manifest.json        the studies, and each file that their trials read, with its hash
//! studies.db           a store with these studies alone
//! report.html          the report, under its own name
//! workloads/NAME.rs    the source of each %%workload
//! workloads/NAME.lock  the Cargo.lock with which its worker was built, and is built again
//! project/             the current folder of the replay, with the files that the trials read
//! ```

use crate::commands::sweep::changes;
use crate::error::{ErrorName, Result, Source};
use crate::files;
use crate::magic::Context;
use crate::report::{Report, table};
use crate::syntax::Word;
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Component, Path, PathBuf};
use tunebook_study::WorkloadReference;
use tunebook_study::store::{Store, StudyRecord, WorkloadRecord};
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
    files: Vec<BundledFile>,
}

/// A file that trials read.
#[derive(Serialize)]
struct BundledFile {
    path: PathBuf,
    sha256: String,
    bytes: Option<u64>,
    /// Why it is not in the bundle. None if it is.
    left_out: Option<String>,
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
        let mut report = report.line(&format!(
            "Wrote {written} ({}){files}. `tunebook replay {}` runs the studies again from it.",
            table::bytes(self.bytes),
            shell_words::quote(written)
        ));
        for file in &self.files {
            if let Some(reason) = &file.left_out {
                report = report.line(&format!("Left out: {}: {reason}.", file.path.display()));
            }
        }
        report
    }
}

/// An error if the name cannot be that of a bundle, or if there is another file of that name.
pub fn check(context: &Context, source: &Source, word: &Word, force: bool) -> Result<()> {
    let path = files::expand(context, &word.text);
    if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("zip")) {
        let message = format!("a bundle is a ZIP file, and `{}` does not end in .zip", word.text);
        return Err(source.error(ErrorName::InvalidValue, word.span.clone(), message, None));
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

/// Writes the bundle of the studies among these names.
pub fn write(context: &Context, source: &Source, word: &Word, names: &[Word], report: &Path) -> Result<Bundle> {
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
        return Err(source.error(ErrorName::UnknownStudy, word.span.clone(), message, None));
    }
    let here = files::current()?;
    let failed = |error: std::io::Error| files::not_written(source, word, &path, &error);
    let mut zip = Archive::new();
    let found = project(&store, &studies, &here, &mut zip).map_err(failed)?;
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
    let manifest = json!({ "kind": "bundle", "version": 1, "tunebook": env!("CARGO_PKG_VERSION"), "studies": names,
        "report": name, "files": found });
    zip.add("manifest.json", format!("{manifest:#}\n").as_bytes()).map_err(failed)?;
    let bundle_name = path.file_name().map_or(word.text.clone(), |name| name.to_string_lossy().into_owned());
    zip.add("README.md", readme(&names, &found, &name, &bundle_name).as_bytes()).map_err(failed)?;
    let bytes = zip.finish().map_err(failed)?;
    files::write_whole(&path, &bytes).map_err(failed)?;
    Ok(Bundle { path, bytes: bytes.len() as u64, studies: names, files: found })
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

/// Adds the files that the trials read, as far as they are below this folder, small, and as they were then.
fn project(
    store: &Store,
    studies: &[StudyRecord],
    here: &Path,
    zip: &mut Archive,
) -> std::io::Result<Vec<BundledFile>> {
    let mut inputs: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for study in studies {
        let read = store.inputs(study).map_err(|error| std::io::Error::other(error.to_string()))?;
        inputs.extend(read.into_iter().filter(|(_, hashes)| !hashes.is_empty()));
    }
    let mut room = ALL_FILES;
    let mut found = vec![];
    for (path, hashes) in inputs {
        let relative = path.strip_prefix(here).unwrap_or(&path).to_path_buf();
        let bytes = path.metadata().ok().map(|metadata| metadata.len());
        let is_below = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let left_out = match (bytes, changes::hash(&path)) {
            (None, _) | (_, None) => Some("it is gone".to_string()),
            (_, Some(now)) if !hashes.contains(&now) => Some("it has changed since the trials read it".into()),
            _ if !is_below => Some("it is outside of the current folder".into()),
            (Some(bytes), _) if bytes > LARGEST_FILE.min(room) => Some(format!("it has {}", table::bytes(bytes))),
            _ => None,
        };
        if left_out.is_none() {
            room -= bytes.unwrap_or(0);
            zip.add(&format!("project/{}", relative.display()), &std::fs::read(&path)?)?;
        }
        let sha256 = hashes.last().cloned().unwrap_or_default();
        found.push(BundledFile { path: relative, sha256, bytes, left_out });
    }
    Ok(found)
}

fn readme(studies: &[String], found: &[BundledFile], report: &str, bundle: &str) -> String {
    let mut text = format!(
        "# {}\n\nThis bundle holds what Tunebook recorded of {}: the report ({report}), a store with all trials \
         (studies.db), the sources of workloads (workloads), and the files that the trials read (project).\n\n\
         To run the trials again and compare each value to the last bit:\n\n```text\ntunebook replay {}\n```\n\n\
         The exit status is 0 if all values are the same, 1 if not, and 2 after an error. This runs the programs in the \
         bundle, so do it only if you trust where it comes from.\n\n\
         In a notebook, `%env TUNEBOOK_STUDIES=…/studies.db` opens the store of an unpacked bundle.\n",
        studies.join(", "),
        if studies.len() == 1 { "this study" } else { "these studies" },
        shell_words::quote(bundle)
    );
    if !found.is_empty() {
        text += "\nThe files that the trials read:\n\n| file | SHA-256 | in the bundle |\n| --- | --- | --- |\n";
        for file in found {
            let included = file.left_out.as_deref().map_or("yes".to_string(), |reason| format!("no: {reason}"));
            text += &format!("| {} | {} | {included} |\n", file.path.display(), file.sha256);
        }
        text += "\nOther files that a program reads are not recorded, and not here.\n";
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
