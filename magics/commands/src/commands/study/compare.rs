//! `%study compare A B`: definitions, environments and results of two studies side by side.

use super::show::date_and_time;
use crate::commands::sweep::environment::without_diff;
use crate::error::Result;
use crate::host::Output;
use crate::magic::Context;
use crate::report::Report;
use crate::report::table::{Rows, duration, number, params};
use crate::studies::wall_seconds;
use crate::syntax::{Arguments, Word};
use serde_json::{Map, Value, json};
use tunebook_analysis::{best_trial, count_by_state, counted};
use tunebook_study::store::{Store, StudyRecord, now};
use tunebook_study::{Hyperparameter, StudyDefinition, Trial, WorkloadReference};

/// What one thing is in each of the studies.
struct Row {
    what: String,
    sides: [Option<String>; 2],
}

impl Row {
    fn new(what: impl Into<String>, sides: [Option<String>; 2]) -> Self {
        Self { what: what.into(), sides }
    }

    fn differs(&self) -> bool {
        self.sides[0] != self.sides[1]
    }
}

/// A study with all that is compared.
struct Side {
    study: StudyRecord,
    trials: Vec<Trial>,
    environment: Option<Value>,
}

impl Side {
    fn of(store: &Store, study: StudyRecord) -> Result<Self> {
        Ok(Self { trials: store.trials(&study)?, environment: store.environment(&study)?.map(without_diff), study })
    }
}

pub fn compare(context: &Context, arguments: &Arguments, names: &[Word; 2], output: &dyn Output) -> Result<()> {
    let (store, first) = context.study(&arguments.source, &names[0])?;
    let (_, second) = context.study(&arguments.source, &names[1])?;
    let sides = [Side::of(&store, first)?, Side::of(&store, second)?];
    let (definition, environment, results) = (definitions(&sides), environments(&sides), results(&sides));
    let titles = [sides[0].study.name.as_str(), sides[1].study.name.as_str()];
    let mut report = Report::new("comparison", &json!({ "studies": titles }));
    for (field, what, rows) in [
        ("definition", "The definitions", &definition),
        ("environment", "The environments", &environment),
        ("results", "The results", &results),
    ] {
        let as_json: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "what": row.what, "a": row.sides[0], "b": row.sides[1], "differs": row.differs() }))
            .collect();
        report = report.field(field, as_json);
        let different: Vec<&Row> = rows.iter().filter(|row| row.differs()).collect();
        let same = rows.len() - different.len();
        if different.is_empty() {
            report = report.line(&match same {
                0 => format!("{what} have nothing on record that could be compared."),
                1 => format!("{what} are the same in the 1 point that is on record."),
                _ => format!("{what} are the same in all {same} points."),
            });
            continue;
        }
        let points = counted(different.len(), "point");
        report = report.line(&format!("{what} differ in {points} and are the same in {same}:"));
        let mut table = Rows::new(&["", titles[0], titles[1]]);
        for row in different {
            let cell = |side: &Option<String>| side.clone().unwrap_or("–".into());
            table.row(vec![row.what.clone(), cell(&row.sides[0]), cell(&row.sides[1])]);
        }
        report = report.table(&table);
    }
    for caution in cautions(&sides) {
        report = report.line(&caution);
    }
    report.show(&context.charts, output);
    Ok(())
}

/// Why the results of the studies cannot be compared, in sentences.
fn cautions(sides: &[Side; 2]) -> Vec<String> {
    let [a, b] = [0, 1].map(|i| &sides[i].study.definition);
    let mut cautions = vec![];
    let objective = |d: &StudyDefinition| format!("{} {}", d.objective.direction, d.objective.metric);
    if objective(a) != objective(b) {
        cautions.push(format!(
            "The studies have different objectives ({} and {}), so their best objectives cannot be compared.",
            objective(a),
            objective(b)
        ));
    } else if a.objective.judged != b.objective.judged {
        cautions.push(format!(
            "The trials of one study are judged by their {}, those of the other by their {}, so their best objectives \
             are not of one kind.",
            a.objective.judged.in_words(),
            b.objective.judged.in_words()
        ));
    }
    let is_imported = |d: &StudyDefinition| matches!(d.workload, WorkloadReference::Imported { .. });
    if a.workload != b.workload && !is_imported(a) && !is_imported(b) {
        cautions.push(format!(
            "The studies train something else ({} and {}), so a difference of their results may come from that.",
            a.workload, b.workload
        ));
    }
    cautions
}

