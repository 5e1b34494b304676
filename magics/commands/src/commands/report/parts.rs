//! The parts of a document about one name.

use super::recording::shown;
use super::summary::{planned, summary};
use crate::commands::insight::sweep_cell;
use crate::commands::sweep::advice::recorded_allowed;
use crate::commands::sweep::changes;
use crate::commands::sweep::environment::without_diff;
use crate::error::{ErrorName, Result, Source};
use crate::host::{Bundle, Interrupt};
use crate::magic::Context;
use crate::report::table;
use crate::studies::import_magic;
use crate::syntax::Word;
use serde_json::Value as Json;
use std::path::Path;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Role, WorkloadReference};

/// A longer file of a program is not included.
const LONGEST_SOURCE: u64 = 64 << 10;

/// The heading of the plan of a study.
const DESIGN: &str = "Design";

/// A part of a document.
#[derive(Clone, Debug)]
pub enum Part {
    /// A heading with its level, from 1.
    Heading(u8, String),
    /// A paragraph.
    Text(String),
    /// A cell that runs in a notebook with this kernel, with the name of its language.
    Cell(&'static str, String),
    /// Other code, to read, with the name of its language.
    Code(&'static str, String),
    /// A magic and what it shows.
    Shown { magic: String, bundle: Bundle },
    /// Names with their values.
    Table(Vec<[String; 2]>),
}

impl Part {
    pub fn has_chart(&self) -> bool {
        matches!(self, Part::Shown { bundle, .. } if bundle.contains_key("application/vnd.plotly.v1+json"))
    }
}

/// Returns the parts about a study, or about the measurements of a workload or of a scaling. An error if there are none
/// of this name.
pub fn parts(context: &Context, source: &Source, name: &Word, interrupt: &Interrupt) -> Result<Vec<Part>> {
    let found = context.find_study(&name.text)?;
    let kept = match context.store_to_read()? {
        Some(store) => kept(&store, &name.text)?,
        None => vec![],
    };
    let mut parts = vec![Part::Heading(2, name.text.clone())];
    match found {
        Ok((store, study)) => parts.extend(of_study(context, &store, &study, kept, interrupt)?),
        Err(_) if !kept.is_empty() => parts.extend(kept.into_iter().flat_map(|kept| kept.parts())),
        Err(help) => {
            let message = format!("there is no study `{}`, and no measurement of a workload of that name", name.text);
            return Err(source.error(ErrorName::UnknownStudy, name.span.clone(), message, help));
        }
    }
    Ok(parts)
}

fn of_study(
    context: &Context,
    store: &Store,
    study: &StudyRecord,
    kept: Vec<Kept>,
    interrupt: &Interrupt,
) -> Result<Vec<Part>> {
    let (name, definition) = (&study.name, &study.definition);
    let mut parts = vec![];
    parts.push(Part::Text(match &definition.question {
        Some(question) => format!("Question: {question}"),
        None => "The study does not say which question it is to answer.".into(),
    }));
    parts.extend(definition.round.map(|round| Part::Text(format!("Round: {round}"))));
    parts.extend(definition.notes.as_ref().map(|notes| Part::Text(format!("Notes: {notes}"))));
    let configurations = study.asked / definition.repeats.max(1);
    let allowed: String = recorded_allowed(store, study)?.iter().map(|lint| format!(" --allow {lint}")).collect();
    let sweep = match &definition.workload {
        WorkloadReference::Imported { .. } => None,
        _ => Some(sweep_cell(name, definition, configurations, &allowed)),
    };
    let top = parts.len();
    let mut show = |title: &str, magic: String| {
        parts.push(Part::Heading(3, title.into()));
        parts.push(match shown(context, &magic, interrupt) {
            Ok(bundle) if title == DESIGN => Part::Shown { magic, bundle: planned(bundle) },
            Ok(bundle) => Part::Shown { magic, bundle },
            Err(error) => Part::Text(format!("`{magic}` has no answer: {}.", error.message)),
        });
    };
    let quoted = shell_words::quote(name).into_owned();
    show("What was run", format!("%study {quoted}"));
    if let Some(sweep) = &sweep {
        show(DESIGN, sweep.replacen("%%sweep", "%%plan", 1));
    }
    for h in definition.space.hyperparameters() {
        if h.role == Role::Scientific && h.distribution.varies() {
            let label = h.label();
            show(&format!("The effect of {label}"), format!("%isolate {quoted} {}", shell_words::quote(&label)));
        }
    }
    show("Every trial against each hyperparameter", format!("%axis {quoted}"));
    show("Training curves of the best trials", format!("%curves {quoted}"));
    show("What more trials would buy", format!("%bestofk {quoted}"));
    show("Findings", format!("%insight {quoted}"));
    parts.extend(kept.into_iter().flat_map(|kept| kept.parts()));
    let found = summary(&parts);
    drop(parts.splice(top..top, found));
    parts.extend(match sweep {
        Some(sweep) => run_again(store, study, sweep)?,
        None => import_again(store, study)?,
    });
    parts.extend(environment(store, study)?);
    Ok(parts)
}

/// The code with which a study runs again, and the files that it needs.
fn run_again(store: &Store, study: &StudyRecord, sweep: String) -> Result<Vec<Part>> {
    let mut parts = vec![
        Part::Heading(3, "How to run it again".into()),
        Part::Text(
            "Run these cells in a notebook with the kernel Rust (Tunebook). On a processor, the same version of Tunebook \
             gives the same numbers."
                .into(),
        ),
    ];
    if let WorkloadReference::Rust { name, source } = &study.definition.workload {
        parts.push(match store.workload(source)? {
            Some(workload) => Part::Cell("rust", format!("%%workload {name}\n{}", workload.body)),
            None => Part::Text(format!("The source of the workload `{name}` is not in the store.")),
        });
    }
    parts.push(Part::Cell("text", sweep));
    if let WorkloadReference::Command(_) = &study.definition.workload {
        parts.extend(sources(store, study)?);
    }
    let data = store.data(study)?;
    if !data.is_empty() {
        parts.push(Part::Text("The trials read these files, with the SHA-256 hash of their contents:".into()));
        parts.push(Part::Table(data.into_iter().map(|d| [d.path.display().to_string(), d.sha256]).collect()));
    }
    Ok(parts)
}

/// The files that the command of a study names, as far as they are short texts that have not changed since.
fn sources(store: &Store, study: &StudyRecord) -> Result<Vec<Part>> {
    let mut parts = vec![];
    for (path, hashes) in store.inputs(study)? {
        let Some(sha256) = hashes.last() else { continue };
        match source_text(&path, sha256) {
            Ok(text) => {
                parts.push(Part::Text(format!("The file `{}`, which the command names:", path.display())));
                parts.push(Part::Code(language(&path), text));
            }
            Err(reason) => {
                let file = path.display();
                parts.push(Part::Text(format!(
                    "The file `{file}`, which the command names, is not included: {reason}."
                )));
            }
        }
    }
    Ok(parts)
}

/// The text of a file, or why it is not included.
fn source_text(path: &Path, sha256: &str) -> std::result::Result<String, String> {
    let bytes = path.metadata().map_err(|_| "it is gone")?.len();
    if bytes > LONGEST_SOURCE {
        return Err(format!("it has {bytes} bytes, more than {}", table::bytes(LONGEST_SOURCE)));
    }
    if changes::hash(path).is_none_or(|now| now != sha256) {
        return Err("it has changed since the trials read it".into());
    }
    let content = std::fs::read(path).map_err(|error| format!("it cannot be read ({error})"))?;
    String::from_utf8(content).map_err(|_| "it is not text in UTF-8".into())
}

/// The name by which Markdown knows the language of a file.
fn language(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("py") => "python",
        Some("sh" | "bash") => "sh",
        Some("rs") => "rust",
        Some("json") => "json",
        Some("toml") => "toml",
        Some("yaml" | "yml") => "yaml",
        _ => "text",
    }
}

/// Where an imported study comes from, and how to read it again.
fn import_again(store: &Store, study: &StudyRecord) -> Result<Vec<Part>> {
    let mut parts = vec![
        Part::Heading(3, "Where it comes from".into()),
        Part::Text(format!(
            "The study holds {}. What trained them is not recorded, so they cannot be trained again.",
            study.definition.workload
        )),
    ];
    let origin = store.origin(study)?.unwrap_or_default();
    let source = &origin["source"];
    if let Some(magic) = import_magic(&study.name, source) {
        let sha256 = source["sha256"].as_str().unwrap_or("unknown");
        parts.push(Part::Text(format!("This cell reads it again from the file, whose SHA-256 hash was {sha256}:")));
        parts.push(Part::Cell("text", magic));
    }
    Ok(parts)
}

/// The environment in which a study ran last.
fn environment(store: &Store, study: &StudyRecord) -> Result<Vec<Part>> {
    let mut parts = vec![];
    if let Some(environment) = store.environment(study)? {
        parts.push(Part::Heading(3, "Environment".into()));
        let diff = environment["git"]["diff"].as_str().unwrap_or_default().to_string();
        let is_cut = environment["git"]["diff_cut"] == true;
        let mut facts = flattened("", &without_diff(environment));
        for [name, _] in &mut facts {
            if *name == "epsilon" {
                *name = "where ε is added".into();
            }
        }
        parts.push(Part::Table(facts));
        if !diff.is_empty() {
            let cut = if is_cut { " (only the beginning was recorded)" } else { "" };
            parts.push(Part::Text(format!("What was not committed when the study ran{cut}:")));
            parts.push(Part::Code("diff", diff));
        }
    }
    Ok(parts)
}

/// Returns an object as names and values, for people: `git.commit`. What is null or empty is left out.
fn flattened(prefix: &str, value: &Json) -> Vec<[String; 2]> {
    let plain = |value: &Json| value.as_str().map_or_else(|| value.to_string(), String::from);
    let text = match value {
        Json::Object(fields) => {
            let name = |field: &str| if prefix.is_empty() { field.to_string() } else { format!("{prefix}.{field}") };
            return fields.iter().flat_map(|(field, value)| flattened(&name(field), value)).collect();
        }
        Json::Null => String::new(),
        Json::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => plain(other),
    };
    if text.is_empty() { vec![] } else { vec![[prefix.to_string(), text]] }
}

/// The headings of what magics have shown of a measurement.
const TITLES: &[(&str, &str)] = &[
    ("adopt", "A candidate against the baseline, with new seeds"),
    ("final", "The test set"),
    ("launch", "The baseline"),
    ("noise", "Gradient noise scale"),
    ("replay", "The study again, from its record"),
    ("scaling", "Steps and time to the target against the batch size"),
    ("seeds", "One configuration with several seeds"),
    ("stability", "Learning rates up to the edge of stability"),
    ("steps", "The number of steps"),
    ("throughput", "Throughput and memory against the batch size"),
];

/// What a magic has shown of a measurement.
struct Kept {
    magic: String,
    bundle: Bundle,
}

impl Kept {
    fn parts(self) -> [Part; 2] {
        let name = self.magic.trim_start_matches('%').split_whitespace().next().unwrap_or_default();
        let known = TITLES.iter().find(|(magic, _)| *magic == name);
        let heading = Part::Heading(3, known.map_or(self.magic.clone(), |(_, title)| title.to_string()));
        [heading, Part::Shown { magic: self.magic, bundle: self.bundle }]
    }
}

/// Returns what [`Context::keep_shown`] recorded about a name.
fn kept(store: &Store, name: &str) -> Result<Vec<Kept>> {
    let records = store.results(crate::magic::SHOWN)?.into_iter().filter(|record| record["subject"] == name);
    let read = |record: Json| {
        Some(Kept { magic: record["magic"].as_str()?.into(), bundle: record["bundle"].as_object()?.clone() })
    };
    Ok(records.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_of_a_program_is_included_if_it_is_a_short_text_and_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let sha256 = changes::hash(&path).unwrap();
            (path, sha256)
        };
        let (script, sha256) = written("train.py", b"print(1)\n");
        assert_eq!(source_text(&script, &sha256), Ok("print(1)\n".into()));
        assert_eq!(source_text(&script, "0"), Err("it has changed since the trials read it".into()));
        let (largest, sha256) = written("largest.py", &[b' '; 64 << 10]);
        assert!(source_text(&largest, &sha256).is_ok());
        let (longer, sha256) = written("longer.py", &[b' '; (64 << 10) + 1]);
        assert_eq!(source_text(&longer, &sha256), Err("it has 65537 bytes, more than 64 KiB".into()));
        let (binary, sha256) = written("program", &[0xff, 0xfe]);
        assert_eq!(source_text(&binary, &sha256), Err("it is not text in UTF-8".into()));
        assert_eq!(source_text(&folder.path().join("none"), "0"), Err("it is gone".into()));
    }

    #[test]
    fn an_environment_is_written_for_people() {
        let environment = json!({ "slots": ["cpu:0", "cpu:1"], "driver": null, "pools": [],
            "git": { "commit": "c0ffee", "dirty": true, "diff": "" } });
        let expected = [["slots", "cpu:0, cpu:1"], ["git.commit", "c0ffee"], ["git.dirty", "true"]];
        assert_eq!(flattened("", &environment), expected.map(|row| row.map(String::from)));
    }
}
