//! Finds the hyperparameter that a question is about, and its value in a trial.

use crate::AnalysisError;
use tunebook_study::{Hyperparameter, SearchSpace, Trial, Value};

/// Returns the declaration that a label or a plain name means.
///
/// It is an error if the space has no such declaration, has several of that name, or gives it one value only.
pub(crate) fn varied_hyperparameter<'a>(
    space: &'a SearchSpace,
    label: &str,
) -> Result<&'a Hyperparameter, AnalysisError> {
    let labels = |all: &mut dyn Iterator<Item = &Hyperparameter>| all.map(Hyperparameter::label).collect::<Vec<_>>();
    let Some(hyperparameter) = space.find(label) else {
        let branches = labels(&mut space.named(label));
        return Err(if branches.is_empty() {
            let known = labels(&mut space.hyperparameters().iter().filter(|h| h.distribution.varies()));
            AnalysisError::UnknownHyperparameter { name: label.into(), known }
        } else {
            AnalysisError::Ambiguous { name: label.into(), labels: branches }
        });
    };
    if !hyperparameter.distribution.varies() {
        return Err(AnalysisError::Constant { name: label.into() });
    }
    Ok(hyperparameter)
}

/// Returns a trial's value of a hyperparameter, or None if this declaration is not the active one in the trial's
/// branch.
pub(crate) fn value_in<'t>(
    space: &SearchSpace,
    hyperparameter: &Hyperparameter,
    trial: &'t Trial,
) -> Option<&'t Value> {
    space.value_of(hyperparameter, &trial.params)
}
