//! What a change of the batch size invalidates (Playbook B13, B14).
//!
//! The best values of the optimizer's and the regularization's hyperparameters depend on the batch size. A study that
//! takes them over from a study at another batch size has to tune them again.

use serde::Serialize;
use tunebook_study::{Distribution, Hyperparameter, Params, StudyDefinition, Value, WorkloadReference};

/// The hyperparameters whose best values depend most on the batch size: those of the optimizer and of the
/// regularization.
const SENSITIVE: [&str; 15] = [
    "lr",
    "learning_rate",
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
/// A value within this relative difference of the best one counts as taken over from it.
const TAKEN_OVER: f64 = 0.05;

/// The part of a study that [`retuning`] compares.
#[derive(Clone, Debug)]
pub struct TunedStudy<'a> {
    /// The name of the study.
    pub name: &'a str,
    /// Its definition.
    pub definition: &'a StudyDefinition,
    /// The hyperparameters of its best trial, or None if it has none yet.
    pub best: Option<&'a Params>,
}

/// Hyperparameters that one study tuned at one batch size and another study uses at another batch size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retuning {
    /// The name of the study that tuned them.
    pub tuned_in: String,
    /// The batch size of that study.
    pub tuned_at: i64,
    /// The name of the study that uses the tuned values.
    pub used_in: String,
    /// The batch size of that study.
    pub used_at: i64,
    /// The names of the hyperparameters that were taken over and have to be tuned again.
    pub hyperparameters: Vec<String>,
}

/// Returns what `user` takes over from `tuner` at another batch size, or None if there is nothing to tune again.
///
/// A hyperparameter is taken over if `tuner` searched for it and `user` fixes it to within 5 % of the best value. Both
/// studies must train the same workload and have one batch size each; `default_batch_size` is that of a study that
/// declares none.
pub fn retuning(tuner: &TunedStudy<'_>, user: &TunedStudy<'_>, default_batch_size: Option<i64>) -> Option<Retuning> {
    let best = |h: &str| tuner.best.and_then(|best| best.get(h));
    let is_near_best = |h: &str, value: &Value| best(h).is_some_and(|best| is_near(value, best));
    changed(tuner, user, default_batch_size, &SENSITIVE, &|h, values| {
        !values.is_empty() && values.iter().all(|value| is_near_best(h, value))
    })
}

/// Returns the learning rate that `tuner` searched for and `user` does not, although it has another batch size: it has
/// one value there, or its default.
pub fn not_tuned_again(
    tuner: &TunedStudy<'_>,
    user: &TunedStudy<'_>,
    default_batch_size: Option<i64>,
) -> Option<Retuning> {
    changed(tuner, user, default_batch_size, &["lr", "learning_rate"], &|_, _| true)
}

/// Returns those of the hyperparameters that `tuner` searched for at one batch size, that `user` does not search for at
/// another one, and whose values in `user` are `wanted`.
fn changed(
    tuner: &TunedStudy<'_>,
    user: &TunedStudy<'_>,
    default_batch_size: Option<i64>,
    names: &[&str],
    wanted: &dyn Fn(&str, &[&Value]) -> bool,
) -> Option<Retuning> {
    let workload = |definition: &StudyDefinition| match &definition.workload {
        WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => vec![name.clone()],
        WorkloadReference::Command(line) => line.words.clone(),
        WorkloadReference::Imported { from } => vec![from.clone()],
    };
    if tuner.name == user.name || workload(tuner.definition) != workload(user.definition) {
        return None;
    }
    let tuned_at = batch_size(tuner.definition, default_batch_size)?;
    let used_at = batch_size(user.definition, default_batch_size)?;
    if tuned_at == used_at {
        return None;
    }
    let is_searched = |h: &str| tuner.definition.space.named(h).any(|declared| !declared.distribution.is_constant());
    let is_wanted = |h: &&&str| {
        let values: Option<Vec<&Value>> = user.definition.space.named(h).map(constant).collect();
        is_searched(h) && values.is_some_and(|values| wanted(h, &values))
    };
    let hyperparameters: Vec<String> = names.iter().filter(is_wanted).map(|h| h.to_string()).collect();
    (!hyperparameters.is_empty()).then(|| Retuning {
        tuned_in: tuner.name.into(),
        tuned_at,
        used_in: user.name.into(),
        used_at,
        hyperparameters,
    })
}

fn constant(h: &Hyperparameter) -> Option<&Value> {
    match &h.distribution {
        Distribution::Constant { value } => Some(value),
        _ => None,
    }
}

