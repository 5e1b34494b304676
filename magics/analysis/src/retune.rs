//! Which best configurations no longer hold because the batch size was changed (Playbook B13).

use serde::Serialize;
use tunebook_study::{Distribution, Params, StudyDefinition, Value, WorkloadReference};

/// What a change of the batch size invalidates first: the optimizer's hyperparameters and those of regularization.
const SENSITIVE: [&str; 14] = [
    "lr",
    "momentum",
    "rho",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "warmup_steps",
    "decay_steps",
    "clip_norm",
    "label_smoothing",
    "dropout",
    "polyak_decay",
    "ghost_batch_size",
];
/// A value this near to the best one was taken over from it.
const TAKEN_OVER: f64 = 0.05;

/// A study as far as this question is concerned.
#[derive(Clone, Debug)]
pub struct Tuned<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub definition: &'a StudyDefinition,
    /// Its best configuration.
    pub best: Option<&'a Params>,
}

/// A configuration that was tuned at one batch size and is used at another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retune {
    /// The study that tuned it.
    pub tuned_in: String,
    /// At this batch size.
    pub tuned_at: i64,
    /// The study that uses it.
    pub used_in: String,
    /// At this one.
    pub used_at: i64,
    /// What was taken over and is to be tuned again.
    pub hyperparameters: Vec<String>,
}

/// Whether `user` takes over what `tuner` tuned, at another batch size. `own`: the workload's own batch size.
pub fn retune(tuner: &Tuned<'_>, user: &Tuned<'_>, own: Option<i64>) -> Option<Retune> {
    let name = |definition: &StudyDefinition| match &definition.workload {
        WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => vec![name.clone()],
        WorkloadReference::Command { words } => words.clone(),
    };
    if tuner.name == user.name || name(tuner.definition) != name(user.definition) {
        return None;
    }
    let (tuned_at, used_at) = (batch_size(tuner.definition, own)?, batch_size(user.definition, own)?);
    if tuned_at == used_at {
        return None;
    }
    let searched = |h: &&str| tuner.definition.space.named(h).any(|declared| !declared.distribution.is_constant());
    let taken_over = |h: &&str| {
        let best = tuner.best.and_then(|best| best.get(*h));
        let mut declared = user.definition.space.named(h).peekable();
        let constant = |distribution: &Distribution| match (distribution, best) {
            (Distribution::Constant { value }, Some(best)) => near(value, best),
            _ => false,
        };
        declared.peek().is_some() && declared.all(|declared| constant(&declared.distribution))
    };
    let hyperparameters: Vec<String> =
        SENSITIVE.iter().filter(|h| searched(h) && taken_over(h)).map(|h| h.to_string()).collect();
    (!hyperparameters.is_empty()).then(|| Retune {
        tuned_in: tuner.name.into(),
        tuned_at,
        used_in: user.name.into(),
        used_at,
        hyperparameters,
    })
}

fn near(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= TAKEN_OVER * a.abs().max(b.abs()),
        _ => a == b,
    }
}

/// The one batch size of a study; `None` where it has several or none.
fn batch_size(definition: &StudyDefinition, own: Option<i64>) -> Option<i64> {
    let mut declared = definition.space.named("batch_size");
    match (declared.next(), declared.next()) {
        (None, _) => own,
        (Some(h), None) => match &h.distribution {
            Distribution::Constant { value } => value.as_i64(),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::sampler::SamplerKind;
    use tunebook_study::{Direction, Hyperparameter, Judged, Objective, Role, SearchSpace};

    fn definition(declared: &[(&str, Distribution)]) -> StudyDefinition {
        let mut space = SearchSpace::new();
        for (name, distribution) in declared {
            let (name, distribution) = (name.to_string(), distribution.clone());
            space.declare(Hyperparameter { name, role: Role::Nuisance, distribution, conditions: vec![] }).unwrap();
        }
        StudyDefinition {
            workload: WorkloadReference::Builtin { name: "w".into() },
            space,
            objective: Objective { metric: "e".into(), direction: Direction::Minimize, judged: Judged::Best },
            sampler: SamplerKind::Quasirandom,
            seed: 0,
            repeats: 1,
            question: None,
            notes: None,
        }
    }

    #[test]
    fn a_best_configuration_at_another_batch_size_is_to_be_tuned_again() {
        let constant = |value: f64| Distribution::constant(value.into());
        let size = |size: i64| ("batch_size", Distribution::constant(size.into()));
        let tuned = definition(&[("lr", Distribution::log_uniform(1e-4, 1.0).unwrap())]);
        let best: Params = [("lr".to_string(), 0.0213.into())].into();
        let tuner = Tuned { name: "a", definition: &tuned, best: Some(&best) };
        let found = |declared: &[(&str, Distribution)]| {
            let definition = definition(declared);
            retune(&tuner, &Tuned { name: "b", definition: &definition, best: None }, Some(64))
        };
        let changed = found(&[size(512), ("lr", constant(0.021))]).unwrap();
        assert_eq!((changed.tuned_at, changed.used_at, changed.hyperparameters), (64, 512, vec!["lr".to_string()]));
        assert_eq!(found(&[size(64), ("lr", constant(0.021))]), None, "the same size");
        assert_eq!(found(&[size(512), ("lr", constant(0.1))]), None, "a value of its own");
        let again = Distribution::log_uniform(1e-3, 1.0).unwrap();
        assert_eq!(found(&[size(512), ("lr", again)]), None, "tuned again");
        assert_eq!(found(&[size(512)]), None, "its default");
    }
}
