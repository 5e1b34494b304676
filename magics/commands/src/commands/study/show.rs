//! `%study NAME`: the record of a study.

use super::decisions::{Decisions, in_words};
use crate::commands::insight::written;
use crate::commands::launch;
use crate::commands::sweep::advice::recorded_allowed;
use crate::commands::sweep::display::{counts_text, with_retuning};
use crate::commands::sweep::early_stopping::crossing_note;
use crate::commands::sweep::retuning::find_retuning;
use crate::commands::sweep::{changes, slots, without_effect};
use crate::commands::workload;
use crate::error::Result;
use crate::magic::Context;
use crate::report::Report;
use crate::report::table::{self, Rows, number};
use crate::studies::{
    flags, given_note, is_replayed, reproduction, sentences_about_failures, stopped_note, wall_seconds, with_validation,
};
use serde_json::{Value, json};
use tunebook_analysis::{MAX_POINTS, best_trial, count_by_state, counted, optimization_history, ranked_configurations};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::store::{Store, StudyRecord, now, trials_folder};
use tunebook_study::{Params, StudyDefinition, TrialState, WorkloadReference};

/// The most rows of a table.
const ROWS: usize = 10;
/// The most rows of the table of given configurations.
const GIVEN_ROWS: usize = 100;
/// So many launches are told, the newest ones.
const LAUNCHES: usize = 3;

