//! The parts of a document about one name.

use super::recording::shown;
use crate::commands::insight::sweep_cell;
use crate::commands::sweep::advice::recorded_allowed;
use crate::commands::sweep::environment::without_diff;
use crate::error::{ErrorName, Result, Source};
use crate::host::{Bundle, Interrupt};
use crate::magic::Context;
use crate::syntax::Word;
use serde_json::Value as Json;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Role, WorkloadReference};

/// A part of a document.
#[derive(Clone, Debug)]
pub enum Part {
    /// A heading with its level, from 1.
    Heading(u8, String),
    /// A paragraph.
    Text(String),
    /// Code with the name of its language.
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
    let sweep = sweep_cell(name, definition, configurations, &allowed);
    let mut show = |title: &str, magic: String| {
        parts.push(Part::Heading(3, title.into()));
        parts.push(match shown(context, &magic, interrupt) {
            Ok(bundle) => Part::Shown { magic, bundle },
            Err(error) => Part::Text(format!("`{magic}` has no answer: {}.", error.message)),
        });
    };
    let quoted = shell_words::quote(name).into_owned();
    show("What was run", format!("%study {quoted}"));
    show("Design", sweep.replacen("%%sweep", "%%plan", 1));
    for h in definition.space.hyperparameters() {
        if h.role == Role::Scientific && !h.distribution.is_constant() {
            let label = h.label();
            show(&format!("The effect of {label}"), format!("%isolate {quoted} {}", shell_words::quote(&label)));
        }
    }
    show("Every trial against each hyperparameter", format!("%axis {quoted}"));
    show("Training curves of the best trials", format!("%curves {quoted}"));
    show("What more trials would buy", format!("%bestofk {quoted}"));
    show("Findings", format!("%insight {quoted}"));
    parts.extend(kept.into_iter().flat_map(|kept| kept.parts()));
    parts.extend(run_again(store, study, sweep)?);
    Ok(parts)
}

/// The code and the environment with which a study runs again.
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
            Some(workload) => Part::Code("rust", format!("%%workload {name}\n{}", workload.body)),
            None => Part::Text(format!("The source of the workload `{name}` is not in the store.")),
        });
    }
    parts.push(Part::Code("text", sweep));
    let data = store.data(study)?;
    if !data.is_empty() {
        parts.push(Part::Text("The trials read these files, with the SHA-256 hash of their contents:".into()));
        parts.push(Part::Table(data.into_iter().map(|d| [d.path.display().to_string(), d.sha256]).collect()));
    }
    if let Some(environment) = store.environment(study)? {
        parts.push(Part::Heading(3, "Environment".into()));
        let diff = environment["git"]["diff"].as_str().unwrap_or_default().to_string();
        let is_cut = environment["git"]["diff_cut"] == true;
        parts.push(Part::Table(flattened("", &without_diff(environment))));
        if !diff.is_empty() {
            let cut = if is_cut { " (only the beginning was recorded)" } else { "" };
            parts.push(Part::Text(format!("What was not committed when the study ran{cut}:")));
            parts.push(Part::Code("diff", diff));
        }
    }
    Ok(parts)
}

/// Returns an object as names and values: `git.commit`.
fn flattened(prefix: &str, value: &Json) -> Vec<[String; 2]> {
    let Json::Object(fields) = value else {
        let text = value.as_str().map_or_else(|| value.to_string(), String::from);
        return vec![[prefix.to_string(), text]];
    };
    let name = |field: &str| if prefix.is_empty() { field.to_string() } else { format!("{prefix}.{field}") };
    fields.iter().flat_map(|(field, value)| flattened(&name(field), value)).collect()
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
