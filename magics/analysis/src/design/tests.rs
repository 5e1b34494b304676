use super::*;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Condition, Direction, Distribution, Objective, ObjectiveValue, ProgramLine, SearchSpace, Value,
    WorkloadDescription, WorkloadHyperparameter, WorkloadReference,
};

/// A declaration, with the optimizers for which it counts.
type Declared = (Role, &'static str, Distribution, Option<&'static str>);

fn study(declared: &[Declared]) -> StudyDefinition {
    let mut space = SearchSpace::new();
    for (role, name, distribution, optimizer) in declared {
        let condition = |words: &&str| {
            let values = words.split(' ').map(Value::from).collect();
            Condition { name: "optimizer".into(), values }
        };
        let conditions = optimizer.iter().map(condition).collect();
        let (role, distribution) = (*role, distribution.clone());
        space.declare(Hyperparameter { name: name.to_string(), role, distribution, conditions }).unwrap();
    }
    StudyDefinition {
        seed: 3,
        ..StudyDefinition::new(
            WorkloadReference::Builtin { name: "w".into() },
            space,
            Objective { metric: "valid/error".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }
}

fn description() -> WorkloadDescription {
    let real = |name: &str, default: f64| WorkloadHyperparameter::real(name, 0.0..=f64::INFINITY, default);
    let hyperparameters = vec![
        WorkloadHyperparameter::choice("optimizer", &["nesterov", "adam"]),
        real("lr", 0.1),
        real("momentum", 0.9),
        real("beta1", 0.9),
        real("beta2", 0.999),
        real("epsilon", 1e-8),
        real("dropout", 0.0),
        WorkloadHyperparameter::choice("schedule", &["constant", "cosine"]),
        WorkloadHyperparameter::whole("batch_size", 1..=1000, 64),
        WorkloadHyperparameter::whole("steps", 1..=1000, 64),
        WorkloadHyperparameter::whole("layers", 1..=9, 2).shapes(),
    ];
    WorkloadDescription {
        name: "w".into(),
        kind: "builtin".into(),
        doc: String::new(),
        hyperparameters,
        metrics: vec!["valid/error".into()],
        objective: study(&[]).objective,
        chance: None,
    }
}

fn list(values: &[i64]) -> Distribution {
    Distribution::choice(values.iter().map(|x| Value::Int(*x)).collect()).unwrap()
}

fn words(values: &[&str]) -> Distribution {
    Distribution::choice(values.iter().map(|word| Value::from(*word)).collect()).unwrap()
}

fn log() -> Distribution {
    Distribution::log_uniform(1e-4, 1.0).unwrap()
}

fn found(definition: &StudyDefinition, configurations: u32, is_first: bool) -> Vec<&'static str> {
    let design = design(definition, configurations);
    let stage = if is_first { Stage::First } else { Stage::Exploring };
    let found = lints(definition, &design, Some(&description()), stage);
    for lint in &found {
        assert!(LINTS.contains(&lint.id), "{lint:?}");
        assert!(!lint.message.is_empty() && lint.playbook.contains(' '), "{lint:?}");
    }
    found.into_iter().map(|lint| lint.id).collect()
}

/// A study that follows the advice: one scientific list, the optimizer's hyperparameters in a role.
fn sound() -> Vec<Declared> {
    vec![
        (Role::Scientific, "layers", list(&[1, 2, 3]), None),
        (Role::Nuisance, "lr", log(), None),
        (Role::Nuisance, "momentum", Distribution::one_minus_log_uniform(1e-3, 1.0).unwrap(), None),
        (Role::Fixed, "steps", Distribution::constant(100.into()), None),
    ]
}

fn with(role: Role, name: &'static str, distribution: Distribution) -> StudyDefinition {
    let mut declared: Vec<Declared> = sound().into_iter().filter(|(_, other, ..)| *other != name).collect();
    declared.push((role, name, distribution, None));
    study(&declared)
}

#[test]
fn a_sound_study_has_no_lint() {
    assert_eq!(found(&study(&sound()), 30, true), Vec::<&str>::new());
}

#[test]
fn each_lint_is_found_where_it_applies_and_only_there() {
    let zero = || Distribution::constant(0.0.into());
    let tenth = || Distribution::constant(0.1.into());
    let cases = [
        (with(Role::Nuisance, "batch_size", list(&[16, 64])), false, "batch-size-tuned"),
        (with(Role::Nuisance, "steps", list(&[100, 200])), false, "steps-tuned"),
        (with(Role::Fixed, "optimizer", Distribution::constant("adam".into())), false, LINT_A3),
        (with(Role::Scientific, "dropout", Distribution::uniform(0.0, 0.5).unwrap()), false, "several-scientific"),
        (with(Role::Nuisance, "layers", list(&[1, 2, 3])), false, "architecture-nuisance"),
        (with(Role::Fixed, "dropout", tenth()), false, "fixed-interacts"),
        (with(Role::Fixed, "lr", tenth()), false, "fixed-interacts"),
        (with(Role::Fixed, "dropout", tenth()), true, "first-baseline"),
        (with(Role::Fixed, "schedule", Distribution::constant("cosine".into())), true, "first-baseline"),
    ];
    for (definition, is_first, id) in cases {
        let found = found(&definition, 60, is_first);
        assert!(found.contains(&id), "{id}: {found:?}");
    }
    // The same hyperparameters where nothing speaks against them.
    assert!(found(&with(Role::Fixed, "dropout", zero()), 60, true).is_empty());
    assert!(found(&with(Role::Fixed, "schedule", Distribution::constant("constant".into())), 60, true).is_empty());
    assert!(found(&with(Role::Fixed, "batch_size", Distribution::constant(64.into())), 60, true).is_empty());
    assert!(!found(&with(Role::Fixed, "dropout", tenth()), 60, false).contains(&"first-baseline"));
    let by_training = |mut definition: StudyDefinition| {
        definition.objective.metric = "train/loss".into();
        definition
    };
    assert!(found(&by_training(with(Role::Nuisance, "batch_size", list(&[16, 64]))), 60, false).is_empty());
}

#[test]
fn after_the_first_baseline_a_constant_learning_rate_is_a_lint() {
    let of = |definition: &StudyDefinition, stage| -> Vec<&'static str> {
        let found = lints(definition, &design(definition, 60), Some(&description()), stage);
        found.into_iter().map(|lint| lint.id).collect()
    };
    assert_eq!(of(&study(&sound()), Stage::AfterBaseline), ["constant-schedule"]);
    assert!(of(&study(&sound()), Stage::Exploring).is_empty());
    let both = with(Role::Scientific, "schedule", words(&["constant", "cosine"]));
    assert!(!of(&both, Stage::AfterBaseline).contains(&"constant-schedule"), "a decay is tried");
}