/// The record of a study.
pub fn study_report(context: &Context, store: &Store, study: &StudyRecord) -> Result<Report> {
    let writer = store.writer_of(study)?;
    let trials = store.trials(study)?;
    let seconds = wall_seconds(study.seconds, &trials, now());
    let definition = &study.definition;
    let objective = &definition.objective;
    let mut environment = store.environment(study)?;
    let places = slots::recorded(store, study)?;
    if let Some(Value::Object(environment)) = &mut environment {
        environment.insert("trials".into(), Value::Object(places.clone()));
    }
    let allowed = recorded_allowed(store, study)?;
    let mut roles = Rows::new(&["role", "hyperparameter", "values"]);
    for hyperparameter in definition.space.hyperparameters() {
        let distribution = hyperparameter.distribution.to_string();
        roles.row(vec![hyperparameter.role.to_string(), hyperparameter.label(), distribution]);
    }
    let judged = match definition.repeats {
        1 => objective.metric.clone(),
        seeds => format!("{}, median of {seeds} seeds", objective.metric),
    };
    let mut best_rows = Rows::new(&["trial", &judged, "at step", "seconds", "hyperparameters that vary"]);
    for best in ranked_configurations(&trials, objective) {
        let (Some(value), Some(trial)) = (best.objective, best.middle) else { continue };
        let Some((_, step)) = objective.of(trial) else { continue };
        let params = table::params(definition, &trial.params);
        let given = if definition.is_given(trial.configuration) { " (given)" } else { "" };
        best_rows.row(vec![
            format!("{}{given}", trial.number),
            number(value),
            step.to_string(),
            number(trial.seconds),
            params,
        ]);
    }
    let mut failed_rows = Rows::new(&["trial", "state", "reason", "hyperparameters that vary"]);
    for trial in
        trials.iter().filter(|t| matches!(t.state, TrialState::Failed | TrialState::Infeasible | TrialState::Stopped))
    {
        let (state, params) = (trial.state.to_string(), table::params(definition, &trial.params));
        failed_rows.row(vec![trial.number.to_string(), state, trial.reason.clone().unwrap_or_default(), params]);
    }
    let counts = count_by_state(&trials);
    let origin = store.origin(study)?.map(|origin| origin["source"].clone());
    let decisions = Decisions::read(store)?;
    let (decision, launches) = (decisions.of(study), decisions.launches(study));
    let reproduce = reproduction(store, study)?;
    let mut report = Report::new(
        "study",
        &json!({ "study": study.name, "definition": definition, "trials": counts,
            "best": best_trial(&trials, objective), "created": study.created, "environment": environment,
            "allowed": allowed, "imported": origin, "decision": decision, "reproduce": reproduce,
            "launches": launches.iter().map(|launch| launch_as_json(launch)).collect::<Vec<_>>() }),
    );
    if let Some(question) = &definition.question {
        report = report.line(&format!("Question: {question}"));
    }
    if let Some(round) = definition.round {
        report = report.line(&format!("Round: {round}"));
    }
    if let Some(notes) = &definition.notes {
        report = report.line(&format!("Notes: {notes}"));
    }
    report = report
        .line(&format!(
            "Study {} of {}: {} {}, {}, {} {} UTC.",
            study.name,
            written(&definition.workload),
            objective.direction,
            objective.metric,
            sampled(definition),
            if origin.is_some() { "imported" } else { "created" },
            date_and_time(study.created)
        ))
        .line(&format!("Trials: {}; {} in all.", counts_text(&trials), table::duration(seconds)));
    if let Some(owner) = writer {
        report = report.line(&format!("It runs now, in {owner}."));
    }
    if !definition.stop_early.is_none() {
        report = report.line(&format!("Trials are stopped early by the rule `{}`.", definition.stop_early));
    }
    let given = given_note(definition, trials.iter().map(|trial| trial.configuration));
    report = given.into_iter().chain(stopped_note(&trials)).fold(report, |r, note| r.line(&note));
    if let Some(note) = crossing_note(store, study, &trials)? {
        report = report.line(&note);
    }
    if !allowed.is_empty() {
        let names: Vec<&str> = allowed.iter().map(String::as_str).collect();
        report = report.line(&format!("Lints that `--allow` overruled: {}.", names.join(", ")));
    }
    if let Some(decision) = decision.filter(|_| launches.is_empty()) {
        report = report.line(&format!("Decision: {}.", in_words(&decision)));
    }
    for launch in launches.iter().rev().take(LAUNCHES) {
        report = report.line(&launched(launch));
    }
    let mut given_rows = Rows::new(&["first trial", "given values"]);
    for (configuration, params) in definition.given_configurations() {
        let first = u64::from(configuration) * u64::from(definition.repeats) + 1;
        given_rows.row(vec![first.to_string(), table::params(definition, params)]);
    }
    report = report.table(&roles).first_rows(given_rows, GIVEN_ROWS, "given configurations");
    report = report.first_rows(best_rows, ROWS, "configurations, the best first");
    let best = best_trial(&trials, objective).map(|best| best.objective);
    report = with_validation(report, store, study, &trials, objective, [best, None])?;
    let workload = workload::description(context, &definition.workload);
    let flags = flags(store, study, &trials, objective, workload.as_ref())?;
    report = sentences_about_failures(&trials, &flags).iter().fold(report, |report, sentence| report.line(sentence));
    report = report.field("flags", &flags).first_rows(
        failed_rows,
        ROWS,
        "trials that have failed, were stopped or are infeasible",
    );
    if !trials.is_empty() {
        let describe = |values: &Params| table::params(definition, values);
        let history = optimization_history(&trials, objective);
        let chart = tunebook_charts::optimization_history(&study.name, trials.len(), &history, &describe, MAX_POINTS);
        report = report.chart(chart);
    }
    let files_changed = changes::changes(store, study)?;
    let (accepted, changed) = changes::as_json(store, study, &files_changed)?;
    let unused = store.without_effect(study)?;
    report = report.field("changes", accepted).field("changed", changed).field("without_effect", &unused);
    for change in store.changes(study)? {
        report = report.line(&format!("`{}` has changed before trial {}.", change.what, change.at_trial));
    }
    if let Some(note) = changes::note(&files_changed) {
        report = report.line(&note);
    }
    if let Some(note) = without_effect(&unused) {
        report = report.line(&note);
    }
    report = with_retuning(report, find_retuning(context, store, study, &trials));
    if let Some(processor) = environment.as_ref().and_then(|e| e["processor"].as_str()) {
        let libtorch = environment.as_ref().and_then(|e| e["libtorch"].as_str()).unwrap_or("none");
        report = report.line(&format!("Ran on {processor}, libtorch {libtorch}."));
    }
    if let Some(note) = environment.as_ref().and_then(|environment| version(&environment["git"])) {
        report = report.line(&note);
    }
    if let Some(line) = slots::by_machine(&places) {
        report = report.line(&line);
    }
    let is_imported = matches!(definition.workload, WorkloadReference::Imported { .. });
    let again = trials.iter().filter(|trial| is_imported || is_replayed(trial)).count();
    if let Some(magic) = reproduce.as_ref().filter(|_| again > 0) {
        report = report.line(&format!("`{magic}` {} {} again.", does(&definition.workload), counted(again, "trial")));
    }
    let folder = trials_folder(&context.store_file(), &study.name)?;
    Ok(match folder.is_dir() {
        true => report.line(&format!("Checkpoints and logs: {}", folder.display())),
        false => report,
    })
}

