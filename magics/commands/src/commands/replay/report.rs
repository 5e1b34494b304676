//! What a replay says: how many trials are identical, where the others differ most, and what differs around them.

use super::bundled::Bundled;
use super::display::ReplayDisplay;
use super::environment::{self, Difference, FileDifference};
use super::record::Record;
use crate::commands::sweep::engine::RunOutcome;
use crate::error::Result;
use crate::magic::Context;
use crate::report::Report;
use crate::report::table::{Rows, number, number_or_dash};
use crate::studies::replay_of;
use tunebook_analysis::Replay;
use tunebook_study::WorkloadReference;
use tunebook_study::store::StudyRecord;

/// So many metrics, trials, facts and files are listed.
const ROWS: usize = 20;

/// The report, without its chart. `outcome` is None if nothing was trained.
pub fn report(
    context: &Context,
    study: &StudyRecord,
    record: &Record,
    display: &ReplayDisplay<'_>,
    outcome: Option<RunOutcome>,
) -> Result<Report> {
    let found = display.compared();
    let store = context.store()?;
    let (facts, files) = match display.replay() {
        Some(replay) => (environment::differences(&store, study, replay)?, environment::files(&store, study, replay)?),
        None => (vec![], vec![]),
    };
    let not_run = record.trials.len().saturating_sub(found.trials);
    let mut report = Report::new("replay", found)
        .field("study", &study.name)
        .field("replay_study", replay_of(study))
        .field("same", found.is_same())
        .field("left_out", record.left_out)
        .field("not_run", not_run)
        .field("environment", &facts)
        .field("files", &files)
        .field("bundled", &record.bundled);
    let mut lines: Vec<String> = vec![];
    lines.extend(match outcome {
        Some(RunOutcome::Interrupted) => Some("Interrupted; the same line continues.".to_string()),
        Some(RunOutcome::AllFail) => Some("Stopped: the first trials that ended failed with the same reason.".into()),
        None => Some("Nothing was trained: the replay is recorded. `--again` runs it again.".into()),
        _ => None,
    });
    lines.push(verdict(&study.name, found));
    lines.extend(without(record, found, not_run));
    lines.extend(record.bundled.iter().map(Bundled::sentence));
    for change in store.changes(study)? {
        lines.push(format!(
            "The study records that `{}` changed before trial {}: trials before and after it read other contents.",
            change.what, change.at_trial
        ));
    }
    lines.extend(about_environment(study, found, &facts, &files, &slots_of(&store, display)?));
    report = lines.iter().fold(report, |report, line| report.line(line));
    let mut metrics =
        Rows::new(&["metric", "trials that differ", "largest difference", "in trial", "at step", "recorded", "again"]);
    for difference in &found.differences {
        let exact = |value: Option<f64>| value.map_or("–".to_string(), |value| value.to_string());
        metrics.row(vec![
            difference.metric.clone(),
            difference.trials.to_string(),
            number_or_dash(difference.largest),
            difference.trial.to_string(),
            difference.step.to_string(),
            exact(difference.recorded),
            exact(difference.again),
        ]);
    }
    let mut states = Rows::new(&["trial", "recorded", "again", "reason"]);
    for state in &found.states {
        let reason = state.reason.clone().unwrap_or_default();
        states.row(vec![state.trial.to_string(), state.recorded.to_string(), state.again.to_string(), reason]);
    }
    let mut around = Rows::new(&["environment", "recorded", "again"]);
    for fact in &facts {
        around.row(vec![fact.what.clone(), fact.recorded.clone(), fact.again.clone()]);
    }
    for file in &files {
        let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_string();
        around.row(vec![file.file.display().to_string(), short(&file.recorded), short(&file.again)]);
    }
    Ok(report
        .first_rows(metrics, ROWS, "metrics that differ")
        .first_rows(states, ROWS, "trials that ended in another state")
        .first_rows(around, ROWS, "facts and files that differ"))
}

fn verdict(study: &str, found: &Replay) -> String {
    let Replay { trials, identical, values, .. } = found;
    let runs = if *trials == 1 { "trial" } else { "trials" };
    match (trials, identical) {
        (0, _) => format!("No trial of {study} has ended again yet."),
        _ if found.is_same() && *values == 0 => {
            format!("{trials} {runs} of {study} ran again and ended as recorded; there was no value to compare.")
        }
        _ if found.is_same() => format!(
            "{trials} {runs} of {study} ran again, and all {values} values are identical to the record, to the last bit."
        ),
        _ => format!(
            "{trials} {runs} of {study} ran again: {identical} identical to the record to the last bit, {} not.",
            trials - identical
        ),
    }
}

/// What was not run or not compared.
fn without(record: &Record, found: &Replay, not_run: usize) -> Vec<String> {
    let mut lines = vec![];
    let count = |n: usize| if n == 1 { "1 trial that".to_string() } else { format!("{n} trials that") };
    let mut left_out = vec![];
    if record.left_out.cancelled > 0 {
        let cancelled = record.left_out.cancelled;
        left_out.push(format!("{} had not ended", count(cancelled)));
    }
    if record.left_out.timed_out > 0 {
        left_out.push(format!("{} ran out of time", count(record.left_out.timed_out)));
    }
    if !left_out.is_empty() {
        lines.push(format!("Left out: {}.", left_out.join(", and ")));
    }
    let stopped = record.trials.values().filter(|trial| record.is_cut_short(trial)).count();
    if stopped > 0 {
        lines.push(format!(
            "Stopped early in the record: {}. Each is stopped at the same step again and compared up to there; the rule \
             itself does not run again.",
            if stopped == 1 { "1 trial".into() } else { format!("{stopped} trials") }
        ));
    }
    if not_run > 0 {
        let of = record.trials.len();
        lines.push(format!("{not_run} of the {of} trials to compare have not ended again."));
    }
    if !found.times.is_empty() {
        let names: Vec<&str> = found.times.iter().map(String::as_str).collect();
        lines.push(format!("Not compared, because they are times: {}.", names.join(", ")));
    }
    lines
}

/// The devices of the slots in which the replay ran last.
fn slots_of(store: &tunebook_study::store::Store, display: &ReplayDisplay<'_>) -> Result<String> {
    let Some(replay) = display.replay() else { return Ok(String::new()) };
    Ok(store.environment(replay)?.map_or(String::new(), |environment| environment["slots"].to_string()))
}

fn about_environment(
    study: &StudyRecord,
    found: &Replay,
    facts: &[Difference],
    files: &[FileDifference],
    slots: &str,
) -> Vec<String> {
    let mut lines = vec![];
    let names: Vec<String> =
        facts.iter().map(|fact| fact.what.clone()).chain(files.iter().map(|f| f.file.display().to_string())).collect();
    let is_same = found.is_same() || found.trials == 0;
    if !names.is_empty() {
        let may = if is_same { "" } else { " This may be the reason for other numbers." };
        lines.push(format!("The environment differs in {}.{may}", names.join(", ")));
        return lines;
    }
    lines.push("The versions, the devices and the contents of the files are those that the study recorded.".into());
    if is_same {
        return lines;
    }
    match &study.definition.workload {
        WorkloadReference::Command(_) => lines.push(
            "A program gives the same numbers if all its randomness comes from the seed in TUNEBOOK_SEED and if it \
             computes in a fixed order."
                .into(),
        ),
        _ if slots.contains("cuda") => {
            lines.push("On a GPU, some sums are computed in an order that is not fixed.".into());
        }
        _ => {}
    }
    if let Some(largest) = found.largest_difference {
        lines.push(format!("The largest difference of two values is {}.", number(largest)));
    }
    lines
}
