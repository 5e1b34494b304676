//! `%study`: the table of all studies (Playbook H11). It shows the loop of rounds that the Playbook describes (D1):
//! what each study asked, what it found, and what was decided by it.

use super::decisions::{Decisions, in_words};
use super::show::date_and_time;
use crate::commands::insight::written;
use crate::error::Result;
use crate::host::Output;
use crate::magic::Context;
use crate::report::Report;
use crate::report::table::{Rows, number};
use crate::studies::{holds_runs_of_another, reproduction};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::ops::Add;
use tunebook_analysis::{BestTrial, best_trial, count_by_state};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{StudyDefinition, Trial, WorkloadReference};

/// The most characters of a question, of notes and of a workload in the table.
const QUESTION: usize = 120;
const NOTES: usize = 60;
const WORKLOAD: usize = 24;

/// Shows all studies: those of the last round first, and in a round the newest first.
pub fn list_all(context: &Context, output: &dyn Output) -> Result<()> {
    let mut listed = vec![];
    if let Some(store) = context.store_to_read()? {
        let decisions = Decisions::read(&store)?;
        let mut records = store.studies()?;
        records.sort_by_key(|study| std::cmp::Reverse(study.definition.round));
        for study in records {
            listed.push(Listed::of(&store, study, &decisions)?);
        }
    }
    let studies: Vec<Json> = listed.iter().map(Listed::as_json).collect();
    // The runs of configurations that another study has explore nothing.
    let names: BTreeSet<&str> = listed.iter().map(|of| of.study.name.as_str()).collect();
    let own = listed.iter().filter(|of| !holds_runs_of_another(&of.study.name, &names));
    let shares = own.map(Shares::of).fold(Shares::default(), Shares::add);
    let path = context.store_file();
    let path = path.display();
    let mut report = Report::new("study", &json!({ "studies": studies, "configurations": shares }));
    report = match listed.len() {
        0 => report.line(&format!("There are no studies in {path} yet; a %%sweep creates one.")),
        1 => report.line(&format!("One study in {path}.")).table(&table(&listed)),
        count => report.line(&format!("{count} studies in {path}.")).table(&table(&listed)),
    };
    report = notes(&listed).iter().fold(report, |report, note| report.line(note));
    shares.in_words().iter().fold(report, |report, sentence| report.line(sentence)).show(&context.charts, output);
    Ok(())
}

/// A study as it is listed.
struct Listed {
    study: StudyRecord,
    trials: Vec<Trial>,
    best: Option<BestTrial>,
    decision: Option<Json>,
    is_imported: bool,
    /// The magic that gives the trials again.
    reproduce: Option<String>,
    /// The git commit of the folder when the study ran last, and whether there were changes that were not committed.
    /// Null outside of a repository.
    commit: Json,
    dirty: Json,
}

impl Listed {
    fn of(store: &Store, study: StudyRecord, decisions: &Decisions) -> Result<Self> {
        let trials = store.trials(&study)?;
        let environment = store.environment(&study)?.unwrap_or_default();
        let git = &environment["git"];
        Ok(Self {
            best: best_trial(&trials, &study.definition.objective),
            decision: decisions.of(&study),
            is_imported: store.origin(&study)?.is_some(),
            reproduce: reproduction(store, &study)?,
            commit: git["commit"].clone(),
            dirty: git["dirty"].clone(),
            trials,
            study,
        })
    }

    fn as_json(&self) -> Json {
        let StudyDefinition { round, question, notes, workload, .. } = &self.study.definition;
        json!({ "study": self.study.name, "round": round, "question": question, "notes": notes,
            "workload": written(workload), "trials": count_by_state(&self.trials), "best": self.best,
            "decision": self.decision, "reproduce": self.reproduce, "commit": self.commit, "dirty": self.dirty,
            "created": self.study.created })
    }

    fn has_changes(&self) -> bool {
        self.dirty == true
    }

    /// What the study is for.
    fn purpose(&self) -> String {
        let StudyDefinition { question, notes, .. } = &self.study.definition;
        let question = question.iter().map(|question| shortened(question, QUESTION));
        let notes = notes.iter().map(|notes| format!("Notes: {}", shortened(notes, NOTES)));
        question.chain(notes).collect::<Vec<_>>().join(" – ")
    }

    /// The best result, its trial, and the number of trials.
    fn result(&self) -> String {
        let (metric, count) = (&self.study.definition.objective.metric, self.trials.len());
        match &self.best {
            Some(best) => format!("{} {metric} (trial {} of {count})", number(best.objective), best.trial),
            None => format!("none of {count}"),
        }
    }