/// What the magic does that gives the trials of a study of this workload again. A study that Tunebook exported can be
/// trained also where it was imported.
fn does(workload: &WorkloadReference) -> &'static str {
    if matches!(workload, WorkloadReference::Imported { .. }) { "reads" } else { "runs" }
}

/// A launch of one of the study's trials.
fn launch_as_json(launch: &Value) -> Value {
    json!({ "trial": launch["trial"], "because": launch["because"], "level": launch["adoption"]["level"],
        "rejected": launch["rejected"], "time": launch["launched"] })
}

/// A launch of one of the study's trials, in a sentence.
fn launched(launch: &Value) -> String {
    let time = launch["launched"].as_f64().map_or("?".into(), date_and_time);
    let level = launch::level(launch).map(|level| format!(" (level {level})")).unwrap_or_default();
    let because = launch["because"].as_str().map(|because| format!(" Because: {because}")).unwrap_or_default();
    format!("Decision: trial {} was launched {time} UTC{level}.{because}", launch["trial"])
}

/// The git commit with which the study ran last, in a sentence. None outside of a repository.
fn version(git: &Value) -> Option<String> {
    let commit = git["commit"].as_str()?;
    let changes =
        if git["dirty"] == true { ", with changes that were not committed; `%report` shows them" } else { "" };
    Some(format!("Ran at the git commit {}{changes}.", commit.get(..7).unwrap_or(commit)))
}

/// How the trials were proposed.
fn sampled(definition: &StudyDefinition) -> String {
    match definition.sampler {
        SamplerKind::External => "sampler of another tool".into(),
        sampler => format!("sampler {sampler} (version {}), seed {}", definition.sampler_version, definition.seed),
    }
}

/// Formats Unix seconds as date and time in UTC.
pub fn date_and_time(unix: f64) -> String {
    jiff::Timestamp::from_second(unix as i64).map_or("?".into(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_trials_of_another_tool_are_read_again() {
        assert_eq!(does(&WorkloadReference::Imported { from: "a.db".into() }), "reads");
        assert_eq!(does(&WorkloadReference::Builtin { name: "digits_mlp".into() }), "runs");
    }

    #[test]
    fn a_launch_and_a_commit_are_told_in_a_sentence_each() {
        let mut launch = json!({ "trial": 7, "launched": 0.0, "because": null, "adoption": null, "rejected": false });
        assert_eq!(launched(&launch), "Decision: trial 7 was launched 1970-01-01 00:00 UTC.");
        launch["because"] = json!("It is simple.");
        launch["adoption"] = json!({ "level": "L0" });
        launch["rejected"] = json!(true);
        let expected =
            "Decision: trial 7 was launched 1970-01-01 00:00 UTC (level L0, rejected). Because: It is simple.";
        assert_eq!(launched(&launch), expected);
        let version_of = |dirty: bool| version(&json!({ "commit": "0123abcd", "dirty": dirty })).unwrap();
        assert_eq!(version_of(false), "Ran at the git commit 0123abc.");
        assert!(version_of(true).contains("0123abc, with changes that were not committed"));
        assert_eq!(version(&Value::Null), None);
    }
}
