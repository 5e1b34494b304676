//! The lints of a sweep before it runs, and those that the user allowed.

use super::plan::SweepPlan;
use super::run_context::RunContext;
use super::slots::Slots;
use crate::commands::launch::has_launch;
use crate::commands::workload;
use crate::error::{ErrorName, Result, suggest};
use crate::magic::Context;
use crate::syntax::Arguments;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use tunebook_analysis::{
    BATCH_SIZE_CHANGED, Design, Explored, LINTS, Lint, Stage, Throughput, TunedStudy, batch_size_too_large, best_trial,
    exploitation, lints, not_tuned_again, retuning,
};

use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{StudyDefinition, WorkloadDescription, WorkloadReference};

/// The kind of the result in which a study keeps the lints that were allowed.
const ALLOWED: &str = "allowed_lints";

/// Reads `--allow LINT`, which may be given several times.
pub fn allowed(arguments: &Arguments) -> Result<BTreeSet<String>> {
    let mut allowed = BTreeSet::new();
    for word in arguments.all("allow") {
        if !LINTS.contains(&word.text.as_str()) {
            let message = format!("there is no lint `{}`", word.text);
            let help = suggest(&word.text, LINTS);
            return Err(arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help));
        }
        allowed.insert(word.text.clone());
    }
    Ok(allowed)
}

/// Returns the lints of a plan, without those that are allowed.
pub fn advice(context: &Context, store: Option<&Store>, plan: &SweepPlan, design: &Design) -> Result<Vec<Lint>> {
    let definition = &plan.definition;
    let description = description(context, &definition.workload);
    let others: Vec<StudyRecord> = match store {
        Some(store) => store.studies()?.into_iter().filter(|study| study.name != plan.name).collect(),
        None => vec![],
    };
    let has_other = others.iter().any(|study| study.definition.workload.is_same_workload(&definition.workload));
    let stage = match store {
        Some(store) if has_launch(store, &definition.workload)? => Stage::AfterBaseline,
        _ if has_other => Stage::Exploring,
        _ => Stage::First,
    };
    let mut found = lints(definition, design, description.as_ref(), stage);
    found.extend(beyond_the_fastest(store, definition, description.as_ref())?);
    found.extend(retuned(store, plan, &others, description.as_ref())?);
    found.extend(exploited(context, store, plan, &others, description.as_ref())?);
    found.retain(|lint| !plan.options.allow.contains(lint.id));
    Ok(found)
}

/// Returns the lint for a batch size beyond the fastest one that `%throughput` measured last (Playbook B3).
fn beyond_the_fastest(
    store: Option<&Store>,
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
) -> Result<Option<Lint>> {
    let (Some(store), Some(known)) = (store, description) else { return Ok(None) };
    Ok(last_throughput(store, &known.name)?.and_then(|(result, throughput)| {
        let limit = result["largest_feasible"].as_u64().filter(|_| result["limited_by"] == "memory");
        batch_size_too_large(definition, description, &throughput, limit)
    }))
}

/// The last reliable result of `%throughput` for a workload, with what it measured. None if there is none, or if an
/// earlier version of Tunebook wrote it in another form.
pub fn last_throughput(store: &Store, workload: &str) -> Result<Option<(Json, Throughput)>> {
    let mut measured = store.results("throughput")?.into_iter().rev();
    let last = measured.find(|result| result["workload"] == workload && result["reliable"] == true);
    Ok(last.and_then(|result| {
        let throughput = serde_json::from_value(result["measured"][0]["measured"]["throughput"].clone()).ok()?;
        Some((result, throughput))
    }))
}

