//! The names under which other tools see hyperparameters. Two branches of a space may declare one plain name; other
//! tools know no branches, so there each of them needs a name of its own.

use tunebook_study::{Hyperparameter, Params, SearchSpace};

/// The plain name of a hyperparameter, or its label if several branches declare that name.
pub(crate) fn name_of(space: &SearchSpace, hyperparameter: &Hyperparameter) -> String {
    match space.named(&hyperparameter.name).count() {
        0 | 1 => hyperparameter.name.clone(),
        _ => hyperparameter.label(),
    }
}

/// The same of a value in a trial. A value in a branch that does not declare the name keeps the plain name.
pub(crate) fn name_in(space: &SearchSpace, plain: &str, params: &Params) -> String {
    space.active(plain, params).map_or_else(|| plain.to_string(), |active| name_of(space, active))
}
