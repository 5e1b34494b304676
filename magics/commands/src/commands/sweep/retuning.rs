//! Finds studies that use hyperparameters which another study tuned at another batch size (Playbook B13).

use crate::commands::workload;
use crate::error::Result;
use crate::magic::Context;
use tunebook_analysis::{Retuning, TunedStudy, best_trial, retuning};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Trial, WorkloadReference};

/// Compares a study with every other study in the store. Returns what the study takes over from an earlier one, and
/// what a later one takes over from it. `trials` are the trials of the study.
pub fn find_retuning(context: &Context, store: &Store, study: &StudyRecord, trials: &[Trial]) -> Result<Vec<Retuning>> {
    let default_batch_size = match &study.definition.workload {
        WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => {
            // If the worker cannot be asked, studies that do not declare their batch size are not compared.
            let workloads = workload::known_in(context, Some(store)).unwrap_or_default();
            let workload = workloads.into_iter().find(|workload| workload.description.name == *name);
            workload.and_then(|workload| workload.description.hyperparameter("batch_size")?.default.as_i64())
        }
        WorkloadReference::Command { .. } | WorkloadReference::Imported { .. } => None,
    };
    let mut found = vec![];
    let best = best_trial(trials, &study.definition.objective);
    let this =
        TunedStudy { name: &study.name, definition: &study.definition, best: best.as_ref().map(|best| &best.params) };
    for other in store.studies()?.iter().filter(|other| other.name != study.name) {
        let best = best_trial(&store.trials(other)?, &other.definition.objective);
        let that = TunedStudy {
            name: &other.name,
            definition: &other.definition,
            best: best.as_ref().map(|best| &best.params),
        };
        let (tuner, user) = if other.created < study.created { (&that, &this) } else { (&this, &that) };
        found.extend(retuning(tuner, user, default_batch_size));
    }
    Ok(found)
}