/// Returns the lint for hyperparameters that another study tuned at another batch size (Playbook B13).
fn retuned(
    store: Option<&Store>,
    plan: &SweepPlan,
    others: &[StudyRecord],
    description: Option<&WorkloadDescription>,
) -> Result<Option<Lint>> {
    let Some(store) = store else { return Ok(None) };
    let default = description.and_then(|known| known.hyperparameter("batch_size")?.default.as_i64());
    for other in others {
        let best = best_trial(&store.trials(other)?, &other.definition.objective);
        let tuner = TunedStudy {
            name: &other.name,
            definition: &other.definition,
            best: best.as_ref().map(|best| &best.params),
        };
        let user = TunedStudy { name: &plan.name, definition: &plan.definition, best: None };
        let taken_over = retuning(&tuner, &user, default);
        let is_taken_over = taken_over.is_some();
        if let Some(found) = taken_over.or_else(|| not_tuned_again(&tuner, &user, default)) {
            let names: Vec<String> = found.hyperparameters.iter().map(|name| format!("`{name}`")).collect();
            let (names, it) = (names.join(", "), if names.len() == 1 { "it" } else { "them" });
            let what = match is_taken_over {
                true => format!("{names} has the value that {} found", found.tuned_in),
                false => format!("{names} has one value here, and {} tuned it", found.tuned_in),
            };
            let message = format!(
                "{what} at a batch size of {}; this study trains at {}. The best value depends on the batch size: declare \
                 {it} nuisance.",
                found.tuned_at, found.used_at,
            );
            let playbook = "B13 Changing the batch size requires re-tuning most hyperparameters";
            return Ok(Some(Lint { id: BATCH_SIZE_CHANGED, message, playbook }));
        }
    }
    Ok(None)
}

/// Returns the lints of a study that exploits: of its trials at a time, and of the best configuration of the earlier
/// studies of the same workload and objective (Playbook F6, I4).
fn exploited(
    context: &Context,
    store: Option<&Store>,
    plan: &SweepPlan,
    others: &[StudyRecord],
    description: Option<&WorkloadDescription>,
) -> Result<Vec<Lint>> {
    let definition = &plan.definition;
    if !definition.sampler.is_adaptive() {
        return Ok(vec![]);
    }
    let objective = &definition.objective;
    let mut best: Option<(f64, &str, _)> = None;
    for other in others {
        let theirs = &other.definition;
        let is_alike = theirs.workload.is_same_workload(&definition.workload)
            && theirs.objective.metric == objective.metric
            && theirs.objective.direction == objective.direction;
        let Some(store) = store.filter(|_| is_alike) else { continue };
        let Some(found) = best_trial(&store.trials(other)?, objective) else { continue };
        let minimized = objective.direction.minimized(found.objective);
        if best.as_ref().is_none_or(|(least, ..)| minimized < *least) {
            best = Some((minimized, other.name.as_str(), found));
        }
    }
    let explored = best.as_ref().map(|(_, study, found)| Explored { study, trial: found.trial, params: &found.params });
    let run = RunContext::new(context, &plan.options)?;
    let (devices, _) = run.devices(context, &definition.workload);
    let slots = Slots::of(context, &run, &devices);
    let configurations = u64::from(plan.trials / definition.repeats.max(1));
    Ok(exploitation(definition, description, configurations, slots.at_once(), explored.as_ref()))
}

/// The description of a workload. None for a program, and if the worker cannot be asked.
fn description(context: &Context, workload: &WorkloadReference) -> Option<WorkloadDescription> {
    if matches!(workload, WorkloadReference::Command(_)) {
        return None;
    }
    let known = workload::known(context).unwrap_or_default();
    known.into_iter().find(|known| known.reference == *workload).map(|known| known.description)
}

/// Records the lints that were allowed, with those that were allowed before.
pub fn record_allowed(store: &Store, study: &StudyRecord, allowed: &BTreeSet<String>) -> Result<()> {
    if allowed.is_empty() {
        return Ok(());
    }
    let mut all = recorded_allowed(store, study)?;
    all.extend(allowed.iter().cloned());
    Ok(store.keep_result(study, ALLOWED, "", &json!(all))?)
}

/// The lints that were allowed in the runs of a study.
pub fn recorded_allowed(store: &Store, study: &StudyRecord) -> Result<BTreeSet<String>> {
    let recorded = store.result(study, ALLOWED, "")?;
    Ok(recorded.and_then(|recorded: Json| serde_json::from_value(recorded).ok()).unwrap_or_default())
}
