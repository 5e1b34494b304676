//! What a change of the batch size invalidates (Playbook B13, B14).
//!
//! The best values of the optimizer's and the regularization's hyperparameters depend on the batch size. A study that
//! takes them over from a study at another batch size has to tune them again.

use crate::usual_names::{Kind, declared, kind, names};
use serde::Serialize;
use tunebook_study::{
    Distribution, Hyperparameter, Params, StudyDefinition, Value, WorkloadDescription, WorkloadReference,
};

/// Hyperparameters whose best values depend on the batch size, besides those of the optimizer and of the
/// regularization.
const ALSO_SENSITIVE: [&str; 5] = ["warmup_steps", "decay_steps", "clip_norm", "polyak_decay", "ghost_batch_size"];
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
    changed(tuner, user, default_batch_size, &is_sensitive, &|h, values| {
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
    changed(tuner, user, default_batch_size, &|h| kind(h) == Some(Kind::LearningRate), &|_, _| true)
}

/// Whether the best value of a hyperparameter depends much on the batch size.
fn is_sensitive(name: &str) -> bool {
    matches!(kind(name), Some(Kind::LearningRate | Kind::OfOptimizer(_) | Kind::Regularization))
        || ALSO_SENSITIVE.contains(&name)
}

/// Returns those of the `relevant` hyperparameters that `tuner` searched for at one batch size, that `user` does not
/// search for at another one, and whose values in `user` are `wanted`.
fn changed(
    tuner: &TunedStudy<'_>,
    user: &TunedStudy<'_>,
    default_batch_size: Option<i64>,
    relevant: &dyn Fn(&str) -> bool,
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
    let is_wanted = |h: &&str| {
        let values: Option<Vec<&Value>> = user.definition.space.named(h).map(constant).collect();
        is_searched(h) && values.is_some_and(|values| wanted(h, &values))
    };
    let all = names(&tuner.definition.space, relevant);
    let hyperparameters: Vec<String> = all.into_iter().filter(is_wanted).map(String::from).collect();
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
/// batch sizes unfairly unless learning rate and regularization are tuned for each (Playbook B14). `description` is
/// that of the workload, None for a program.
pub fn compares_batch_sizes_by_validation(
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
) -> bool {
    let names = declared(&definition.space, Kind::BatchSize);
    !definition.objective.metric.starts_with("train") && names.iter().any(|name| varies(definition, description, name))
}

/// Whether a hyperparameter has more than one value in a study: a range or a list, or a constant in one branch and
/// another constant or the default in another branch. The default of a program is not known, and taken to be another.
pub(crate) fn varies(definition: &StudyDefinition, description: Option<&WorkloadDescription>, name: &str) -> bool {
    let mut declared = definition.space.named(name);
    let Some(first) = declared.next() else { return false };
    let Some(value) = only_value(first) else { return true };
    let is_other = |other: &Hyperparameter| only_value(other).is_none_or(|other| !other.same_as(value));
    let is_default = || {
        let known = description.and_then(|description| description.hyperparameter(name));
        known.is_some_and(|known| known.default.same_as(value))
    };
    declared.any(is_other) || (definition.space.lacking(name).is_some() && !is_default())
}

/// The value of a hyperparameter that has one value. None if it has a range or more values.
fn only_value(h: &Hyperparameter) -> Option<&Value> {
    match &h.distribution {
        Distribution::Constant { value } => Some(value),
        Distribution::Choice { values } => values.first().filter(|_| values.len() == 1),
        _ => None,
    }
}

fn is_near(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= TAKEN_OVER * a.abs().max(b.abs()),
        _ => a == b,
    }
}

/// Returns the batch size of all trials of a study, or None if they do not share one, or if it is not known.
fn batch_size(definition: &StudyDefinition, default: Option<i64>) -> Option<i64> {
    let space = &definition.space;
    let name = match declared(space, Kind::BatchSize).as_slice() {
        [] => return default,
        [name] => *name,
        _ => return None,
    };
    let sizes: Option<Vec<i64>> = space.named(name).map(|h| only_value(h)?.as_i64()).collect();
    let mut sizes = sizes?;
    if space.lacking(name).is_some() {
        sizes.push(default?);
    }
    let first = sizes.first().copied()?;
    sizes.iter().all(|size| *size == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{
        Condition, Direction, Objective, ObjectiveValue, ProgramLine, Role, SearchSpace, WorkloadHyperparameter,
    };

    fn definition(declared: &[(&str, Distribution)]) -> StudyDefinition {
        let declared: Vec<Declared<'_>> = declared.iter().map(|(name, values)| (*name, values.clone(), None)).collect();
        in_branches(&declared)
    }

    /// A name with its values, and the number of layers for which they count.
    type Declared<'a> = (&'a str, Distribution, Option<i64>);

    fn in_branches(declared: &[Declared<'_>]) -> StudyDefinition {
        let mut space = SearchSpace::new();
        for (name, distribution, layers) in declared {
            let condition = |layers: &i64| Condition { name: "layers".into(), values: vec![(*layers).into()] };
            let conditions = layers.iter().map(condition).collect();
            let (name, distribution) = (name.to_string(), distribution.clone());
            space.declare(Hyperparameter { name, role: Role::Nuisance, distribution, conditions }).unwrap();
        }
        StudyDefinition::new(
            WorkloadReference::Builtin { name: "w".into() },
            space,
            Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }

    /// A workload with these whole numbers and their defaults.
    fn description(defaults: &[(&str, i64)]) -> WorkloadDescription {
        let whole = |(name, default): &(&str, i64)| WorkloadHyperparameter::whole(name, 1..=100_000, *default);
        WorkloadDescription {
            name: "w".into(),
            kind: "builtin".into(),
            doc: String::new(),
            hyperparameters: defaults.iter().map(whole).collect(),
            metrics: vec!["e".into()],
            objective: definition(&[]).objective,
            chance: None,
        }
    }

    fn list(values: &[i64]) -> Distribution {
        Distribution::choice(values.iter().map(|x| Value::Int(*x)).collect()).unwrap()
    }

    fn constant(value: i64) -> Distribution {
        Distribution::constant(value.into())
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
    fn what_a_program_tuned_is_known_by_the_usual_names() {
        let program = |declared: &[(&str, Distribution)]| {
            let words = ["python3", "t.py"].map(String::from).to_vec();
            let line = ProgramLine { words, optional: vec![] };
            StudyDefinition { workload: WorkloadReference::Command(line), ..definition(declared) }
        };
        let rates = || Distribution::log_uniform(1e-4, 1.0).unwrap();
        let tuned = program(&[("learning-rate", rates()), ("wd", rates()), ("batch-size", constant(64))]);
        let value = |x: f64| Distribution::constant(x.into());
        let best: Params = [("learning-rate".to_string(), 0.1.into()), ("wd".to_string(), 0.01.into())].into();
        let tuner = TunedStudy { name: "a", definition: &tuned, best: Some(&best) };
        let large = program(&[("learning-rate", value(0.1)), ("wd", value(0.01)), ("batch-size", constant(512))]);
        let user = TunedStudy { name: "b", definition: &large, best: None };
        let found = retuning(&tuner, &user, None).unwrap();
        assert_eq!((found.tuned_at, found.used_at), (64, 512));
        assert_eq!(found.hyperparameters, ["learning-rate", "wd"]);
        assert_eq!(not_tuned_again(&tuner, &user, None).unwrap().hyperparameters, ["learning-rate"]);
        let same = program(&[("learning-rate", value(0.1)), ("wd", value(0.01)), ("batch-size", constant(64))]);
        assert_eq!(retuning(&tuner, &TunedStudy { name: "b", definition: &same, best: None }, None), None);
    }

    #[test]
    fn the_batch_size_of_one_branch_is_not_that_of_all_trials() {
        let of = |declared: &[Declared<'_>], default| batch_size(&in_branches(declared), default);
        let layers = || ("layers", list(&[2, 3]), None);
        assert_eq!(of(&[layers(), ("batch_size", constant(512), Some(3))], Some(64)), None);
        assert_eq!(of(&[layers(), ("batch_size", constant(512), Some(3))], None), None, "the default is not known");
        assert_eq!(of(&[layers(), ("batch_size", constant(64), Some(3))], Some(64)), Some(64));
        let both = |other| [layers(), ("batch_size", constant(512), Some(2)), ("batch_size", constant(other), Some(3))];
        assert_eq!(of(&both(512), Some(64)), Some(512));
        assert_eq!(of(&both(256), Some(64)), None);
        assert_eq!(of(&[("bs", constant(32), None)], None), Some(32));
        assert_eq!(of(&[("bs", constant(32), None), ("global_batch_size", constant(64), None)], None), None);
        assert_eq!(of(&[], Some(64)), Some(64));
    }

    #[test]
    fn a_constant_of_one_branch_varies_unless_it_is_the_default_of_the_others() {
        let in_one = |steps: i64| in_branches(&[("layers", list(&[2, 3]), None), ("steps", constant(steps), Some(3))]);
        let known = description(&[("steps", 1000)]);
        assert!(varies(&in_one(4000), Some(&known), "steps"));
        assert!(!varies(&in_one(1000), Some(&known), "steps"));
        assert!(varies(&in_one(1000), None, "steps"), "the default of a program is not known");
        let of_all = |distribution: Distribution| definition(&[("steps", distribution)]);
        assert!(!varies(&of_all(constant(4000)), Some(&known), "steps"), "there is no branch without it");
        assert!(!varies(&of_all(list(&[4000])), None, "steps"), "a list of one value");
        assert!(varies(&of_all(list(&[1000, 4000])), None, "steps"));
        assert!(!varies(&of_all(list(&[1, 2])), None, "epochs"), "it is not declared");
    }

    #[test]
    fn a_varied_batch_size_is_unfair_unless_a_metric_of_training_judges() {
        let is_unfair = |definition: &StudyDefinition, metric: &str| {
            let mut judged = definition.clone();
            judged.objective.metric = metric.into();
            compares_batch_sizes_by_validation(&judged, Some(&description(&[("batch_size", 64)])))
        };
        let varied = definition(&[("batch_size", list(&[16, 64]))]);
        for (metric, expected) in [("train/loss", false), ("train_loss", false), ("e", true), ("valid/error", true)] {
            assert_eq!(is_unfair(&varied, metric), expected, "{metric}");
        }
        assert!(is_unfair(&definition(&[("batch-size", list(&[16, 64]))]), "e"), "as a program writes it");
        assert!(!is_unfair(&definition(&[("batch_size", constant(64))]), "valid/error"));
        assert!(!is_unfair(&definition(&[("eval_batch_size", list(&[16, 64]))]), "valid/error"));
        let in_one = |size| in_branches(&[("layers", list(&[2, 3]), None), ("batch_size", constant(size), Some(3))]);
        assert!(is_unfair(&in_one(256), "valid/error"));
        assert!(!is_unfair(&in_one(64), "valid/error"), "64 is the default");
    }
}
