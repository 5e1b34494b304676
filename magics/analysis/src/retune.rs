//! What a change of the batch size invalidates (Playbook B13, B14).
//!
//! The best values of the optimizer's and the regularization's hyperparameters depend on the batch size. A study that
//! takes them over from a study at another batch size has to tune them again.

use crate::program::{is_same_project, may_vary, space_with_literals};
use crate::usual_names::{Kind, declared, is_same_name, kind, names};
use serde::{Serialize, Serializer};
use tunebook_study::{Distribution, Hyperparameter, Params, SearchSpace, StudyDefinition, Value, WorkloadDescription};

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

/// Hyperparameters that one study tuned and another study uses at another batch size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retuning {
    /// The name of the study that tuned them.
    pub tuned_in: String,
    /// The batch sizes of that study, from the smallest one. In JSON a number if there is one.
    #[serde(serialize_with = "one_or_list")]
    pub tuned_at: Vec<i64>,
    /// The name of the study that uses the tuned values.
    pub used_in: String,
    /// The batch size of that study.
    pub used_at: i64,
    /// The names of the hyperparameters that were taken over and have to be tuned again.
    pub hyperparameters: Vec<String>,
}

impl Retuning {
    /// The batch sizes at which they were tuned: "a batch size of 16", or "batch sizes of 16 and 32".
    pub fn tuned_sizes(&self) -> String {
        let mut sizes: Vec<String> = self.tuned_at.iter().map(i64::to_string).collect();
        match sizes.pop() {
            Some(last) if !sizes.is_empty() => format!("batch sizes of {} and {last}", sizes.join(", ")),
            last => format!("a batch size of {}", last.unwrap_or_default()),
        }
    }
}

fn one_or_list<S: Serializer>(sizes: &[i64], serializer: S) -> Result<S::Ok, S::Error> {
    match sizes {
        [size] => size.serialize(serializer),
        sizes => sizes.serialize(serializer),
    }
}

/// Returns what `user` takes over from `tuner` at another batch size, or None if there is nothing to tune again.
///
/// A hyperparameter is taken over if `tuner` searched for it and `user` fixes it to within 5 % of the best value. Both
/// studies must train the same workload, or the same program with any options. The one batch size of `user` must be
/// none of those of `tuner`; `default_batch_size` is that of a study that declares none. What a command fixes counts as
/// declared.
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

/// Returns those of the `relevant` hyperparameters that `tuner` searched for at some batch sizes, that `user` does not
/// search for at another one, and whose values in `user` are `wanted`.
fn changed(
    tuner: &TunedStudy<'_>,
    user: &TunedStudy<'_>,
    default_batch_size: Option<i64>,
    relevant: &dyn Fn(&str) -> bool,
    wanted: &dyn Fn(&str, &[&Value]) -> bool,
) -> Option<Retuning> {
    let workload = &user.definition.workload;
    if tuner.name == user.name || !is_same_project(&tuner.definition.workload, workload) {
        return None;
    }
    let (tuned_in, used_in) = (space_with_literals(tuner.definition), space_with_literals(user.definition));
    let tuned_at = batch_sizes(&tuned_in, default_batch_size)?;
    let [used_at] = batch_sizes(&used_in, default_batch_size)?[..] else { return None };
    if tuned_at.contains(&used_at) {
        return None;
    }
    let is_searched = |h: &str| tuned_in.named(h).any(|declared| declared.distribution.varies());
    let searches_rate = || {
        let mut all = used_in.hyperparameters().iter();
        all.any(|h| kind(&h.name) == Some(Kind::LearningRate) && h.distribution.varies())
    };
    // A program may have another name for it: `--lr {rate}`, or `--learning-rate {rate}`.
    let may_be_searched = |h: &str| may_vary(workload, h) || (kind(h) == Some(Kind::LearningRate) && searches_rate());
    let is_wanted = |h: &&str| {
        let named = used_in.hyperparameters().iter().filter(|other| is_same_name(&other.name, h));
        let values: Option<Vec<&Value>> = named.map(|other| other.distribution.only_value()).collect();
        let is_user = |values: Vec<&Value>| (!values.is_empty() || !may_be_searched(h)) && wanted(h, &values);
        is_searched(h) && values.is_some_and(is_user)
    };
    let all = names(&tuned_in, relevant);
    let hyperparameters: Vec<String> = all.into_iter().filter(is_wanted).map(String::from).collect();
    (!hyperparameters.is_empty()).then(|| Retuning {
        tuned_in: tuner.name.into(),
        tuned_at,
        used_in: user.name.into(),
        used_at,
        hyperparameters,
    })
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
    let Some(value) = first.distribution.only_value() else { return true };
    let is_other = |other: &Hyperparameter| other.distribution.only_value().is_none_or(|other| !other.same_as(value));
    let is_default = || {
        let known = description.and_then(|description| description.hyperparameter(name));
        known.is_some_and(|known| known.default.same_as(value))
    };
    declared.any(is_other) || (definition.space.lacking(name).is_some() && !is_default())
}