    /// When the study was created, and the commit with which it ran last.
    fn version(&self) -> String {
        let created = date_and_time(self.study.created);
        let mark = if self.has_changes() { "*" } else { "" };
        match self.commit.as_str() {
            Some(commit) => format!("{created} {}{mark}", commit.get(..7).unwrap_or(commit)),
            None => created,
        }
    }
}

/// The table for people. A terminal is narrow, so some of its columns hold several things.
fn table(listed: &[Listed]) -> Rows {
    let has = |holds: fn(&Listed) -> bool| listed.iter().any(holds);
    let purpose = if has(|of| of.study.definition.notes.is_some()) { "question, notes" } else { "question" };
    let version = if has(|of| of.commit.is_string()) { "created (UTC), commit" } else { "created (UTC)" };
    let mut rows = Rows::new(&["study", "round", purpose, "workload", "best trial", "decision", version]);
    for of in listed {
        let definition = &of.study.definition;
        let workload = match &definition.workload {
            WorkloadReference::Command(line) => line.to_string(),
            other => other.to_string(),
        };
        rows.row(vec![
            of.study.name.clone(),
            definition.round.map_or("–".into(), |round| round.to_string()),
            of.purpose(),
            shortened(&workload, WORKLOAD),
            of.result(),
            of.decision.as_ref().map_or("–".into(), in_words),
            of.version(),
        ]);
    }
    rows.without_empty_columns()
}

/// What stands below the table.
fn notes(listed: &[Listed]) -> Vec<String> {
    let mut notes = vec![];
    if listed.iter().any(Listed::has_changes) {
        notes.push("A `*` after a commit: there were changes that were not committed. `%report` shows them.".into());
    }
    let can_run = |of: &Listed| !matches!(of.study.definition.workload, WorkloadReference::Imported { .. });
    if listed.iter().any(can_run) {
        notes.push("`%study NAME` shows the configuration of a study, and `%replay NAME` runs it again.".into());
    }
    notes
}

/// A text as one line of at most so many characters.
fn shortened(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some(_) => line.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// How many configurations explore, and how many exploit (Playbook D3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Shares {
    /// Drawn without regard to results.
    exploring: usize,
    /// Chosen by the results before them.
    exploiting: usize,
    /// Given by the user.
    given: usize,
    /// Of an imported study, whatever its sampler: they may be counted where they come from.
    imported: usize,
}

impl Shares {
    fn of(listed: &Listed) -> Self {
        let definition = &listed.study.definition;
        let configurations: BTreeSet<u32> = listed.trials.iter().map(|trial| trial.configuration).collect();
        if listed.is_imported {
            return Self { imported: configurations.len(), ..Self::default() };
        }
        let given = configurations.iter().filter(|index| definition.is_given(**index)).count();
        let others = configurations.len() - given;
        let shares = Self { given, ..Self::default() };
        match definition.sampler.is_adaptive() {
            true => Self { exploiting: others, ..shares },
            false => Self { exploring: others, ..shares },
        }
    }

    /// A sentence with the share of each, if there is more than one kind.
    fn in_words(self) -> Option<String> {
        let Self { exploring, exploiting, given, imported } = self;
        let kinds = [
            (exploring, "explore, drawn without regard to results"),
            (exploiting, "exploit, chosen by the results before them"),
            (given, "were given by the user"),
            (imported, "were imported"),
        ];
        let all = exploring + exploiting + given + imported;
        let parts: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} ({:.0} %) {what}", 100.0 * *count as f64 / all as f64))
            .collect();
        (parts.len() > 1).then(|| format!("Of {all} configurations, {}.", parts.join("; ")))
    }
}

impl Add for Shares {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            exploring: self.exploring + other.exploring,
            exploiting: self.exploiting + other.exploiting,
            given: self.given + other.given,
            imported: self.imported + other.imported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RESULT_MIME;
    use crate::testing::{FakeHost, Shown, context, definition};
    use tunebook_study::store::NewTrial;
    use tunebook_study::{Measurement, TrialState};

    /// Records a study of one trial.
    fn record(context: &Context, name: &str, definition: &StudyDefinition, git: Json) {
        let mut store = context.store().unwrap();
        let study = store.create_study(name, definition).unwrap();
        let mut writer = store.write(study).unwrap();
        let trial = NewTrial { number: 1, configuration: 0, params: [("lr".to_string(), 0.1.into())].into(), seed: 1 };
        writer.start(&trial).unwrap();
        let measured =
            Measurement { step: 10, seconds: 0.5, metrics: [("valid/error".to_string(), Some(0.25))].into() };
        writer.measured(1, &measured).unwrap();
        writer.finish(1, TrialState::Complete, None, 1.0).unwrap();
        writer.record_environment(&json!({ "git": git })).unwrap();
    }