/// Each field of the definitions, and each hyperparameter by its label.
fn definitions(sides: &[Side; 2]) -> Vec<Row> {
    let definitions = [0, 1].map(|i| &sides[i].study.definition);
    let row = |what: &str, read: &dyn Fn(&StudyDefinition) -> Option<String>| Row::new(what, definitions.map(read));
    let mut rows = vec![
        row("question", &|d| d.question.clone()),
        row("workload", &|d| Some(crate::commands::insight::written(&d.workload))),
        row("objective", &|d| Some(format!("{} {}", d.objective.direction, d.objective.metric))),
        row("value of a trial", &|d| Some(d.objective.judged.in_words().into())),
        row("sampler", &|d| Some(format!("{} (version {})", d.sampler, d.sampler_version))),
        row("seed", &|d| Some(d.seed.to_string())),
        row("repeats", &|d| Some(d.repeats.to_string())),
        row("notes", &|d| d.notes.clone()),
        row("round", &|d| d.round.map(|round| round.to_string())),
        row("given configurations", &|d| (!d.given.is_empty()).then(|| d.given.len().to_string())),
        row("--stop-early", &|d| Some(d.stop_early.to_string())),
    ];
    let mut labels: Vec<String> = vec![];
    for h in definitions.iter().flat_map(|d| d.space.hyperparameters()) {
        if !labels.contains(&h.label()) {
            labels.push(h.label());
        }
    }
    for label in labels {
        let written = |h: &Hyperparameter| format!("{} {}", h.role, h.distribution);
        let of = |d: &StudyDefinition| d.space.hyperparameters().iter().find(|h| h.label() == label).map(written);
        rows.push(row(&label, &of));
    }
    rows
}

/// Each fact of the environments that either study recorded.
fn environments(sides: &[Side; 2]) -> Vec<Row> {
    let flat = [0, 1].map(|i| {
        let mut facts = Map::new();
        flatten("", sides[i].environment.as_ref().unwrap_or(&Value::Null), &mut facts);
        facts
    });
    let mut names: Vec<&String> = flat[0].keys().collect();
    names.extend(flat[1].keys().filter(|name| !flat[0].contains_key(*name)));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    names.into_iter().map(|name| Row::new(name, [0, 1].map(|i| flat[i].get(name).map(text)))).collect()
}

/// The facts of nested objects by their path, such as `git.commit`.
fn flatten(path: &str, value: &Value, facts: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, facts);
            }
        }
        Value::Null => {}
        value => drop(facts.insert(path.into(), value.clone())),
    }
}

fn results(sides: &[Side; 2]) -> Vec<Row> {
    let row = |what: &str, read: &dyn Fn(&Side) -> Option<String>| Row::new(what, [0, 1].map(|i| read(&sides[i])));
    let best = |side: &Side| best_trial(&side.trials, &side.study.definition.objective);
    let mut rows = vec![];
    let counts = [0, 1].map(|i| json!(count_by_state(&sides[i].trials)));
    for (state, _) in counts[0].as_object().into_iter().flatten() {
        rows.push(Row::new(format!("{state} trials"), [0, 1].map(|i| Some(counts[i][state].to_string()))));
    }
    rows.push(row("best objective", &|side| best(side).map(|best| number(best.objective))));
    rows.push(row("best trial", &|side| best(side).map(|best| best.trial.to_string())));
    rows.push(row("at step", &|side| best(side).map(|best| best.step.to_string())));
    rows.push(row("hyperparameters of the best", &|side| {
        best(side).map(|best| params(&side.study.definition, &best.params))
    }));
    rows.push(row("time", &|side| Some(duration(wall_seconds(side.study.seconds, &side.trials, now())))));
    rows.push(row("created (UTC)", &|side| Some(date_and_time(side.study.created))));
    rows
}