/// Whether a study varies the batch size and judges its trials by another metric than one of training, which compares
/// batch sizes unfairly unless learning rate and regularization are tuned for each (Playbook B14).
pub fn compares_batch_sizes_by_validation(definition: &StudyDefinition) -> bool {
    varies(definition, "batch_size") && !definition.objective.metric.starts_with("train")
}

/// Whether a hyperparameter has more than one value in a study: a range or a list, or another constant in another
/// branch.
pub(crate) fn varies(definition: &StudyDefinition, name: &str) -> bool {
    let mut declared = definition.space.named(name);
    let Some(first) = declared.next() else { return false };
    !first.distribution.is_constant() || declared.any(|other| other.distribution != first.distribution)
}

fn is_near(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= TAKEN_OVER * a.abs().max(b.abs()),
        _ => a == b,
    }
}

/// Returns the batch size of all trials of a study, or None if they do not share one.
fn batch_size(definition: &StudyDefinition, default: Option<i64>) -> Option<i64> {
    let mut declared = definition.space.named("batch_size");
    match (declared.next(), declared.next()) {
        (None, _) => default,
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
    use tunebook_study::{Direction, Objective, ObjectiveValue, Role, SearchSpace};

    fn definition(declared: &[(&str, Distribution)]) -> StudyDefinition {
        let mut space = SearchSpace::new();
        for (name, distribution) in declared {
            let (name, distribution) = (name.to_string(), distribution.clone());
            space.declare(Hyperparameter { name, role: Role::Nuisance, distribution, conditions: vec![] }).unwrap();
        }
        StudyDefinition::new(
            WorkloadReference::Builtin { name: "w".into() },
            space,
            Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }

    #[test]
    fn a_best_configuration_at_another_batch_size_is_to_be_tuned_again() {
        let constant = |value: f64| Distribution::constant(value.into());
        let size = |size: i64| ("batch_size", Distribution::constant(size.into()));
        let tuned = definition(&[("lr", Distribution::log_uniform(1e-4, 1.0).unwrap())]);
        let best: Params = [("lr".to_string(), 0.0213.into())].into();
        let tuner = TunedStudy { name: "a", definition: &tuned, best: Some(&best) };
        let found = |declared: &[(&str, Distribution)]| {
            let definition = definition(declared);
            retuning(&tuner, &TunedStudy { name: "b", definition: &definition, best: None }, Some(64))
        };
        let changed = found(&[size(512), ("lr", constant(0.021))]).unwrap();
        assert_eq!((changed.tuned_at, changed.used_at, changed.hyperparameters), (64, 512, vec!["lr".to_string()]));
        assert_eq!(found(&[size(64), ("lr", constant(0.021))]), None, "the batch size is the same");
        assert_eq!(found(&[size(512), ("lr", constant(0.1))]), None, "it has another value");
        let again = Distribution::log_uniform(1e-3, 1.0).unwrap();
        assert_eq!(found(&[size(512), ("lr", again)]), None, "it is tuned again");
        assert_eq!(found(&[size(512)]), None, "it keeps its default");
        let untuned = |declared: &[(&str, Distribution)]| {
            let definition = definition(declared);
            not_tuned_again(&tuner, &TunedStudy { name: "b", definition: &definition, best: None }, Some(64))
        };
        for declared in [vec![size(512)], vec![size(512), ("lr", constant(0.1))]] {
            assert_eq!(untuned(&declared).unwrap().hyperparameters, ["lr"], "{declared:?}");
        }
        assert_eq!(untuned(&[size(64), ("lr", constant(0.1))]), None);
        assert_eq!(untuned(&[size(512), ("lr", Distribution::log_uniform(1e-3, 1.0).unwrap())]), None);
    }

    #[test]
    fn a_varied_batch_size_is_unfair_unless_a_metric_of_training_judges() {
        let mut varied = definition(&[("batch_size", Distribution::choice(vec![16.into(), 64.into()]).unwrap())]);
        for (metric, is_unfair) in [("train/loss", false), ("train_loss", false), ("e", true), ("valid/error", true)] {
            varied.objective.metric = metric.into();
            assert_eq!(compares_batch_sizes_by_validation(&varied), is_unfair, "{metric}");
        }
        let mut fixed = definition(&[("batch_size", Distribution::constant(64.into()))]);
        fixed.objective.metric = "valid/error".into();
        assert!(!compares_batch_sizes_by_validation(&fixed));
    }
}
