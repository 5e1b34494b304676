//! Says how often the validation data of a study were used, over all studies of the store (Playbook H8). What is chosen
//! by the same examples again and again looks better on them than it is.

use super::validation::{rounded, validation};
use crate::error::Result;
use crate::report::Report;
use crate::report::table::number;
use serde_json::{Value as Json, json};
use tunebook_analysis::{ValidationPrecision, ValidationUses, luck_of_the_best, uses_validation};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Objective, Trial, WorkloadReference};

/// The name of the study that holds the trials of `%replay`.
pub fn replay_of(study: &StudyRecord) -> String {
    format!("{}.replay", study.name)
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
    // A replay has the values of its study again, and nothing is chosen by it.
    for other in studies.iter().filter(|other| !is_replay(&other.name)) {
        let sets = store.validation_sets(other)?;
        // Where the examples are not known, the same workload is taken to have the same ones.
        let is_shared = match own.is_empty() || sets.is_empty() {
            true => study.definition.workload.is_same_workload(&other.definition.workload),
            false => !own.is_disjoint(&sets),
        };
        if is_shared {
            let judged = &other.definition.objective;
            uses.add(judged, &store.trials(other)?, store.evaluations(other, &judged.metric)?);
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