    fn listed(context: &Context) -> (Json, String) {
        let host = FakeHost::default();
        list_all(context, &host).unwrap();
        let result = host.shown().into_iter().find_map(|shown| match shown {
            Shown::Display(bundle) => Some(bundle[RESULT_MIME].clone()),
            _ => None,
        });
        (result.unwrap(), host.displayed())
    }

    #[test]
    fn the_table_tracks_studies_and_fits_a_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let notes = "The machine was slow, and so this is to be run again as soon as another one is there.";
        let of_round = |round: Option<u32>, notes: Option<&str>| StudyDefinition {
            round,
            notes: notes.map(String::from),
            ..definition()
        };
        let commit = "0123abcd0123abcd0123abcd0123abcd0123abcd";
        record(&context, "first", &of_round(Some(1), None), json!({ "commit": commit, "dirty": false }));
        record(&context, "depth", &of_round(Some(2), Some(notes)), json!({ "commit": commit, "dirty": true }));
        record(&context, "old one", &of_round(None, None), Json::Null);
        record(&context, "again", &of_round(Some(1), None), Json::Null);
        let (result, text) = listed(&context);
        let studies = result["studies"].as_array().unwrap();
        let names: Vec<&str> = studies.iter().map(|study| study["study"].as_str().unwrap()).collect();
        assert_eq!(names, ["depth", "again", "first", "old one"], "rounds stand together");
        let tracked = |study: &Json| ["notes", "workload", "reproduce", "commit", "dirty"].map(|of| study[of].clone());
        let expected = [json!(notes), json!("digits_mlp"), json!("%replay depth"), json!(commit), json!(true)];
        assert_eq!(tracked(&studies[0]), expected);
        let expected = [Json::Null, json!("digits_mlp"), json!("%replay 'old one'"), Json::Null, Json::Null];
        assert_eq!(tracked(&studies[3]), expected);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        for part in ["0123abc*", "question, notes", "Notes:", "digits_mlp", "how fast?", "not committed"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        // Nothing was decided, so there is no such column.
        assert!(!text.contains("decision"), "{text}");
    }

    #[test]
    fn runs_of_configurations_of_another_study_do_not_explore() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        for name in ["a", "a.replay", "a.trial1", "a.trial2.init", "b.trial1", "a.trialx"] {
            record(&context, name, &definition(), Json::Null);
        }
        let (result, _) = listed(&context);
        assert_eq!(result["studies"].as_array().unwrap().len(), 6);
        assert_eq!(result["configurations"]["exploring"], 3, "a, b.trial1 and a.trialx: {result}");
    }

    #[test]
    fn configurations_of_an_import_neither_explore_nor_exploit() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        record(&context, "a", &definition(), Json::Null);
        let mut store = context.store().unwrap();
        let trials = store.trials(&store.study("a").unwrap().unwrap()).unwrap();
        let measurements: &[Measurement] = &[];
        let rows = trials.iter().map(|trial| (trial, measurements));
        store.record_imported("copy", &definition(), rows, &json!({ "source": "a.log" }), None).unwrap();
        let (result, text) = listed(&context);
        let expected = json!({ "exploring": 1, "exploiting": 0, "given": 0, "imported": 1 });
        assert_eq!(result["configurations"], expected);
        assert!(text.contains("Of 2 configurations, 1 (50 %) explore"), "{text}");
    }

    #[test]
    fn question_and_notes_are_apart() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let (question, notes) = (Some("why".to_string()), Some("old".to_string()));
        record(&context, "a", &StudyDefinition { question, notes, ..definition() }, Json::Null);
        assert!(listed(&context).1.contains("why – Notes: old"));
    }

    #[test]
    fn a_store_without_studies_has_no_table() {
        let folder = tempfile::tempdir().unwrap();
        let (result, text) = listed(&context(folder.path()));
        assert_eq!(result["studies"], json!([]));
        assert!(text.contains("There are no studies") && !text.contains('|'), "{text}");
    }

    #[test]
    fn long_texts_are_cut_in_one_line() {
        assert_eq!(shortened("a\n b", 5), "a b");
        assert_eq!(shortened("abcdef", 5), "abcd…");
        assert_eq!(shortened("abcde", 5), "abcde");
    }
}
