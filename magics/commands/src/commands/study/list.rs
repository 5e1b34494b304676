//! `%study`: all studies of the store, as the loop of rounds that the Playbook describes (D1): what each asked, what it
//! found, and what was decided by it.

use super::show::date_and_time;
use crate::error::Result;
use crate::host::Output;
use crate::magic::Context;
use crate::report::Report;
use crate::report::table::{Rows, number};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::ops::Add;
use tunebook_analysis::{best_trial, count_by_state};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::store::Store;
use tunebook_study::{StudyDefinition, Trial};

/// Shows all studies: those of the last round first, and in a round the newest first.
pub fn list_all(context: &Context, output: &dyn Output) -> Result<()> {
    let store = context.store_to_read()?;
    let mut records = store.as_ref().map_or(Ok(vec![]), Store::studies)?;
    records.sort_by_key(|study| std::cmp::Reverse(study.definition.round));
    let mut rows = Rows::new(&["study", "round", "question", "trials", "best", "trial", "decision", "created (UTC)"]);
    let mut studies = vec![];
    let mut shares = Shares::default();
    for study in &records {
        let Some(store) = &store else { continue };
        let trials = store.trials(study)?;
        let (counts, best) = (count_by_state(&trials), best_trial(&trials, &study.definition.objective));
        let metric = &study.definition.objective.metric;
        let decision = decision(store, &study.name)?;
        shares = shares + Shares::of(&study.definition, &trials);
        rows.row(vec![
            study.name.clone(),
            study.definition.round.map_or("–".into(), |round| round.to_string()),
            study.definition.question.clone().unwrap_or_default(),
            trials.len().to_string(),
            best.as_ref().map_or("–".into(), |best| format!("{} {metric}", number(best.objective))),
            best.as_ref().map_or("–".into(), |best| best.trial.to_string()),
            decision.as_ref().map_or("–".into(), in_words),
            date_and_time(study.created),
        ]);
        let StudyDefinition { round, question, .. } = &study.definition;
        studies.push(json!({ "study": study.name, "round": round, "question": question, "trials": counts,
            "best": best, "decision": decision, "created": study.created }));
    }
    let path = context.store_file();
    let path = path.display();
    let report = Report::new("study", &json!({ "studies": studies, "configurations": shares }));
    let report = match records.len() {
        0 => report.line(&format!("There are no studies in {path} yet; a %%sweep creates one.")),
        1 => report.line(&format!("One study in {path}.")).table(&rows),
        count => report.line(&format!("{count} studies in {path}.")).table(&rows),
    };
    shares.in_words().iter().fold(report, |report, sentence| report.line(sentence)).show(&context.charts, output);
    Ok(())
}

/// Returns the last decision that rests on a study: that one of its trials became the baseline, or what `%adopt` found.
fn decision(store: &Store, study: &str) -> Result<Option<Json>> {
    let of_study = |results: Vec<Json>| results.into_iter().rev().find(|result| result["study"] == study);
    let launched = of_study(store.results("launch")?).map(|launch| json!({ "launched": launch["trial"] }));
    if launched.is_some() {
        return Ok(launched);
    }
    let adoption = of_study(store.results("adoption")?);
    Ok(adoption.map(|found| {
        json!({ "adopt": found["adopt"], "candidate": found["candidate"], "baseline": found["baseline"],
            "level": found["level"] })
    }))
}

fn in_words(decision: &Json) -> String {
    if !decision["launched"].is_null() {
        return format!("trial {} launched", decision["launched"]);
    }
    let (candidate, baseline) = (&decision["candidate"], &decision["baseline"]);
    let level = decision["level"].as_str().unwrap_or("–");
    match decision["adopt"].as_bool() {
        Some(true) => format!("adopt {candidate} for {baseline} ({level})"),
        _ => format!("keep {baseline}, not {candidate} ({level})"),
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
    /// Of another tool, whose sampler is not known.
    imported: usize,
}

impl Shares {
    fn of(definition: &StudyDefinition, trials: &[Trial]) -> Self {
        let configurations: BTreeSet<u32> = trials.iter().map(|trial| trial.configuration).collect();
        let given = configurations.iter().filter(|index| definition.is_given(**index)).count();
        let others = configurations.len() - given;
        let shares = Self { given, ..Self::default() };
        match definition.sampler {
            SamplerKind::External => Self { imported: others, ..shares },
            sampler if sampler.is_adaptive() => Self { exploiting: others, ..shares },
            _ => Self { exploring: others, ..shares },
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
