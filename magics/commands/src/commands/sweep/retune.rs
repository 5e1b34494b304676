//! Looks through the store for best configurations whose batch size was changed afterwards (Playbook B13).

use crate::commands::workload;
use crate::error::Result;
use crate::magic::Context;
use tunebook_analysis::{Retuning, TunedStudy, best_trial, retuning};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Trial, WorkloadReference};

/// What concerns a study: it takes over what another one tuned at another batch size, or another one takes over from it.
pub fn concerning(context: &Context, store: &Store, study: &StudyRecord, trials: &[Trial]) -> Result<Vec<Retuning>> {
    let own = match &study.definition.workload {
        WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => {
            // A worker that cannot be asked leaves studies that do not name their batch size out.
            let known = workload::known(context).unwrap_or_default();
            let known = known.into_iter().find(|workload| workload.description.name == *name);
            known.and_then(|workload| workload.description.hyperparameter("batch_size")?.default.as_i64())
        }
        WorkloadReference::Command { .. } => None,
    };
    let mut found = vec![];
    let here = best_trial(trials, &study.definition.objective);
    let this =
        TunedStudy { name: &study.name, definition: &study.definition, best: here.as_ref().map(|best| &best.params) };
    for other in store.studies()?.iter().filter(|other| other.name != study.name) {
        let there = best_trial(&store.trials(other)?, &other.definition.objective);
        let that = TunedStudy {
            name: &other.name,
            definition: &other.definition,
            best: there.as_ref().map(|best| &best.params),
        };
        let (tuner, user) = if other.created < study.created { (&that, &this) } else { (&this, &that) };
        found.extend(retuning(tuner, user, own));
    }
    Ok(found)
}
