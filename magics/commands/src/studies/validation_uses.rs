//! Says how often the validation data of a study were used, over all studies of the store (Playbook H8). What is chosen
//! by the same examples again and again looks better on them than it is.

use super::validation::{rounded, validation};
use crate::error::Result;
use crate::report::Report;
use crate::report::table::number;
use serde_json::{Value as Json, json};
use std::collections::{BTreeSet, HashMap};
use tunebook_analysis::{ValidationPrecision, ValidationUses, luck_of_the_best, uses_validation};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Objective, Trial, WorkloadReference};

/// The name of the study that holds the trials of `%replay`.
pub fn replay_of(study: &StudyRecord) -> String {
    format!("{}.replay", study.name)
}

/// Whether a study holds new runs of configurations of another one: those of `%replay`, or of `%adopt` and `%seeds`,
/// which are named `STUDY.trialI`, or `STUDY.trialI.SOURCE` with `--vary`. `studies` are all names.
pub fn holds_runs_of_another(name: &str, studies: &BTreeSet<&str>) -> bool {
    let of_replay = name.strip_suffix(".replay");
    let of_trial = name.rmatch_indices(".trial").find_map(|(at, part)| {
        let number = name[at + part.len()..].split('.').next()?;
        (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then(|| &name[..at])
    });
    of_replay.into_iter().chain(of_trial).any(|study| studies.contains(study))
}

/// Whether two trials are the same one in two studies: a study was exported and imported again.
fn is_copy(a: &Trial, b: &Trial) -> bool {
    a.seed == b.seed && a.params == b.params && a.summaries == b.summaries
}

/// Returns how often the validation data of a study were used. None if the study is not judged by validation data.
pub fn validation_uses(store: &Store, study: &StudyRecord, objective: &Objective) -> Result<Option<ValidationUses>> {
    if !uses_validation(objective) {
        return Ok(None);
    }
    let own = store.validation_sets(study)?;
    let mut uses = ValidationUses::default();
    let studies = store.studies()?;
    let is_replay = |name: &str| studies.iter().any(|study| replay_of(study) == name);
    let mut sharing = vec![];
    // A replay has the values of its study again, and nothing is chosen by it.
    for other in studies.iter().filter(|other| !is_replay(&other.name)) {
        let sets = store.validation_sets(other)?;
        // Where the examples are not known, the same workload is taken to have the same ones.
        let is_shared = match own.is_empty() || sets.is_empty() {
            true => study.definition.workload.is_same_workload(&other.definition.workload),
            false => !own.is_disjoint(&sets),
        };
        if is_shared {
            sharing.push((store.origin(other)?.is_some(), other));
        }
    }
    // An imported study may have trials of another study of the store, so the others come first.
    sharing.sort_by_key(|(is_imported, _)| *is_imported);
    let has_imported = sharing.iter().any(|(is_imported, _)| *is_imported);
    let mut seen: HashMap<u64, Vec<Trial>> = HashMap::new();
    for (is_imported, other) in sharing {
        let judged = &other.definition.objective;
        let mut evaluations = store.evaluations(other, &judged.metric)?;
        let is_known = |trial: &Trial| {
            is_imported && seen.get(&trial.seed).is_some_and(|seen| seen.iter().any(|known| is_copy(known, trial)))
        };
        let (copies, own): (Vec<Trial>, Vec<Trial>) = store.trials(other)?.into_iter().partition(is_known);
        for copy in copies {
            let measured = store.measurements(other, copy.number)?;
            let count = measured.iter().filter(|measured| measured.metrics.contains_key(&judged.metric)).count();
            evaluations = evaluations.saturating_sub(count as u64);
        }
        uses.add(judged, &own, evaluations);
        if has_imported {
            own.into_iter().for_each(|trial| seen.entry(trial.seed).or_default().push(trial));
        }
    }
    Ok((uses.trials > 0).then_some(uses))
}

/// Adds how precisely the validation examples measure a value of the objective of a study, beside a difference of it.
/// Adds also how often they were used.
pub fn with_validation(
    report: Report,
    store: &Store,
    study: &StudyRecord,
    trials: &[Trial],
    objective: &Objective,
    [value, difference]: [Option<f64>; 2],
) -> Result<Report> {
    let precision = validation(trials, objective, value, difference);
    let uses = validation_uses(store, study, objective)?;
    let mut field = match &precision {
        Some((precision, _)) => json!(precision),
        None => {
            json!({ "examples": null, "value": null, "standard_error": null, "difference": null, "is_below": null })
        }
    };
    let luck = precision.as_ref().zip(uses).map(|((precision, _), uses)| {
        let ValidationPrecision { standard_error, .. } = precision;
        luck_of_the_best(uses.evaluations, *standard_error)
    });
    if let Some(uses) = uses {
        field["uses"] = json!(uses);
        field["uses"]["luck"] = json!(luck);
    }
    let field = if precision.is_none() && uses.is_none() { Json::Null } else { field };
    let mut report = report.field("validation", field);
    if let Some((_, sentence)) = &precision {
        report = report.line(sentence);
    }
    if let Some(uses) = uses {
        report = report.line(&sentence(&uses, luck, &study.definition.workload));
    }
    Ok(report)
}

/// `luck` is by how much the best evaluation can be expected to look too good.
fn sentence(uses: &ValidationUses, luck: Option<f64>, workload: &WorkloadReference) -> String {
    let ValidationUses { studies, configurations, trials, evaluations } = *uses;
    let counted = |count: u64, noun: &str, many: &str| format!("{count} {}", if count == 1 { noun } else { many });
    let whose = match workload {
        WorkloadReference::Builtin { .. } | WorkloadReference::Rust { .. } => "These validation data have",
        // What a program judges by is not known.
        WorkloadReference::Command(_) | WorkloadReference::Imported { .. } => "The data of the objective have",
    };
    let used = format!(
        "{whose} judged {} ({}, {}) in {} of this store.",
        counted(configurations as u64, "configuration", "configurations"),
        counted(trials as u64, "trial", "trials"),
        counted(evaluations, "evaluation", "evaluations"),
        counted(studies as u64, "study", "studies"),
    );
    if evaluations < 2 {
        return used;
    }
    let lucky = match luck {
        Some(luck) => format!(
            "The more you compare on the same validation data, the more luck is in the best value: if all {evaluations} \
             evaluations were equally good, the best would look better than it is by up to about {}.",
            number(rounded(luck))
        ),
        None => format!(
            "The more you compare on the same validation data, the more luck is in the best of these {evaluations} values."
        ),
    };
    let unbiased = match workload {
        WorkloadReference::Builtin { .. } | WorkloadReference::Rust { .. } => {
            "Only test data that no choice was made with are free of this: `%final` measures a trial on them (H8)."
        }
        WorkloadReference::Command(_) | WorkloadReference::Imported { .. } => {
            "Only test data that no choice was made with are free of this (H8)."
        }
    };
    format!("{used} {lucky} {unbiased}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, definition};
    use tunebook_study::store::NewTrial;
    use tunebook_study::{Measurement, TrialState};

    #[test]
    fn a_trial_that_was_exported_and_imported_again_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let definition = definition();
        let mut store = context.store().unwrap();
        let study = store.create_study("a", &definition).unwrap();
        let mut writer = store.write(study).unwrap();
        let measured = |step: u64| {
            let metrics = [("valid/error".to_string(), Some(0.25))].into();
            Measurement { step, seconds: 0.5, metrics }
        };
        for number in [1, 2] {
            let params = [("lr".to_string(), 0.1.into())].into();
            let trial = NewTrial { number, configuration: number - 1, params, seed: u64::from(number) };
            writer.start(&trial).unwrap();
            for step in [10, 20] {
                writer.measured(number, &measured(step)).unwrap();
            }
            writer.finish(number, TrialState::Complete, None, 1.0).unwrap();
        }
        drop(writer);
        let mut store = context.store().unwrap();
        let study = store.study("a").unwrap().unwrap();
        let counts = |store: &Store| {
            let uses = validation_uses(store, &study, &definition.objective).unwrap().unwrap();
            (uses.studies, uses.configurations, uses.trials, uses.evaluations)
        };
        assert_eq!(counts(&store), (1, 2, 2, 4));
        let trials = store.trials(&study).unwrap();
        let measurements = [measured(10), measured(20)];
        let rows = trials.iter().map(|trial| (trial, &measurements[..]));
        store.record_imported("copy", &definition, rows, &json!({ "source": "a.log" }), None).unwrap();
        assert_eq!(counts(&store), (1, 2, 2, 4));
        // Another seed is another trial.
        let others: Vec<Trial> = trials.iter().map(|trial| Trial { seed: trial.seed + 7, ..trial.clone() }).collect();
        let rows = others.iter().chain(&trials[..1]).map(|trial| (trial, &measurements[..]));
        let rows: Vec<(Trial, &[Measurement])> =
            rows.zip(1..).map(|((trial, rows), number)| (Trial { number, ..trial.clone() }, rows)).collect();
        let rows = rows.iter().map(|(trial, rows)| (trial, *rows));
        store.record_imported("longer", &definition, rows, &json!({ "source": "b.log" }), None).unwrap();
        assert_eq!(counts(&store), (2, 4, 4, 8));
    }
}