#[test]
fn a_hyperparameter_that_two_optimizers_share_is_a_lint() {
    let shared = |optimizer: Option<&'static str>, words: Distribution| {
        found(
            &study(&[
                (Role::Scientific, "optimizer", words, None),
                (Role::Nuisance, "lr", log(), optimizer),
                (Role::Nuisance, "momentum", log(), Some("nesterov")),
            ]),
            40,
            false,
        )
    };
    let id = "shared-optimizer-hyperparameter";
    assert!(shared(None, words(&["nesterov", "adam"])).contains(&id));
    assert!(!shared(Some("adam"), words(&["nesterov", "adam"])).contains(&id));
    assert!(!shared(None, words(&["nesterov"])).contains(&id));
    let three = || words(&["nesterov", "adam", "adamw"]);
    assert!(shared(Some("adam adamw"), three()).contains(&id), "one condition, but two optimizers");
    assert!(!shared(Some("adamw"), three()).contains(&id));
}

#[test]
fn few_evaluations_are_a_lint_where_the_best_of_them_judges() {
    let mut known = description();
    known.hyperparameters.push(WorkloadHyperparameter::whole("eval_every", 1..=1000, 100));
    let of = |definition: &StudyDefinition| -> bool {
        let found = lints(definition, &design(definition, 60), Some(&known), Stage::Exploring);
        found.iter().any(|lint| lint.id == "few-evaluations")
    };
    let steps = |steps: i64| with(Role::Fixed, "steps", Distribution::constant(steps.into()));
    assert!(of(&steps(400)) && !of(&steps(401)), "401 steps have five evaluations, the last step included");
    let mut last = steps(400);
    last.objective.judged = ObjectiveValue::Final;
    assert!(!of(&last));
    let range = with(Role::Nuisance, "eval_every", Distribution::int(1, 50).unwrap());
    assert!(!of(&range), "a range is not its default");
    assert!(!found(&steps(400), 60, false).contains(&"few-evaluations"), "how often it evaluates is not known");
}

#[test]
fn a_batch_beyond_the_fastest_one_is_a_lint_if_the_difference_is_measured() {
    use crate::throughput::{PointState, Throughput, ThroughputPoint};
    let point = |batch_size: u64, rate: f64| ThroughputPoint {
        batch_size,
        state: PointState::Ok,
        examples_per_second: Some(rate),
        interval: Some([0.97 * rate, 1.03 * rate]),
        seconds_per_step: None,
        peak_memory_bytes: None,
        gain: None,
        gain_interval: None,
    };
    let measured = |large: f64| Throughput {
        points: vec![point(64, 500.0), point(128, 1000.0), point(256, large)],
        ..Default::default()
    };
    let of = |size: i64, large: f64, limit: Option<u64>| {
        let definition = with(Role::Fixed, "batch_size", Distribution::constant(size.into()));
        batch_size_too_large(&definition, Some(&description()), &measured(large), limit).map(|lint| lint.message)
    };
    assert!(of(256, 800.0, None).unwrap().contains("1000 examples/s at batch size 128 and 800 at 256"));
    assert_eq!(of(256, 990.0, None), None, "within the noise");
    assert_eq!(of(128, 800.0, None), None);
    assert_eq!(of(512, 800.0, None), None, "was not measured, and memory does not limit it");
    let too_large = of(512, 800.0, Some(256)).unwrap();
    assert!(too_large.contains("256 is the largest") && too_large.contains("run out of memory"), "{too_large}");
    let range = with(Role::Nuisance, "batch_size", Distribution::int(16, 32).unwrap());
    assert_eq!(batch_size_too_large(&range, Some(&description()), &measured(800.0), Some(48)), None, "not the default");
    let default = study(&sound());
    assert_eq!(batch_size_too_large(&default, Some(&description()), &measured(800.0), None), None, "the default is 64");
    assert!(batch_size_too_large(&default, Some(&description()), &measured(800.0), Some(32)).is_some());
}