fn is_near(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= TAKEN_OVER * a.abs().max(b.abs()),
        _ => a == b,
    }
}

/// Returns the batch sizes of the trials of a study, each once and from the smallest one. None if they are not known,
/// or lie in a range.
fn batch_sizes(space: &SearchSpace, default: Option<i64>) -> Option<Vec<i64>> {
    let name = match declared(space, Kind::BatchSize).as_slice() {
        [] => return Some(vec![default?]),
        [name] => *name,
        _ => return None,
    };
    let mut sizes = vec![];
    for h in space.named(name) {
        let values = match &h.distribution {
            Distribution::Constant { value } => std::slice::from_ref(value),
            Distribution::Choice { values } => values.as_slice(),
            _ => return None,
        };
        for value in values {
            sizes.push(value.as_i64()?);
        }
    }
    if space.lacking(name).is_some() {
        sizes.push(default?);
    }
    sizes.sort_unstable();
    sizes.dedup();
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{
        Condition, Direction, Objective, ObjectiveValue, ProgramLine, Role, WorkloadHyperparameter, WorkloadReference,
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
        assert_eq!((changed.tuned_at, changed.used_at), (vec![64], 512));
        assert_eq!(changed.hyperparameters, ["lr"]);
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
        assert_eq!((found.tuned_at, found.used_at), (vec![64], 512));
        assert_eq!(found.hyperparameters, ["learning-rate", "wd"]);
        assert_eq!(not_tuned_again(&tuner, &user, None).unwrap().hyperparameters, ["learning-rate"]);
        let same = program(&[("learning-rate", value(0.1)), ("wd", value(0.01)), ("batch-size", constant(64))]);
        assert_eq!(retuning(&tuner, &TunedStudy { name: "b", definition: &same, best: None }, None), None);
    }

    #[test]
    fn what_the_command_of_a_program_fixes_counts_as_declared() {
        let program = |line: &str, declared: &[(&str, Distribution)]| {
            let words = line.split(' ').map(String::from).collect();
            let line = ProgramLine { words, optional: vec![] };
            StudyDefinition { workload: WorkloadReference::Command(line), ..definition(declared) }
        };
        let rates = || Distribution::log_uniform(1e-4, 1.0).unwrap();
        let best: Params = [("lr".to_string(), 0.01.into())].into();
        let tuned = program("python3 t.py --batch-size=16 --lr={lr} --v", &[("lr", rates())]);
        let tuner = TunedStudy { name: "v1", definition: &tuned, best: Some(&best) };
        // What is taken over, and whether the learning rate is not tuned again.
        let found = |line: &str, declared: &[(&str, Distribution)]| {
            let definition = program(line, declared);
            let user = TunedStudy { name: "v2", definition: &definition, best: None };
            let not_again = not_tuned_again(&tuner, &user, None);
            if let Some(found) = &not_again {
                assert_eq!((&found.tuned_at, &found.hyperparameters), (&vec![16], &vec!["lr".to_string()]));
            }
            (retuning(&tuner, &user, None).is_some(), not_again.map(|found| found.used_at))
        };
        let fixed = |x: f64| ("lr", Distribution::constant(x.into()));
        assert_eq!(found("python3 t.py --batch-size=512 --lr={lr} --v", &[fixed(0.01)]), (true, Some(512)));
        assert_eq!(found("python3 t.py --bs 512 --optim sgd --lr {lr}", &[fixed(0.1)]), (false, Some(512)));
        assert_eq!(found("python3 t.py batch_size=512 optimizer.lr=1e-2", &[]), (true, Some(512)));
        assert_eq!(found("python3 t.py --lr 0.01 --batch-size {bs}", &[("bs", constant(64))]), (true, Some(64)));
        assert_eq!(found("python3 t.py --batch-size 512 --config big.yaml", &[]), (false, Some(512)), "its default");
        for (line, declared) in [
            ("python3 t.py --batch-size=16 --lr={lr} --amp", vec![fixed(0.01)]),
            ("python3 t.py --batch-size=512 --lr={lr}", vec![("lr", rates())]),
            ("python3 t.py --batch-size=512 --lr {rate}", vec![("rate", rates())]),
            ("python3 t.py --batch-size=512 --rate {peak_lr}", vec![("peak_lr", rates())]),
            ("python3 t.py --batch-size=512 --lr {lr}", vec![fixed(0.01), ("batch_size", constant(16))]),
            ("python3 t.py --batch-size 16 --batch-size {n} --lr {lr}", vec![fixed(0.01), ("n", constant(512))]),
            ("python3 t.py --batch-size auto --lr {lr}", vec![fixed(0.01)]),
            ("python3 t.py --lr {lr} --batch-size", vec![fixed(0.01)]),
            ("python3 other.py --batch-size=512 --lr={lr}", vec![fixed(0.01)]),
        ] {
            assert_eq!(found(line, &declared), (false, None), "{line}");
        }
    }

    #[test]
    fn a_study_tuned_at_each_batch_size_that_it_varied() {
        let rates = || Distribution::log_uniform(1e-4, 1.0).unwrap();
        let tuned = definition(&[("batch-size", list(&[32, 16])), ("lr", rates())]);
        let best: Params = [("batch-size".to_string(), 16.into()), ("lr".to_string(), 0.01.into())].into();
        let tuner = TunedStudy { name: "w1", definition: &tuned, best: Some(&best) };
        let found = |size: Distribution| {
            let definition = definition(&[("batch-size", size), ("lr", Distribution::constant(0.01.into()))]);
            let user = TunedStudy { name: "w2", definition: &definition, best: None };
            let found = retuning(&tuner, &user, Some(64));
            assert_eq!(found, not_tuned_again(&tuner, &user, Some(64)));
            found
        };
        let large = found(constant(512)).unwrap();
        assert_eq!((large.tuned_at.as_slice(), large.used_at), (&[16, 32][..], 512));
        assert_eq!(large.tuned_sizes(), "batch sizes of 16 and 32");
        assert_eq!(serde_json::to_value(&large).unwrap()["tuned_at"], serde_json::json!([16, 32]));
        let one = Retuning { tuned_at: vec![16], ..large.clone() };
        assert_eq!(one.tuned_sizes(), "a batch size of 16");
        assert_eq!(serde_json::to_value(&one).unwrap()["tuned_at"], 16);
        let three = Retuning { tuned_at: vec![16, 32, 64], ..large };
        assert_eq!(three.tuned_sizes(), "batch sizes of 16, 32 and 64");
        for size in [16, 32] {
            assert_eq!(found(constant(size)), None, "{size} is one of them");
        }
        assert_eq!(found(list(&[512, 1024])), None, "the study has several");
    }

    #[test]
    fn the_batch_size_of_one_branch_is_not_that_of_all_trials() {
        let of = |declared: &[Declared<'_>], default| batch_sizes(&in_branches(declared).space, default);
        let layers = || ("layers", list(&[2, 3]), None);
        assert_eq!(of(&[layers(), ("batch_size", constant(512), Some(3))], Some(64)), Some(vec![64, 512]));
        assert_eq!(of(&[layers(), ("batch_size", constant(512), Some(3))], None), None, "the default is not known");
        assert_eq!(of(&[layers(), ("batch_size", constant(64), Some(3))], Some(64)), Some(vec![64]));
        let both = |other| [layers(), ("batch_size", constant(512), Some(2)), ("batch_size", constant(other), Some(3))];
        assert_eq!(of(&both(512), Some(64)), Some(vec![512]));
        assert_eq!(of(&both(256), Some(64)), Some(vec![256, 512]));
        assert_eq!(of(&[("bs", constant(32), None)], None), Some(vec![32]));
        assert_eq!(of(&[("bs", list(&[64, 32]), None)], None), Some(vec![32, 64]));
        assert_eq!(of(&[("bs", Distribution::int(16, 64).unwrap(), None)], None), None, "a range");
        assert_eq!(of(&[("bs", constant(32), None), ("global_batch_size", constant(64), None)], None), None);
        assert_eq!(of(&[], Some(64)), Some(vec![64]));
        assert_eq!(of(&[], None), None);
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