const LINT_A3: &str = "optimizer-hyperparameter-without-role";

#[test]
fn the_hyperparameters_of_an_optimizer_are_looked_for_in_its_branch() {
    let both = |beta1: &'static str| {
        study(&[
            (Role::Scientific, "optimizer", words(&["nesterov", "adam"]), None),
            (Role::Nuisance, "lr", log(), Some("nesterov")),
            (Role::Nuisance, "momentum", log(), Some("nesterov")),
            (Role::Nuisance, "lr", log(), Some("adam")),
            (Role::Fixed, "beta2", Distribution::constant(0.999.into()), Some("adam")),
            (Role::Fixed, "epsilon", Distribution::constant(1e-8.into()), Some("adam")),
            (Role::Fixed, "beta1", Distribution::constant(0.9.into()), Some(beta1)),
        ])
    };
    assert!(found(&both("adam"), 40, false).is_empty());
    assert_eq!(found(&both("nesterov"), 40, false), [LINT_A3]);
    let design = design(&both("adam"), 40);
    assert_eq!((design.scientific_values, design.configurations_per_value), (Some(2), Some([20, 20])));
    let covered = design.sparsest.unwrap();
    assert_eq!((covered.value.as_deref(), covered.dimensions), (Some("optimizer=nesterov"), 2), "momentum is its own");
    assert!(covered.dimensions_differ && covered.configurations == 20);
}

#[test]
fn steps_that_differ_between_branches_and_an_adaptive_sampler_of_scientific_values_are_lints() {
    let steps = |adam: i64| {
        study(&[
            (Role::Scientific, "optimizer", words(&["nesterov", "adam"]), None),
            (Role::Fixed, "num_epochs", Distribution::constant(10.into()), Some("nesterov")),
            (Role::Fixed, "num_epochs", Distribution::constant(adam.into()), Some("adam")),
        ])
    };
    assert!(found(&steps(20), 9, false).contains(&"steps-tuned"));
    assert!(!found(&steps(10), 9, false).contains(&"steps-tuned"));
    let bayes = |declared: &[Declared]| StudyDefinition { sampler: SamplerKind::Bayes, ..study(declared) };
    assert!(found(&bayes(&sound()), 30, false).contains(&"adaptive-scientific"));
    assert!(!found(&bayes(&sound()[1..]), 30, false).contains(&"adaptive-scientific"));
}

#[test]
fn a_grid_of_three_dimensions_and_a_sparse_design_are_found() {
    let three = study(&[
        (Role::Nuisance, "lr", list(&[1, 2]), None),
        (Role::Nuisance, "momentum", list(&[1, 2]), None),
        (Role::Nuisance, "dropout", list(&[1, 2]), None),
    ]);
    let three = StudyDefinition { sampler: SamplerKind::Grid, ..three };
    assert!(found(&three, 8, false).contains(&"grid-dimensions"));
    assert!(!found(&StudyDefinition { sampler: SamplerKind::Random, ..three }, 8, false).contains(&"grid-dimensions"));
    // Three lists, of which a configuration has two; and a list of one value is no dimension.
    let two = study(&[
        (Role::Scientific, "optimizer", words(&["nesterov", "adam"]), None),
        (Role::Nuisance, "lr", list(&[1, 2]), Some("nesterov")),
        (Role::Nuisance, "lr", list(&[1, 2]), Some("adam")),
        (Role::Nuisance, "dropout", list(&[1]), None),
    ]);
    assert!(!found(&StudyDefinition { sampler: SamplerKind::Grid, ..two }, 4, false).contains(&"grid-dimensions"));
    // Three layers and two nuisance dimensions: 9 configurations are 3 for each value, which is 1.7 along a dimension.
    let design = design(&study(&sound()), 9);
    assert_eq!((design.scientific_values, design.configurations_per_value), (Some(3), Some([3, 3])));
    assert!((design.sparsest.as_ref().unwrap().points - 3f64.sqrt()).abs() < 1e-12);
    assert_eq!(found(&study(&sound()), 9, false), ["sparse-design"]);
    let enough = lints(&study(&sound()), &design, None, Stage::Exploring).pop().unwrap();
    assert!(enough.message.contains("at least 12 configurations"), "{}", enough.message);
    assert_eq!(found(&study(&sound()), 12, false), Vec::<&str>::new());
}

#[test]
fn each_scientific_value_is_judged_by_its_own_configurations_and_dimensions() {
    let beta = || Distribution::one_minus_log_uniform(1e-3, 1.0).unwrap();
    let models = nested(&[
        (Role::Scientific, "model", words(&["a", "b", "c"]), &[]),
        (Role::Nuisance, "lr", log(), &[]),
        (Role::Nuisance, "opt", words(&["adam", "sgd"]), &[("model", "a")]),
        (Role::Nuisance, "beta", beta(), &[("model", "a"), ("opt", "adam")]),
        (Role::Nuisance, "beta", Distribution::uniform(0.0, 1.0).unwrap(), &[("model", "a"), ("opt", "sgd")]),
        (Role::Scientific, "opt", words(&["adam", "lion"]), &[("model", "b")]),
        (Role::Nuisance, "beta", log(), &[("model", "b"), ("opt", "lion")]),
    ]);
    let sparse = message_at;
    assert_eq!(sparse(&models, 32), None, "b with lion has two dimensions, and a has more configurations");
    let few = sparse(&models, 18).unwrap();
    assert!(few.starts_with("3 configurations of `model=b, opt=lion` for 2 nuisance hyperparameters are"), "{few}");
    // The number that is asked for is the smallest one that is enough.
    let enough: u32 = few.split("at least ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(sparse(&models, enough).is_none() && sparse(&models, enough - 1).is_some(), "{few}");
    assert!(design(&models, 18).sparsest.unwrap().dimensions_differ, "a has three dimensions");
    // A list of one value is no dimension.
    let one = study(&[
        (Role::Scientific, "m", words(&["a", "b"]), None),
        (Role::Nuisance, "lr", list(&[1]), None),
        (Role::Nuisance, "z", list(&[1, 2]), None),
    ]);
    assert_eq!(design(&one, 8).sparsest.unwrap().dimensions, 1);
}

#[test]
fn a_grid_is_not_asked_for_more_than_it_has() {
    let grid = StudyDefinition {
        sampler: SamplerKind::Grid,
        ..nested(&[
            (Role::Scientific, "m", words(&["a", "b"]), &[]),
            (Role::Nuisance, "lr", list(&[1, 2]), &[]),
            (Role::Nuisance, "x", words(&["p", "q"]), &[]),
            (Role::Nuisance, "y", list(&[1, 2]), &[("x", "q")]),
            (Role::Nuisance, "k", list(&[1, 2]), &[("m", "a")]),
        ])
    };
    let all = SamplerKind::Grid.configurations(&grid.space).unwrap() as u32;
    assert_eq!(all, 18);
    assert_eq!(message_at(&grid, all), None, "it is everything");
    let part = message_at(&grid, all - 1).unwrap();
    assert!(part.contains("Ask for at least 18 configurations"), "{part}");
}

/// The message about a sparse design with so many configurations, or none.
fn message_at(definition: &StudyDefinition, configurations: u32) -> Option<String> {
    let found = lints(definition, &design(definition, configurations), None, Stage::Exploring);
    found.into_iter().find(|lint| lint.id == "sparse-design").map(|lint| lint.message)
}

#[test]
fn a_scientific_value_without_a_configuration_is_found() {
    let sparse = message_at;
    let layers = |values: &[i64]| (Role::Scientific, "layers", list(values), None);
    let five = study(&[layers(&[1, 2, 3, 4, 5]), (Role::Nuisance, "lr", log(), None)]);
    let per_value = |definition: &StudyDefinition, configurations| {
        let design = design(definition, configurations);
        (design.scientific_values.unwrap(), design.configurations_per_value.unwrap())
    };
    assert_eq!(per_value(&five, 3), (5, [0, 1]));
    assert!(sparse(&five, 3).unwrap().contains("at least 10 configurations"), "{:?}", sparse(&five, 3));
    assert_eq!(per_value(&five, 11), (5, [2, 3]));
    assert_eq!(sparse(&five, 11), None);
    // Nothing but the scientific list varies.
    let alone = study(&[layers(&[1, 2, 3])]);
    assert!(sparse(&alone, 2).unwrap().contains("at least 3 configurations"), "{:?}", sparse(&alone, 2));
    assert_eq!(sparse(&alone, 3), None);
    // A scientific list below a nuisance one: without it, its two values.
    let below = study(&[
        (Role::Nuisance, "optimizer", words(&["nesterov", "adam", "sgd"]), None),
        (Role::Scientific, "layers", list(&[1, 2]), Some("adam")),
    ]);
    assert_eq!(per_value(&below, 24).0, 3);
    assert!(per_value(&below, 24).1[0] >= 3, "{:?}", per_value(&below, 24));
}

#[test]
fn given_configurations_do_not_count_for_a_scientific_value() {
    let given = |layers: i64, lr: f64| -> Params {
        [("layers".to_string(), Value::Int(layers)), ("lr".to_string(), Value::Float(lr))].into()
    };
    let plain = study(&[(Role::Scientific, "layers", list(&[1, 2, 3]), None), (Role::Nuisance, "lr", log(), None)]);
    let some = plain.with_given(vec![given(1, 0.01), given(1, 0.02), given(1, 0.03), given(2, 0.01)], 0);
    let design = |configurations| design(&some, configurations);
    assert_eq!((design(10).configurations_per_value, design(10).given_left_out), (Some([2, 2]), 4));
    assert_eq!((design(5).configurations_per_value, design(5).given_left_out), (Some([0, 1]), 4));
    let found = lints(&some, &design(5), None, Stage::Exploring);
    let lint = found.iter().find(|lint| lint.id == "sparse-design").unwrap();
    assert!(lint.message.contains("at least 10 configurations"), "{}", lint.message);
    // Without others, conclusions rest on the given ones.
    assert_eq!((design(4).configurations_per_value, design(4).given_left_out), (Some([0, 3]), 0));
}

#[test]
fn a_fixed_value_has_the_caveat_that_it_brings() {
    let roles = design(&with(Role::Fixed, "dropout", Distribution::constant(0.1.into())), 30).roles;
    let caveat = |name: &str| roles.iter().find(|role| role.hyperparameter == name).unwrap().caveat.clone();
    assert_eq!(caveat("layers"), None);
    assert_eq!(caveat("lr"), None);
    assert_eq!(caveat("steps").unwrap(), "`layers` is compared at steps = 100 only");
    assert!(caveat("dropout").unwrap().contains("the best value may differ"));
}

#[test]
fn a_value_that_is_fixed_in_a_branch_has_the_caveat_of_the_branch_only() {
    let of = |declared: &[Declared], name: &str| {
        let roles = design(&study(declared), 8).roles;
        roles.into_iter().find(|role| role.hyperparameter == name).unwrap().caveat.unwrap()
    };
    let fixed = |x: f64| Distribution::constant(x.into());
    let optimizers = || words(&["nesterov", "adam"]);
    let compared: &[Declared] = &[
        (Role::Scientific, "optimizer", optimizers(), None),
        (Role::Scientific, "layers", list(&[1, 2]), None),
        (Role::Nuisance, "lr", log(), Some("nesterov")),
        (Role::Fixed, "lr", fixed(0.1), Some("adam")),
        (Role::Fixed, "dropout", fixed(0.5), Some("nesterov adam")),
        (Role::Fixed, "steps", Distribution::constant(100.into()), None),
    ];
    let expected = "where optimizer = adam, lr is 0.1 only: this value of `optimizer` is judged at it";
    assert_eq!(of(compared, "optimizer=adam/lr"), expected);
    let dropout = study(compared).space.named("dropout").next().unwrap().label();
    let expected =
        "where optimizer = nesterov or adam, dropout is 0.5 only: these values of `optimizer` are judged at it";
    assert_eq!(of(compared, &dropout), expected);
    assert_eq!(of(compared, "steps"), "`optimizer` and `layers` are compared at steps = 100 only");
    let tuned: &[Declared] = &[
        (Role::Nuisance, "optimizer", optimizers(), None),
        (Role::Scientific, "layers", list(&[1, 2]), None),
        (Role::Nuisance, "lr", log(), Some("nesterov")),
        (Role::Fixed, "lr", fixed(0.1), Some("adam")),
    ];
    let expected = "where optimizer = adam, `layers` is compared at lr = 0.1 only: the best value may differ between \
        the values of `layers`";
    assert_eq!(of(tuned, "optimizer=adam/lr"), expected);
    let expected = "where optimizer = adam, the results hold for lr = 0.1 only";
    let alone: Vec<Declared> = tuned.iter().filter(|declared| declared.1 != "layers").cloned().collect();
    assert_eq!(of(&alone, "optimizer=adam/lr"), expected);
}

#[test]
fn a_study_that_exploits_needs_a_space_around_the_best_and_results_to_learn_from() {
    let bayes = StudyDefinition { sampler: SamplerKind::Bayes, ..study(&sound()) };
    let lints = |definition: &StudyDefinition, configurations, at_once, lr: Option<f64>| {
        let params = lr.map(|lr| Params::from([("layers".into(), 2.into()), ("lr".into(), lr.into())]));
        let explored = params.as_ref().map(|params| Explored { study: "first", trial: 7, params });
        let found = exploitation(definition, Some(&description()), configurations, at_once, explored.as_ref());
        assert!(found.iter().all(|lint| LINTS.contains(&lint.id)), "{found:?}");
        found.into_iter().map(|lint| lint.id).collect::<Vec<_>>()
    };
    assert!(lints(&bayes, 40, 4, Some(0.01)).is_empty(), "ten generations, well inside");
    assert_eq!(lints(&bayes, 39, 4, Some(0.01)), ["bayes-parallel"]);
    assert!(lints(&bayes, 5, 1, Some(0.01)).is_empty(), "one at a time learns from each");
    for outside in [None, Some(2e-4), Some(0.5), Some(3.0), Some(1e-6)] {
        assert_eq!(lints(&bayes, 40, 4, outside), ["exploit-unrefined"], "{outside:?}");
    }
    assert!(lints(&study(&sound()), 5, 4, None).is_empty(), "quasirandom explores");
    // The momentum of 0 cannot be lower, so that its end is no edge.
    let ends = Params::from([("lr".into(), 0.01.into()), ("momentum".into(), 0.0.into())]);
    let explored = Explored { study: "first", trial: 7, params: &ends };
    assert_eq!(exploitation(&bayes, Some(&description()), 40, 4, Some(&explored)), []);
}

/// The conditions of a declaration: parents with their values, which spaces divide.
type Conditions<'a> = &'a [(&'a str, &'a str)];

/// A study of these declarations, each with its conditions.
fn nested(declared: &[(Role, &str, Distribution, Conditions<'_>)]) -> StudyDefinition {
    let mut space = SearchSpace::new();
    for (role, name, distribution, conditions) in declared {
        let value = |word: &str| word.parse().map(Value::Int).unwrap_or_else(|_| word.into());
        let condition = |(parent, words): &(&str, &str)| Condition {
            name: parent.to_string(),
            values: words.split(' ').map(value).collect(),
        };
        let conditions = conditions.iter().map(condition).collect();
        let (name, distribution) = (name.to_string(), distribution.clone());
        space.declare(Hyperparameter { name, role: *role, distribution, conditions }).unwrap();
    }
    StudyDefinition { space, ..study(&[]) }
}

/// The message of a lint of a study, or none.
fn message(definition: &StudyDefinition, description: Option<&WorkloadDescription>, id: &str) -> Option<String> {
    let found = lints(definition, &design(definition, 60), description, Stage::Exploring);
    found.into_iter().find(|lint| lint.id == id).map(|lint| lint.message)
}

fn constant(value: impl Into<Value>) -> Distribution {
    Distribution::constant(value.into())
}

#[test]
fn a_constant_of_one_branch_is_compared_with_the_default_of_the_others() {
    let in_one = |name: &'static str, value: i64| {
        nested(&[
            (Role::Scientific, "layers", list(&[1, 2, 3]), &[]),
            (Role::Fixed, name, constant(value), &[("layers", "3")]),
        ])
    };
    let known = description();
    let steps = message(&in_one("steps", 400), Some(&known), "steps-tuned").unwrap();
    assert!(steps.contains("`layers=3/steps = 400`, elsewhere the default, 64."), "{steps}");
    assert_eq!(message(&in_one("steps", 64), Some(&known), "steps-tuned"), None, "it is the default");
    let program = message(&in_one("max-steps", 64), None, "steps-tuned").unwrap();
    assert!(program.contains("elsewhere a default that is not known here."), "{program}");
    let size = message(&in_one("batch_size", 256), Some(&known), "batch-size-tuned").unwrap();
    assert!(size.contains("(`layers=3/batch_size = 256`, elsewhere the default, 64)"), "{size}");
    assert_eq!(message(&in_one("batch_size", 64), Some(&known), "batch-size-tuned"), None);
}

#[test]
fn a_learning_rate_that_is_tuned_for_some_scientific_values_only_is_a_lint() {
    let of = |adam: &[Declared]| {
        let mut all: Vec<Declared> = vec![
            (Role::Scientific, "optimizer", words(&["nesterov", "adam"]), None),
            (Role::Nuisance, "lr", log(), Some("nesterov")),
        ];
        all.extend(adam.iter().cloned());
        message(&study(&all), Some(&description()), "fixed-interacts")
    };
    let fixed = of(&[(Role::Fixed, "lr", constant(0.001), Some("adam"))]).unwrap();
    assert!(fixed.starts_with("`optimizer=adam/lr = 0.001` has one value"), "{fixed}");
    let default = of(&[]).unwrap();
    assert!(default.starts_with("`lr` with optimizer=adam (0.1 by default) has one value"), "{default}");
    assert_eq!(of(&[(Role::Nuisance, "lr", log(), Some("adam"))]), None);
    // A branch that does not depend on a scientific value: each of the values is tuned in the other branch.
    let by_schedule = nested(&[
        (Role::Scientific, "layers", list(&[1, 2, 3]), &[]),
        (Role::Nuisance, "schedule", words(&["constant", "cosine"]), &[]),
        (Role::Nuisance, "lr", log(), &[("schedule", "cosine")]),
        (Role::Fixed, "lr", constant(0.1), &[("schedule", "constant")]),
    ]);
    assert_eq!(message(&by_schedule, Some(&description()), "fixed-interacts"), None);
    // Regularization of one of the architectures that are compared.
    let dropout = |three: f64| {
        nested(&[
            (Role::Scientific, "layers", list(&[2, 3]), &[]),
            (Role::Nuisance, "lr", log(), &[]),
            (Role::Nuisance, "dropout", Distribution::uniform(0.0, 0.5).unwrap(), &[("layers", "2")]),
            (Role::Fixed, "dropout", constant(three), &[("layers", "3")]),
        ])
    };
    let of_three = message(&dropout(0.1), Some(&description()), "fixed-interacts").unwrap();
    assert!(of_three.starts_with("`layers=3/dropout = 0.1` has one value"), "{of_three}");
    assert_eq!(message(&dropout(0.0), Some(&description()), "fixed-interacts"), None, "there is none");
}

#[test]
fn a_hyperparameter_of_an_optimizer_needs_a_role_in_each_configuration_of_it() {
    let adam = |beta1: &[(&'static str, &'static str)]| {
        let own: Conditions<'_> = &[("optimizer", "adam")];
        let study = nested(&[
            (Role::Scientific, "optimizer", words(&["nesterov", "adam"]), &[]),
            (Role::Nuisance, "schedule", words(&["constant", "cosine"]), &[]),
            (Role::Nuisance, "lr", log(), &[("optimizer", "nesterov")]),
            (Role::Nuisance, "momentum", log(), &[("optimizer", "nesterov")]),
            (Role::Nuisance, "lr", log(), own),
            (Role::Fixed, "beta2", constant(0.999), own),
            (Role::Fixed, "epsilon", constant(1e-8), own),
            (Role::Nuisance, "beta1", log(), beta1),
        ]);
        message(&study, Some(&description()), LINT_A3)
    };
    assert_eq!(adam(&[("optimizer", "adam")]), None);
    let lacking = adam(&[("optimizer", "adam"), ("schedule", "cosine")]).unwrap();
    assert!(lacking.starts_with("One hyperparameter of adam is not declared"), "{lacking}");
    assert!(lacking.contains("`beta1` (0.9 with schedule=constant)"), "{lacking}");
    assert_eq!(adam(&[("optimizer", "adam"), ("schedule", "constant cosine")]), None, "both schedules have it");
    assert!(adam(&[("optimizer", "nesterov")]).unwrap().contains("`beta1` (0.9)"));
}

#[test]
fn the_options_of_programs_are_known_by_their_usual_names() {
    let of = |declared: &[Declared]| -> Vec<&'static str> {
        let definition = study(declared);
        let found = lints(&definition, &design(&definition, 60), None, Stage::First);
        found.into_iter().map(|lint| lint.id).collect()
    };
    let tuned: [(&'static str, Distribution, &str); 8] = [
        ("batch-size", list(&[16, 64]), "batch-size-tuned"),
        ("per_device_train_batch_size", list(&[16, 64]), "batch-size-tuned"),
        ("num_train_epochs", list(&[1, 3]), "steps-tuned"),
        ("data.batch_size", list(&[16, 64]), "batch-size-tuned"),
        ("hparams.steps", list(&[10, 30]), "steps-tuned"),
        ("wd", Distribution::log_uniform(1e-6, 1e-2).unwrap(), "first-baseline"),
        ("lr_scheduler_type", words(&["constant", "cosine"]), "first-baseline"),
        ("optim", words(&["sgd", "adamw_torch"]), "optimizer-nuisance"),
    ];
    for (name, values, id) in tuned {
        let found = of(&[(Role::Nuisance, name, values, None)]);
        assert_eq!(found, [id], "{name}");
    }
    assert_eq!(of(&[(Role::Scientific, "base-lr", list(&[1, 2]), None)]), ["optimizer-hyperparameter-scientific"]);
    let fixed = of(&[(Role::Scientific, "width", list(&[8, 64]), None), (Role::Fixed, "base_lr", constant(0.1), None)]);
    assert_eq!(fixed, ["fixed-interacts"]);
    // Other things of similar names, and values that say that it is something else.
    for (name, values) in [
        ("eval_batch_size", list(&[16, 64])),
        ("warmup-steps", list(&[10, 100])),
        ("l2", list(&[16, 64])),
        ("opt", list(&[0, 1])),
        ("opt_level", words(&["O1", "O2"])),
        ("scheduler", words(&["none", "constant_with_warmup"])),
    ] {
        assert_eq!(of(&[(Role::Nuisance, name, values, None)]), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn decay_and_regularization_are_too_early_until_a_plain_trial_or_a_launch() {
    let of = |definition: &StudyDefinition, description: &WorkloadDescription, stage| {
        let found = lints(definition, &design(definition, 60), Some(description), stage);
        found.into_iter().find(|lint| lint.id == "first-baseline").map(|lint| lint.message)
    };
    let known = description();
    let cosine = with(Role::Fixed, "schedule", constant("cosine"));
    let first = of(&cosine, &known, Stage::First).unwrap();
    assert!(first.contains("no other study of it has a complete trial in the store"), "{first}");
    assert!(first.contains("This study has `schedule = cosine`."), "{first}");
    let later = of(&cosine, &known, Stage::WithExtras).unwrap();
    assert!(later.contains("a complete trial with a constant learning rate and without regularization"), "{later}");
    assert_eq!(of(&cosine, &known, Stage::Exploring), None);
    assert_eq!(of(&cosine, &known, Stage::AfterBaseline), None);
    // What is asked about is no part of the baseline.
    let asked = with(Role::Scientific, "dropout", Distribution::uniform(0.0, 0.5).unwrap());
    assert!(of(&asked, &known, Stage::First).is_some());
    assert_eq!(of(&asked, &known, Stage::WithExtras), None);
    // A default of the workload counts where no line declares another value.
    let mut decaying = description();
    let schedule = decaying.hyperparameters.iter_mut().find(|h| h.name == "schedule").unwrap();
    schedule.default = "cosine".into();
    let by_default = of(&study(&sound()), &decaying, Stage::First).unwrap();
    assert!(by_default.contains("This study has `schedule` (cosine by default)."), "{by_default}");
    let plain = with(Role::Fixed, "schedule", constant("constant"));
    assert_eq!(of(&plain, &decaying, Stage::First), None);

    let params = |name: &str, value: Value| Params::from([(name.to_string(), value)]);
    assert!(is_plain(&params("lr", 0.1.into()), Some(&known)) && is_plain(&params("lr", 0.1.into()), None));
    assert!(!is_plain(&params("lr", 0.1.into()), Some(&decaying)), "its default decays");
    assert!(is_plain(&params("schedule", "constant".into()), Some(&decaying)));
    assert!(!is_plain(&params("dropout", 0.5.into()), Some(&known)) && is_plain(&params("dropout", 0.0.into()), None));
    assert!(!is_plain(&params("weight-decay", 0.01.into()), None));
}

#[test]
fn a_constant_schedule_of_a_program_is_known_if_it_is_declared() {
    let of = |declared: &[Declared]| {
        let definition = study(declared);
        let found = lints(&definition, &design(&definition, 60), None, Stage::AfterBaseline);
        found.into_iter().find(|lint| lint.id == "constant-schedule").map(|lint| lint.message)
    };
    let found = of(&[(Role::Fixed, "lr_scheduler_type", constant("constant"), None)]).unwrap();
    assert!(found.contains("`fixed lr_scheduler_type = cosine`"), "{found}");
    assert_eq!(of(&[(Role::Fixed, "lr_scheduler_type", constant("linear"), None)]), None);
    assert_eq!(of(&[(Role::Nuisance, "lr", log(), None)]), None, "its schedule is not known");
}

#[test]
fn what_the_command_of_a_program_fixes_counts_as_declared() {
    let message = |line: &str, declared: &[Declared], stage, id: &str| {
        let words = format!("python3 train.py {line}").split(' ').map(String::from).collect();
        let workload = WorkloadReference::Command(ProgramLine { words, optional: vec![] });
        let definition = StudyDefinition { workload, ..study(declared) };
        let found = lints(&definition, &design(&definition, 60), None, stage);
        found.into_iter().find(|lint| lint.id == id).map(|lint| lint.message)
    };
    let rate = || (Role::Nuisance, "lr", log(), None);
    let first = |line: &str| message(line, &[rate()], Stage::First, "first-baseline");
    let both = first("--optimizer adamw --weight-decay 0.1 --lr_scheduler_type cosine --lr {lr}").unwrap();
    let expected =
        "This study has `--weight-decay 0.1` in the command, `--lr_scheduler_type cosine` in the command. Begin";
    assert!(both.contains(expected), "{both}");
    let cosine = "trainer.scheduler._target_=torch.optim.lr_scheduler.CosineAnnealingLR";
    for line in ["scheduler.name=cosine", cosine] {
        assert!(first(&format!("{line} lr={{lr}}")).unwrap().contains(&format!("`{line}` in the command")), "{line}");
    }
    assert_eq!(first("scheduler._target_=torch.optim.lr_scheduler.ConstantLR lr={lr}"), None);
    assert!(first("optimizer.weight_decay=0.1 lr={lr}").unwrap().contains("`optimizer.weight_decay=0.1` in the"));
    for line in [
        "--optimizer adamw --amp --lr {lr}",
        "--weight-decay 0 --dropout=0.0 --lr_scheduler_type constant --lr {lr}",
        "--dropout --lr {lr}",
        "--schedule configs/cosine.yaml --lr {lr}",
        "--out runs/wd=0.1 --lr {lr}",
    ] {
        assert_eq!(first(line), None, "{line}");
    }
    // A declaration of the same name goes first.
    let declared = [rate(), (Role::Fixed, "weight_decay", constant(0.0), None)];
    assert_eq!(message("--weight-decay 0.1 {lr} {weight_decay}", &declared, Stage::First, "first-baseline"), None);

    let baseline = |line: &str| message(line, &[rate()], Stage::AfterBaseline, "constant-schedule");
    let constant = baseline("--lr_scheduler_type=constant --lr {lr}").unwrap();
    assert!(constant.contains("mostly better: `--lr_scheduler_type=cosine` in the command, with"), "{constant}");
    assert_eq!(baseline("--lr_scheduler_type=linear --lr {lr}"), None);
    assert_eq!(baseline("--lr_scheduler_type --lr {lr}"), None, "it is not known");

    let width = || (Role::Scientific, "width", list(&[8, 64]), None);
    let fixed = |line: &str, declared: &[Declared]| message(line, declared, Stage::Exploring, "fixed-interacts");
    let one = fixed("--lr 0.01 --width {width}", &[width()]).unwrap();
    assert!(one.starts_with("`--lr 0.01` in the command has one value, but the best value"), "{one}");
    assert_eq!(fixed("--lr 0.01 --width {width} --peak {lr}", &[width(), rate()]), None, "lr is tuned");
    let other = (Role::Nuisance, "rate", log(), None);
    assert_eq!(fixed("--lr 0.01 --width {width} --lr {rate}", &[width(), other]), None, "it is inserted too");
}

#[test]
fn the_studies_of_a_round_have_one_question() {
    let asks = |round: Option<u32>, question: Option<&str>| {
        let question = question.map(String::from);
        StudyDefinition { round, question, ..study(&[]) }
    };
    let of = |own: &StudyDefinition, other: &StudyDefinition| {
        let lint = several_questions(own, [("other", other)]);
        assert!(lint.iter().all(|lint| LINTS.contains(&lint.id) && lint.id == "several-questions"));
        lint.map(|lint| lint.message)
    };
    let own = asks(Some(2), Some("How deep?"));
    let found = of(&own, &asks(Some(2), Some("How wide?"))).unwrap();
    assert!(
        found.contains("The study `other` of round 2 asks \"How wide?\", and this one asks \"How deep?\""),
        "{found}"
    );
    assert_eq!(of(&own, &asks(Some(2), Some("how  deep?"))), None, "the same words");
    assert_eq!(of(&own, &asks(Some(1), Some("How wide?"))), None, "another round");
    assert_eq!(of(&own, &asks(None, Some("How wide?"))), None);
    assert_eq!(of(&own, &asks(Some(2), None)), None, "it has no question");
    assert_eq!(of(&own, &asks(Some(2), Some(""))), None);
    assert_eq!(of(&asks(None, Some("How deep?")), &asks(None, Some("How wide?"))), None, "there is no round");
}
