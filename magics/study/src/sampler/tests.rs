//! Tests of the samplers, most of them of properties that hold for every seed.

use super::*;
use crate::{
    Condition, Direction, GivenLater, Hyperparameter, Objective, ObjectiveValue, StudyDefinition, Summaries, Trial,
    TrialState, Value, WorkloadReference,
};
use std::collections::{HashMap, HashSet};

fn choice(count: i64) -> Distribution {
    Distribution::choice((0..count).map(Value::Int).collect()).unwrap()
}

fn space(declarations: &[(&str, Role, Distribution)]) -> SearchSpace {
    let mut space = SearchSpace::new();
    for (name, role, distribution) in declarations {
        let (name, role, distribution) = ((*name).into(), *role, distribution.clone());
        space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
    }
    space
}

fn study(space: SearchSpace, seed: u64) -> StudyDefinition {
    StudyDefinition {
        seed,
        ..StudyDefinition::new(
            WorkloadReference::Builtin { name: "w".into() },
            space,
            Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }
}

fn proposed(definition: &StudyDefinition, count: u64) -> Vec<Params> {
    let mut proposals = Proposals::of(definition);
    (0..count).map_while(|index| proposals.get(index)).collect()
}

/// The largest difference between the counts of two values of a list, after any number of these trials.
fn imbalance<'a>(trials: impl Iterator<Item = &'a Params>, name: &str, count: usize) -> u64 {
    let (mut counts, mut largest) = (vec![0; count], 0);
    for params in trials {
        let Some(value) = params.get(name) else { continue };
        counts[value.as_i64().unwrap() as usize] += 1;
        largest = largest.max(counts.iter().max().unwrap() - counts.iter().min().unwrap());
    }
    largest
}

fn with<'a>(trials: &'a [Params], name: &'a str, value: i64) -> impl Iterator<Item = &'a Params> {
    trials.iter().filter(move |params| params.get(name) == Some(&Value::Int(value)))
}

#[test]
fn lists_are_balanced_among_all_trials_and_within_each_scientific_value() {
    use Role::{Nuisance, Scientific};
    for arms in 1..=6 {
        for count in 1..=7 {
            // The order of the declarations does not matter.
            let mut declared = vec![("arm", Scientific, choice(arms)), ("list", Nuisance, choice(count))];
            declared.push(("lr", Nuisance, Distribution::log_uniform(1e-4, 1.0).unwrap()));
            if (arms + count) % 2 == 0 {
                declared.reverse();
            }
            for seed in 0..4 {
                let trials = proposed(&study(space(&declared), seed), 90);
                assert!(imbalance(trials.iter(), "arm", arms as usize) <= 1);
                assert!(imbalance(trials.iter(), "list", count as usize) <= 1, "{arms} {count} {seed}");
                for arm in 0..arms {
                    let within = imbalance(with(&trials, "arm", arm), "list", count as usize);
                    assert!(within <= 1, "{arms} {count} {seed}: {within} in arm {arm}");
                }
            }
        }
    }
}

#[test]
fn several_lists_are_balanced_within_each_scientific_value_and_not_confounded_with_each_other() {
    use Role::{Nuisance, Scientific};
    let declared = [
        ("depth", Scientific, choice(5)),
        ("act", Nuisance, choice(5)),
        ("init", Nuisance, choice(5)),
        ("norm", Nuisance, choice(2)),
    ];
    for seed in 0..20 {
        let trials = proposed(&study(space(&declared), seed), 60);
        for depth in 0..5 {
            for (name, count) in [("act", 5), ("init", 5), ("norm", 2)] {
                assert!(imbalance(with(&trials, "depth", depth), name, count) <= 1, "{name} at depth {depth}");
            }
        }
        let mut together: HashMap<(i64, i64), u32> = HashMap::new();
        for params in &trials[..50] {
            *together.entry((params["act"].as_i64().unwrap(), params["init"].as_i64().unwrap())).or_default() += 1;
        }
        let most = *together.values().max().unwrap();
        assert!(together.len() >= 20 && most <= 5, "seed {seed}: {} pairs, one {most} times", together.len());
    }
}

#[test]
fn lists_and_ranges_of_a_branch_are_balanced_within_it() {
    let mut tree = space(&[("depth", Role::Scientific, choice(3)), ("optimizer", Role::Nuisance, choice(2))]);
    let branch = |value: i64| vec![Condition { name: "optimizer".into(), values: vec![value.into()] }];
    for (name, distribution, value) in
        [("act", choice(3), 0), ("lr", Distribution::uniform(0.0, 1.0).unwrap(), 0), ("lr", choice(4), 1)]
    {
        let (name, role) = (name.to_string(), Role::Nuisance);
        tree.declare(Hyperparameter { name, role, distribution, conditions: branch(value) }).unwrap();
    }
    for seed in 0..30 {
        let trials = proposed(&study(tree.clone(), seed), 96);
        for depth in 0..3 {
            let arm: Vec<Params> = with(&trials, "depth", depth).cloned().collect();
            assert!(imbalance(arm.iter(), "optimizer", 2) <= 1);
            assert!(imbalance(arm.iter(), "act", 3) <= 1, "seed {seed}");
            assert!(imbalance(with(&arm, "optimizer", 1), "lr", 4) <= 1, "seed {seed}");
            // The 16 trials of the branch fall into 16 intervals.
            let mut strata: Vec<u32> =
                with(&arm, "optimizer", 0).map(|params| (params["lr"].as_f64().unwrap() * 16.0) as u32).collect();
            strata.sort_unstable();
            assert!(strata.into_iter().eq(0..16), "seed {seed}");
        }
    }
}

#[test]
fn nuisance_ranges_are_covered_evenly_for_each_scientific_value_whatever_its_list() {
    use Role::{Nuisance, Scientific};
    let lr = Distribution::uniform(0.0, 1.0).unwrap();
    let declared = [("layers", Scientific, choice(3)), ("act", Nuisance, choice(2)), ("lr", Nuisance, lr)];
    let mut lower_half = 0;
    for seed in 0..50 {
        let trials = proposed(&study(space(&declared), seed), 24);
        for layers in 0..3 {
            let arm: Vec<&Params> = with(&trials, "layers", layers).collect();
            let mut strata: Vec<u32> = arm.iter().map(|p| (p["lr"].as_f64().unwrap() * 8.0) as u32).collect();
            strata.sort_unstable();
            assert!(strata.into_iter().eq(0..8), "seed {seed}");
            lower_half += arm.iter().filter(|p| p["act"] == 0.into() && p["lr"].as_f64().unwrap() < 0.5).count();
        }
    }
    // A quarter of all: one value of the list does not get one half of the range.
    assert!((270..=330).contains(&lower_half), "{lower_half} of 1200");
}

#[test]
fn no_configuration_is_repeated_while_there_are_others() {
    use Role::{Nuisance, Scientific};
    let lists = [("a", Scientific, choice(2)), ("b", Nuisance, choice(3)), ("c", Nuisance, choice(4))];
    let with_int =
        [("a", Scientific, choice(3)), ("n", Nuisance, Distribution::int(1, 8).unwrap()), ("b", Nuisance, choice(2))];
    for seed in 0..20 {
        for (declared, count) in [(&lists, 24), (&with_int, 36)] {
            let trials = proposed(&study(space(declared), seed), count);
            let different: HashSet<String> = trials.iter().map(|params| format!("{params:?}")).collect();
            assert_eq!(different.len() as u64, count, "seed {seed}");
        }
    }
}

#[test]
fn two_nuisance_lists_repeat_nothing_before_all_combinations_are_used() {
    for (a, b) in [(5, 5), (3, 3), (6, 4), (4, 5), (2, 8)] {
        let declared = [("a", Role::Nuisance, choice(a)), ("b", Role::Nuisance, choice(b))];
        for seed in 0..20 {
            let trials = proposed(&study(space(&declared), seed), (a * b) as u64);
            let different: HashSet<String> = trials.iter().map(|params| format!("{params:?}")).collect();
            assert_eq!(different.len(), trials.len(), "{a} and {b}, seed {seed}");
            assert!(imbalance(trials.iter(), "a", a as usize) <= 1 && imbalance(trials.iter(), "b", b as usize) <= 1);
        }
    }
}

#[test]
fn a_widened_study_goes_on_from_what_each_value_has_and_repeats_nothing() {
    use Role::{Nuisance, Scientific};
    let list = |values: &[&str]| Distribution::choice(values.iter().map(|v| (*v).into()).collect()).unwrap();
    for sampler_version in [1, VERSION] {
        for seed in 0..20 {
            let with_depths = |depths: &[&str]| {
                space(&[("depth", Scientific, list(depths)), ("act", Nuisance, choice(5)), ("n", Nuisance, choice(6))])
            };
            let before = StudyDefinition { sampler_version, ..study(with_depths(&["two", "three"]), seed) };
            let after = before.widened(with_depths(&["one", "two", "three"]), 12);
            assert_eq!(proposed(&before, 12), proposed(&after, 12), "what was proposed stays");
            let all = proposed(&after, 36);
            let counts = |trials: &[Params]| {
                ["one", "two", "three"].map(|depth| trials.iter().filter(|p| p["depth"] == depth.into()).count())
            };
            assert_eq!(counts(&all[..18]), [6, 6, 6], "the new value catches up");
            assert_eq!(counts(&all), [12, 12, 12]);
            let earlier: HashSet<String> = all[..12].iter().map(|params| format!("{params:?}")).collect();
            let new: HashSet<String> = all[12..].iter().map(|params| format!("{params:?}")).collect();
            assert!(new.len() == 24 && new.is_disjoint(&earlier), "seed {seed}");
            for depth in ["one", "two", "three"].into_iter().filter(|_| sampler_version == VERSION) {
                let arm = all.iter().filter(|params| params["depth"] == depth.into());
                assert!(imbalance(arm, "act", 5) <= 1, "seed {seed}");
            }
        }
    }
}

#[test]
fn what_was_fixed_and_a_branch_of_a_new_value_catch_up_too() {
    let list = |values: &[&str]| Distribution::choice(values.iter().map(|v| (*v).into()).collect()).unwrap();
    let fixed = space(&[
        ("act", Role::Fixed, Distribution::constant("relu".into())),
        ("lr", Role::Nuisance, Distribution::uniform(0.0, 1.0).unwrap()),
    ]);
    let mut freed = SearchSpace::new();
    let declare = |space: &mut SearchSpace, name: &str, role, distribution, of: Option<&str>| {
        let conditions = of.map(|value| Condition { name: "act".into(), values: vec![value.into()] });
        let name = name.into();
        space
            .declare(Hyperparameter { name, role, distribution, conditions: conditions.into_iter().collect() })
            .unwrap();
    };
    declare(&mut freed, "act", Role::Scientific, list(&["relu", "tanh"]), None);
    declare(&mut freed, "gain", Role::Nuisance, list(&["low", "high"]), Some("tanh"));
    declare(&mut freed, "lr", Role::Nuisance, Distribution::uniform(0.0, 1.0).unwrap(), None);
    for sampler in [SamplerKind::Quasirandom, SamplerKind::Sobol, SamplerKind::Random, SamplerKind::Bayes] {
        let before = StudyDefinition { sampler, ..study(fixed.clone(), 2) };
        let after = before.widened(freed.clone(), 12);
        assert_eq!(proposed(&before, 12), proposed(&after, 12), "what was proposed stays");
        let all = proposed(&after, 24);
        let count = |name: &str, value: &str| all.iter().filter(|p| p.get(name) == Some(&value.into())).count();
        assert_eq!((count("act", "relu"), count("act", "tanh")), (12, 12), "{sampler:?}");
        // `random` deals out scientific lists only.
        if sampler != SamplerKind::Random {
            assert_eq!((count("gain", "low"), count("gain", "high")), (6, 6), "{sampler:?}");
        }
    }
}

#[test]
fn a_study_of_lists_repeats_nothing_after_a_fixed_value_moved_to_another_line() {
    use Role::{Nuisance, Scientific};
    let act = ("act", Nuisance, choice(3));
    let fixed = space(&[act.clone(), ("depth", Role::Fixed, Distribution::constant(Value::Int(1)))]);
    let freed = space(&[("depth", Scientific, choice(3)), act]);
    for sampler in [SamplerKind::Quasirandom, SamplerKind::Sobol, SamplerKind::Bayes, SamplerKind::Grid] {
        let before = StudyDefinition { sampler, ..study(fixed.clone(), 1) };
        let all = proposed(&before.widened(freed.clone(), 3), 9);
        let value = |params: &Params, name: &str| params[name].to_string();
        let different: HashSet<[String; 2]> = all.iter().map(|p| [value(p, "depth"), value(p, "act")]).collect();
        assert_eq!(different.len(), 9, "{sampler:?}: {all:?}");
    }
}

#[test]
fn a_widened_range_and_a_widened_grid_go_on() {
    let lr = |low| {
        space(&[
            ("a", Role::Scientific, choice(3)),
            ("lr", Role::Nuisance, Distribution::log_uniform(low, 1.0).unwrap()),
        ])
    };
    let after = study(lr(1e-3), 3).widened(lr(1e-4), 9);
    let all: HashSet<String> = proposed(&after, 30).iter().map(|params| format!("{params:?}")).collect();
    assert_eq!(all.len(), 30);
    let grid = |count| space(&[("a", Role::Scientific, choice(count)), ("b", Role::Nuisance, choice(count))]);
    let before = StudyDefinition { sampler: SamplerKind::Grid, ..study(grid(2), 0) };
    let all: HashSet<String> = proposed(&before.widened(grid(3), 3), 99).iter().map(|p| format!("{p:?}")).collect();
    assert_eq!(all.len(), 9, "each combination once");
}

#[test]
fn version_1_proposes_what_it_proposed() {
    let declared = [("depth", Role::Scientific, choice(5)), ("act", Role::Nuisance, choice(5))];
    let old = StudyDefinition { sampler_version: 1, ..study(space(&declared), 0) };
    let shown: Vec<String> = proposed(&old, 6)
        .iter()
        .map(|p| format!("{}{}", p["depth"].as_i64().unwrap(), p["act"].as_i64().unwrap()))
        .collect();
    // Recorded with version 1.
    assert_eq!(shown.join(" "), "32 23 11 04 40 14");
    let text = serde_json::to_string(&old).unwrap().replace("\"sampler_version\":1,", "");
    assert_eq!(
        serde_json::from_str::<StudyDefinition>(&text).unwrap(),
        old,
        "a study that names no version has the first"
    );
}

#[test]
fn a_proposal_depends_on_the_definition_and_the_index_alone() {
    let declared = [
        ("h0", Role::Nuisance, Distribution::uniform(0.0, 1.0).unwrap()),
        ("h1", Role::Nuisance, Distribution::int(1, 9).unwrap()),
        ("h2", Role::Nuisance, choice(3)),
    ];
    for sampler in [SamplerKind::Quasirandom, SamplerKind::Random] {
        let definition = |seed| StudyDefinition { sampler, ..study(space(&declared), seed) };
        let forward = proposed(&definition(7), 30);
        for index in (0..30).rev() {
            assert_eq!(Proposals::of(&definition(7)).get(index).as_ref(), Some(&forward[index as usize]));
        }
        assert_ne!(forward[3], proposed(&definition(8), 4)[3]);
    }
}

#[test]
fn trials_have_different_seeds() {
    let seeds: HashSet<_> = (1..1000).map(|n| trial_seed(7, n)).collect();
    assert_eq!(seeds.len(), 999);
    assert!(seeds.iter().all(|s| *s < 1 << 31));
}

/// The lists of a space: name, role, and number of values.
type Lists = Vec<(&'static str, Role, i64)>;

/// A space of so many scientific and nuisance lists of random lengths, with or without a range.
fn random_space(seed: u64, scientific: usize, nuisance: usize, has_range: bool) -> (SearchSpace, Lists) {
    let drawn = |node: usize, most: f64| 2 + (keyed::uniform(seed, node, 1) * (most - 1.0)) as i64;
    let (top, others) = (NAMES.iter().take(scientific), ["n", "m", "o"].iter().take(nuisance));
    let mut lists: Lists = top.zip(0..).map(|(name, node)| (*name, Role::Scientific, drawn(node, 4.0))).collect();
    lists.extend(others.zip(20..).map(|(name, node)| (*name, Role::Nuisance, drawn(node, 5.0))));
    let mut declared: Vec<(&str, Role, Distribution)> =
        lists.iter().map(|(name, role, count)| (*name, *role, choice(*count))).collect();
    if has_range {
        declared.push(("x", Role::Nuisance, Distribution::uniform(0.0, 1.0).unwrap()));
    }
    (space(&declared), lists)
}

#[test]
fn every_prefix_of_random_spaces_of_several_lists_is_balanced() {
    use SamplerKind::{Grid, Quasirandom, Sobol};
    // By the number of scientific lists: among all trials without and with a range, and with one scientific value.
    let mut worst = [[0; 3]; 5];
    for (seed, sampler) in (0..120).flat_map(|seed| [Quasirandom, Sobol, Grid].map(|sampler| (seed, sampler))) {
        let scientific = (seed % 5) as usize;
        let has_range = sampler != Grid && seed % 4 > 0;
        let (space, lists) = random_space(seed, scientific, 1 + (seed / 5 % 3) as usize, has_range);
        let all: i64 = lists.iter().map(|(_, _, count)| count).product();
        let count = if has_range { 150 } else { all.min(200) as u64 };
        let trials = proposed(&StudyDefinition { sampler, ..study(space, seed) }, count);
        assert_eq!(trials.len() as u64, count);
        let top: Vec<(&str, i64)> = lists.iter().take(scientific).map(|(name, _, count)| (*name, *count)).collect();
        let names: Vec<&str> = top.iter().map(|(name, _)| *name).collect();
        let what = format!("{lists:?} with {sampler}, seed {seed}");
        for (name, count) in &top {
            assert!(imbalance(trials.iter(), name, *count as usize) <= 1, "{name} of {what}");
        }
        if scientific > 0 {
            assert!(imbalance_of_combinations(&trials, &top) <= 1, "{what}");
        }
        // A grid has to take what is left of each combination.
        for (name, _, count) in lists.iter().skip(scientific).filter(|_| sampler != Grid) {
            let count = *count as usize;
            assert!(imbalance_within(&trials, &names, name, count) <= 1, "{name} of {what}");
            // Without a range, a configuration that is new comes before balance among all trials. With three scientific
            // lists, so does balance among those with one value of one of them.
            let most = match (scientific, has_range) {
                (0, _) | (..=2, true) => 1,
                (1, false) => 4,
                (2, false) => 6,
                _ => 16,
            };
            let among_all = imbalance(trials.iter(), name, count);
            worst[scientific][usize::from(has_range)] = worst[scientific][usize::from(has_range)].max(among_all);
            assert!(among_all <= most, "{name} of {what}: {among_all}");
            for (one, _) in top.iter().filter(|_| has_range) {
                let most = [1, 5, 10][scientific.clamp(1, 3) - 1];
                let with_one = imbalance_within(&trials, &[*one], name, count);
                worst[scientific][2] = worst[scientific][2].max(with_one);
                assert!(with_one <= most, "{name} with {one} of {what}: {with_one}");
            }
        }
    }
    println!("the largest differences of nuisance lists: {worst:?}");
}

#[test]
fn nuisance_lists_are_balanced_among_all_trials_also_under_conditions_and_after_widening() {
    use Role::{Nuisance, Scientific};
    let tree = |arms| {
        let range = Distribution::uniform(0.0, 1.0).unwrap();
        let mut tree = space(&[("a", Scientific, choice(arms)), ("n", Nuisance, choice(3)), ("x", Nuisance, range)]);
        for (name, of, values, count) in [("m", "a", vec![0, 1], 2), ("o", "a", vec![1, 2], 4), ("p", "n", vec![1], 2)]
        {
            let conditions = vec![Condition { name: of.into(), values: values.into_iter().map(Value::Int).collect() }];
            let (name, role) = (name.into(), Nuisance);
            tree.declare(Hyperparameter { name, role, distribution: choice(count), conditions }).unwrap();
        }
        tree
    };
    for (seed, sampler) in (0..40).flat_map(|seed| [SamplerKind::Quasirandom, SamplerKind::Sobol].map(|s| (seed, s))) {
        let definition = StudyDefinition { sampler, ..study(tree(3), seed) };
        let trials = proposed(&definition, 200);
        for (name, count) in [("n", 3), ("m", 2), ("o", 4)] {
            assert!(imbalance(trials.iter(), name, count) <= 1, "{name} with {sampler}, seed {seed}");
            assert!(imbalance_within(&trials, &["a"], name, count) <= 1, "{name} with {sampler}, seed {seed}");
        }
        // A value is added, and has caught up after 37 trials. Once all counts are equal, the differences are small.
        let trials = proposed(&definition.widened(tree(4), 28), 240);
        assert!(imbalance_within(&trials, &["a"], "n", 3) <= 1, "{sampler}, seed {seed}");
        let late = |last: usize| {
            let counts = [0, 1, 2].map(|value| with(&trials[..last], "n", value).count());
            counts.iter().max().unwrap() - counts.iter().min().unwrap()
        };
        assert!((60..240).all(|last| late(last) <= 1), "{sampler}, seed {seed}");
    }
}

#[test]
fn a_part_of_a_space_with_few_configurations_keeps_its_share() {
    use Role::{Nuisance, Scientific};
    use SamplerKind::{Quasirandom, Sobol};
    let unit = || Distribution::uniform(0.0, 1.0).unwrap();
    for (role, seed, sampler) in (0..20)
        .flat_map(|seed| [(Scientific, seed, Quasirandom), (Nuisance, seed, Quasirandom), (Nuisance, seed, Sobol)])
    {
        let tree = |children: &[(i64, Distribution)]| {
            let mut tree = space(&[("n", role, Distribution::int(1, 3).unwrap())]);
            for (k, (value, distribution)) in children.iter().enumerate() {
                let conditions = vec![Condition { name: "n".into(), values: vec![Value::Int(*value)] }];
                let (name, distribution) = (format!("x{k}"), distribution.clone());
                tree.declare(Hyperparameter { name, role: Nuisance, distribution, conditions }).unwrap();
            }
            tree
        };
        let one = tree(&[(2, unit())]);
        let several = tree(&[
            (1, Distribution::int(1, 2).unwrap()),
            (1, choice(2)),
            (2, unit()),
            (3, Distribution::log_int(1, 3).unwrap()),
        ]);
        for (space, sizes) in [(one, [1, 24, 1]), (several, [4, 24, 3])] {
            let trials = proposed(&StudyDefinition { sampler, ..study(space, seed) }, 24);
            for (value, size) in [1, 2, 3].into_iter().zip(sizes) {
                let of: Vec<&Params> = with(&trials, "n", value).collect();
                assert!((5..=11).contains(&of.len()), "n = {value} {} times with {sampler}, seed {seed}", of.len());
                // Each configuration of the part comes before one comes twice.
                let first: HashSet<String> = of.iter().take(size).map(|params| format!("{params:?}")).collect();
                assert_eq!(first.len(), size.min(of.len()), "n = {value} with {sampler}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_scientific_list_that_is_not_widened_stays_balanced_beside_one_that_is() {
    let [_, _, _, narrow, wide, _] = spaces_of_version_8();
    for (seed, first) in (0..40).flat_map(|seed| [3, 10, 13].map(|first| (seed, first))) {
        let trials = proposed(&study(narrow.clone(), seed).widened(wide.clone(), first), 80);
        assert!(imbalance(trials.iter(), "act", 2) <= 1, "seed {seed}, {first}");
        let caught_up = |last: usize, count: i64| {
            let counts: Vec<usize> = (0..count).map(|value| with(&trials[..last], "model", value).count()).collect();
            counts.iter().max().unwrap() - counts.iter().min().unwrap()
        };
        assert!((0..first as usize).all(|last| caught_up(last, 2) <= 1));
        assert!((20..80).all(|last| caught_up(last, 3) <= 1), "seed {seed}, {first}");
        let combinations = [0, 1, 2].map(|model| {
            let of: Vec<Params> = with(&trials, "model", model).cloned().collect();
            [0, 1].map(|act| with(&of, "act", act).count())
        });
        let (least, most) =
            (combinations.iter().flatten().min().unwrap(), combinations.iter().flatten().max().unwrap());
        assert!(most - least <= 2, "{combinations:?}, seed {seed}, {first}");
    }
}

#[test]
fn every_prefix_is_balanced_in_random_spaces_with_every_sampler_and_after_widening() {
    use Role::{Nuisance, Scientific};
    use SamplerKind::{Bayes, Quasirandom, Random, Sobol};
    for seed in 0..40 {
        let drawn = |node: usize, least: i64, most: i64| {
            least + (keyed::uniform(seed, node, 0) * (most - least + 1) as f64) as i64
        };
        let (arms, count, more) = (drawn(0, 2, 5), drawn(1, 2, 6), drawn(2, 1, 3));
        let declared = |arms| {
            space(&[
                ("lr", Nuisance, Distribution::uniform(0.0, 1.0).unwrap()),
                ("arm", Scientific, choice(arms)),
                ("list", Nuisance, choice(count)),
            ])
        };
        for sampler in [Quasirandom, Sobol, Random, Bayes] {
            let before = StudyDefinition { sampler, ..study(declared(arms), seed) };
            let first = drawn(3, 5, 30) as u32;
            let earlier = proposed(&before, u64::from(first));
            assert!(imbalance(earlier.iter(), "arm", arms as usize) <= 1, "{sampler} {seed}");
            // Each trial after the change gets one of the values that occurred least.
            let all = proposed(&before.widened(declared(arms + more), first), 70);
            assert_eq!(all[..first as usize], earlier);
            let mut counts = vec![0; (arms + more) as usize];
            for (index, params) in all.iter().enumerate() {
                let arm = params["arm"].as_i64().unwrap() as usize;
                let least = counts[..if index < first as usize { arms } else { arms + more } as usize].iter().min();
                assert_eq!(Some(&counts[arm]), least, "{sampler}, seed {seed}, trial {index}: {counts:?}");
                counts[arm] += 1;
            }
            for arm in (0..arms + more).filter(|_| matches!(sampler, Quasirandom | Sobol)) {
                let within = imbalance(with(&all, "arm", arm), "list", count as usize);
                assert!(within <= 1, "{sampler}, seed {seed}: {within} in arm {arm}");
            }
        }
    }
}

#[test]
fn given_configurations_that_are_added_come_next_and_the_sampler_goes_on_after_them() {
    use Role::{Nuisance, Scientific};
    let given = |arm: i64, list: i64| -> Params {
        let values = [("arm", Value::Int(arm)), ("list", Value::Int(list)), ("x", Value::Float(0.375))];
        values.map(|(name, value)| (name.to_string(), value)).into()
    };
    let range = Distribution::uniform(0.0, 1.0).unwrap();
    let declared = [("arm", Scientific, choice(3)), ("list", Nuisance, choice(2)), ("x", Nuisance, range)];
    for sampler in [SamplerKind::Quasirandom, SamplerKind::Sobol, SamplerKind::Random, SamplerKind::Bayes] {
        for seed in 0..10 {
            let plain = StudyDefinition { sampler, ..study(space(&declared), seed) };
            let first = plain.with_given(vec![given(0, 0), given(0, 1)], 0);
            assert!(first.given_later.is_empty(), "nothing comes before them");
            let before = proposed(&first, 11);
            assert_eq!(before[..2], [given(0, 0), given(0, 1)]);
            // Two are added after eleven configurations, and one after fourteen.
            let added = first.with_given([first.given.clone(), vec![given(1, 0), given(2, 0)]].concat(), 11);
            let last = added.with_given([added.given.clone(), vec![given(1, 1)]].concat(), 14);
            let all = proposed(&last, 36);
            assert_eq!(all[..11], before, "what was proposed stays");
            assert_eq!(all[11..13], [given(1, 0), given(2, 0)]);
            assert_eq!(all[..14], proposed(&added, 14));
            assert_eq!(all[14], given(1, 1));
            let positions: Vec<u32> = last.given_configurations().map(|(index, _)| index).collect();
            assert_eq!(positions, [0, 1, 11, 12, 14]);
            assert!((0..36).all(|index| last.is_given(index) == positions.contains(&index)));
            // The sampler does not count what was given: the others are balanced, at any time.
            let is_drawn = |(index, _): &(usize, &Params)| !last.is_given(*index as u32);
            let drawn: Vec<Params> =
                all.iter().enumerate().filter(is_drawn).map(|(_, params)| params.clone()).collect();
            assert!(imbalance(drawn.iter(), "arm", 3) <= 1, "{sampler}, seed {seed}");
            // They are those of a study without given ones. `random` draws by the index, and `bayes` learns from all.
            if matches!(sampler, SamplerKind::Quasirandom | SamplerKind::Sobol) {
                assert_eq!(drawn, proposed(&plain, 31), "{sampler}, seed {seed}");
            }
            // Nothing is repeated.
            let different: HashSet<String> = all.iter().map(|params| format!("{params:?}")).collect();
            assert_eq!(different.len(), 36, "{sampler}, seed {seed}");
            // The record is all that it takes.
            let read: StudyDefinition = serde_json::from_str(&serde_json::to_string(&last).unwrap()).unwrap();
            assert_eq!((proposed(&read, 36), read), (all, last));
        }
    }
}

#[test]
fn given_configurations_that_follow_those_before_them_need_no_place_of_their_own() {
    let given: Vec<Params> = (0..4).map(|n| [("n".to_string(), Value::Int(n))].into()).collect();
    let whole = Distribution::int(0, 9).unwrap();
    let first = study(space(&[("n", Role::Nuisance, whole)]), 0).with_given(given[..2].to_vec(), 0);
    // One of the two was trained when two more are added.
    let more = first.with_given(given.clone(), 1);
    assert!(more.given_later.is_empty());
    assert_eq!(proposed(&more, 4), given);
    assert_eq!((more.next_given(1), more.next_given(7)), (4, 7));
    // Of three that were added, one was trained.
    let later = study(first.space.clone(), 0).with_given(given[..3].to_vec(), 5).with_given(given.clone(), 6);
    assert_eq!(later.given_later, [GivenLater { first: 0, configuration: 5 }]);
    assert_eq!(proposed(&later, 9)[5..], given);
}

#[test]
fn two_scientific_lists_are_compared_on_balanced_lists_and_well_spread_ranges() {
    use Role::{Nuisance, Scientific};
    let unit = Distribution::uniform(0.0, 1.0).unwrap();
    for (a, b, list) in [(2, 2, 2), (2, 3, 2), (3, 2, 4), (3, 3, 3), (2, 4, 3)] {
        let declared = [
            ("a", Scientific, choice(a)),
            ("b", Scientific, choice(b)),
            ("list", Nuisance, choice(list)),
            ("x", Nuisance, unit.clone()),
            ("y", Nuisance, unit.clone()),
        ];
        for (sampler, seed) in [SamplerKind::Quasirandom, SamplerKind::Sobol].into_iter().flat_map(|s| [(s, 1), (s, 2)])
        {
            let definition = StudyDefinition { sampler, ..study(space(&declared), seed) };
            let trials = proposed(&definition, (16 * a * b) as u64);
            let what = format!("{sampler} with {a} and {b} values, seed {seed}");
            assert!(imbalance(trials.iter(), "list", list as usize) <= 1, "{what}");
            for (name, count) in [("a", a), ("b", b)] {
                assert!(imbalance(trials.iter(), name, count as usize) <= 1, "{name}: {what}");
                for value in 0..count {
                    let within: Vec<Params> = with(&trials, name, value).cloned().collect();
                    assert!(imbalance(within.iter(), "list", list as usize) <= 4, "list in {name} = {value}: {what}");
                    assert!(
                        imbalance(within.iter(), if name == "a" { "b" } else { "a" }, (a * b / count) as usize) <= 1
                    );
                    for other in 0..a * b / count {
                        let arm: Vec<Params> =
                            with(&within, if name == "a" { "b" } else { "a" }, other).cloned().collect();
                        assert_eq!(arm.len(), 16);
                        assert!(imbalance(arm.iter(), "list", list as usize) <= 1, "list in an arm: {what}");
                        // The mean of 16 random numbers would have a standard deviation of 0.072.
                        for range in ["x", "y"] {
                            let mean = arm.iter().map(|params| params[range].as_f64().unwrap()).sum::<f64>() / 16.0;
                            assert!((mean - 0.5).abs() < 0.08, "the mean of {range} is {mean}: {what}");
                        }
                    }
                }
            }
        }
    }
}

/// A number that stands for what a study proposes (FNV-1a of the text).
fn fingerprint(definition: &StudyDefinition, count: u64) -> u64 {
    let text = serde_json::to_string(&proposed(definition, count)).unwrap();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Three scientific lists, a scientific list below one of them and one below a nuisance list, lists and a range.
fn branching() -> SearchSpace {
    use Role::{Nuisance, Scientific};
    let mut tree = space(&[
        ("n", Nuisance, choice(3)),
        ("a", Scientific, choice(3)),
        ("x", Nuisance, Distribution::uniform(0.0, 1.0).unwrap()),
        ("b", Scientific, choice(2)),
        ("c", Scientific, choice(2)),
    ]);
    for (name, role, count, of, value) in
        [("d", Scientific, 3, "a", 0), ("e", Scientific, 2, "n", 1), ("m", Nuisance, 2, "a", 1)]
    {
        let conditions = vec![Condition { name: of.into(), values: vec![Value::Int(value)] }];
        tree.declare(Hyperparameter { name: name.into(), role, distribution: choice(count), conditions }).unwrap();
    }
    tree
}

#[test]
fn each_earlier_version_proposes_what_it_proposed() {
    let given = |a: i64, x: f64| -> Params {
        let lists = [("n", 0), ("a", a), ("b", 1), ("c", 0), ("d", 2)].map(|(name, value)| (name, Value::Int(value)));
        let all = lists.into_iter().chain([("x", Value::Float(x))]).filter(|(name, _)| *name != "d" || a == 0);
        all.map(|(name, value)| (name.to_string(), value)).collect()
    };
    let lists = space(&[
        ("a", Role::Scientific, choice(3)),
        ("b", Role::Scientific, choice(2)),
        ("c", Role::Nuisance, choice(4)),
    ]);
    let wider = space(&[
        ("a", Role::Scientific, choice(4)),
        ("b", Role::Scientific, choice(2)),
        ("c", Role::Nuisance, choice(5)),
    ]);
    for (sampler_version, recorded) in RECORDED {
        let of =
            |sampler, space: &SearchSpace| StudyDefinition { sampler, sampler_version, ..study(space.clone(), 11) };
        let shown: Vec<u64> = [SamplerKind::Quasirandom, SamplerKind::Sobol, SamplerKind::Random, SamplerKind::Bayes]
            .into_iter()
            .map(|sampler| {
                let first = of(sampler, &branching()).with_given(vec![given(0, 0.25), given(1, 0.5)], 0);
                let more = first.with_given([first.given.clone(), vec![given(2, 0.75)]].concat(), 9);
                fingerprint(&more, 60)
            })
            .chain([fingerprint(&of(SamplerKind::Grid, &lists), 24)])
            .chain([SamplerKind::Quasirandom, SamplerKind::Grid].map(|sampler| {
                let wider = of(sampler, &lists).widened(wider.clone(), 10);
                fingerprint(&StudyDefinition { sampler_version, ..wider }, 40)
            }))
            .collect();
        assert_eq!(shown, recorded, "version {sampler_version}: {shown:#018x?}");
    }
}

/// Spaces that the rules of version 8 concern: a branch of a range of whole numbers, three nuisance lists with and
/// without a range, a space with two scientific lists, the same with one more value, and four scientific lists.
fn spaces_of_version_8() -> [SearchSpace; 6] {
    use Role::{Nuisance, Scientific};
    let unit = || Distribution::uniform(0.0, 1.0).unwrap();
    let mut whole = space(&[("n", Scientific, Distribution::int(1, 3).unwrap())]);
    let conditions = vec![Condition { name: "n".into(), values: vec![Value::Int(2)] }];
    whole.declare(Hyperparameter { name: "x".into(), role: Nuisance, distribution: unit(), conditions }).unwrap();
    let lists = [("a", Scientific, choice(3)), ("n", Nuisance, choice(3)), ("m", Nuisance, choice(2))];
    let lists = [&lists[..], &[("k", Nuisance, choice(4))]].concat();
    let with_range = [&lists[..], &[("x", Nuisance, unit())]].concat();
    let two = |models| {
        let mut two =
            space(&[("model", Scientific, choice(models)), ("act", Scientific, choice(2)), ("x", Nuisance, unit())]);
        let conditions = vec![Condition { name: "model".into(), values: vec![Value::Int(0)] }];
        two.declare(Hyperparameter { name: "k".into(), role: Nuisance, distribution: choice(2), conditions }).unwrap();
        two
    };
    let four = [("a", Scientific, choice(3)), ("b", Scientific, choice(2)), ("c", Scientific, choice(4))];
    let four = [&four[..], &[("d", Scientific, choice(2)), ("n", Nuisance, choice(2))]].concat();
    [whole, space(&lists), space(&with_range), two(2), two(3), space(&four)]
}

#[test]
fn versions_6_and_7_propose_what_they_did_where_version_8_has_other_rules() {
    let [whole, lists, with_range, narrow, wide, four] = spaces_of_version_8();
    for (sampler_version, recorded) in RECORDED_BEFORE_8 {
        let of = |sampler, space: &SearchSpace| StudyDefinition { sampler, sampler_version, ..study(space.clone(), 5) };
        let widened = of(SamplerKind::Quasirandom, &narrow).widened(wide.clone(), 10);
        let shown = [
            fingerprint(&of(SamplerKind::Quasirandom, &whole), 24),
            fingerprint(&of(SamplerKind::Quasirandom, &lists), 80),
            fingerprint(&of(SamplerKind::Sobol, &with_range), 80),
            fingerprint(&StudyDefinition { sampler_version, ..widened }, 50),
            fingerprint(&of(SamplerKind::Grid, &four), 96),
        ];
        assert_eq!(shown, recorded, "version {sampler_version}: {shown:#018x?}");
    }
}

const RECORDED_BEFORE_8: [(u32, [u64; 5]); 2] = [
    (
        6,
        [
            0xd15c_eb69_35c0_661b,
            0x633b_5202_f865_3fd9,
            0x8408_ba86_63fd_04f8,
            0xb2c4_86cf_22fa_91b9,
            0x2853_985d_a967_eb1d,
        ],
    ),
    (
        7,
        [
            0xd15c_eb69_35c0_661b,
            0x633b_5202_f865_3fd9,
            0x8408_ba86_63fd_04f8,
            0xb2c4_86cf_22fa_91b9,
            0x2853_985d_a967_eb1d,
        ],
    ),
];

/// Fingerprints of quasirandom, sobol, random, bayes without results, grid, and two widened studies. They were recorded
/// when version 6 was the newest, and those of version 7 when that was.
const RECORDED: [(u32, [u64; 7]); 6] = [
    (
        2,
        [
            0x0a00_ace7_eceb_0428,
            0x065a_1045_33e4_5d14,
            0xf848_ec63_a49e_4e56,
            0x065a_1045_33e4_5d14,
            0x59c1_2868_fd7b_c29d,
            0xd98a_cbce_5c92_3ec5,
            0x0dfc_8960_2e54_00e5,
        ],
    ),
    (
        3,
        [
            0x0a00_ace7_eceb_0428,
            0x5c28_261b_c56b_91b1,
            0xc672_5941_f523_9050,
            0x0a00_ace7_eceb_0428,
            0x59c1_2868_fd7b_c29d,
            0xd98a_cbce_5c92_3ec5,
            0x0dfc_8960_2e54_00e5,
        ],
    ),
    (
        4,
        [
            0x0a00_ace7_eceb_0428,
            0x5c28_261b_c56b_91b1,
            0xc672_5941_f523_9050,
            0x0a00_ace7_eceb_0428,
            0x59c1_2868_fd7b_c29d,
            0xd98a_cbce_5c92_3ec5,
            0x0dfc_8960_2e54_00e5,
        ],
    ),
    (
        5,
        [
            0x0a00_ace7_eceb_0428,
            0x5c28_261b_c56b_91b1,
            0xc672_5941_f523_9050,
            0x0a00_ace7_eceb_0428,
            0x59c1_2868_fd7b_c29d,
            0xd98a_cbce_5c92_3ec5,
            0x0dfc_8960_2e54_00e5,
        ],
    ),
    (
        6,
        [
            0x29f5_4e9c_d674_e411,
            0xc6f0_a656_e865_39f9,
            0x95b2_c1c3_93f0_def0,
            0x29f5_4e9c_d674_e411,
            0xbae1_f275_3021_ce25,
            0x3e07_ae45_7755_fdfd,
            0xf03b_d8bf_a46a_1455,
        ],
    ),
    (
        7,
        [
            0x4a4e_764d_9cc4_32a9,
            0x3a1c_a4fb_8878_fe94,
            0x8657_0226_720c_4cc5,
            0x4a4e_764d_9cc4_32a9,
            0xbae1_f275_3021_ce25,
            0x3e07_ae45_7755_fdfd,
            0xf03b_d8bf_a46a_1455,
        ],
    ),
];

/// The largest difference between the counts of two values of a list, after any number of trials, among the trials with
/// the same values of the lists before it.
fn imbalance_within(trials: &[Params], before: &[&str], name: &str, count: usize) -> u64 {
    let mut groups: HashMap<String, Vec<Params>> = HashMap::new();
    for params in trials.iter().filter(|params| params.contains_key(name)) {
        let values: Vec<String> = before.iter().map(|name| format!("{:?}", params.get(*name))).collect();
        groups.entry(values.join(" ")).or_default().push(params.clone());
    }
    groups.values().map(|group| imbalance(group.iter(), name, count)).max().unwrap_or(0)
}

/// The largest difference between the counts of two combinations of lists, after any number of trials.
fn imbalance_of_combinations(trials: &[Params], lists: &[(&str, i64)]) -> u64 {
    let size: i64 = lists.iter().map(|(_, count)| count).product();
    let combined = |params: &Params| lists.iter().fold(0, |at, (name, n)| at * n + params[*name].as_i64().unwrap());
    let numbers: Vec<Params> =
        trials.iter().map(|params| [("number".to_string(), Value::Int(combined(params)))].into()).collect();
    imbalance(numbers.iter(), "number", size as usize)
}

const NAMES: [&str; 11] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];

/// Scientific lists of so many values, with others before, between and after them.
fn factorial(sizes: &[i64]) -> (SearchSpace, Vec<(&'static str, i64)>) {
    use Role::{Nuisance, Scientific};
    let lists: Vec<(&str, i64)> = NAMES.into_iter().zip(sizes.iter().copied()).collect();
    let mut declared = vec![("n", Nuisance, choice(3))];
    declared.extend(lists.iter().map(|(name, count)| (*name, Scientific, choice(*count))));
    declared.insert(1 + lists.len() / 2, ("x", Nuisance, Distribution::uniform(0.0, 1.0).unwrap()));
    (space(&declared), lists)
}

#[test]
fn any_number_of_scientific_lists_and_their_combinations_are_balanced_after_each_trial() {
    use SamplerKind::{Bayes, Quasirandom, Random, Sobol};
    let sizes: [&[i64]; 10] = [
        &[3, 2, 2],
        &[2, 2, 3],
        &[2, 2, 2],
        &[3, 2, 4],
        &[2, 3, 4, 2],
        &[3, 3, 3],
        &[2, 2, 2, 2, 2],
        &[4, 6],
        &[5, 3],
        // More combinations than are compared with each other.
        &[4, 6, 3, 2, 5],
    ];
    for sizes in sizes {
        let (space, lists) = factorial(sizes);
        for (seed, sampler) in (0..40).flat_map(|seed| [Quasirandom, Sobol, Random, Bayes].map(|s| (seed, s))) {
            // Version 6 does this with two lists.
            for sampler_version in if sizes.len() > 2 { 7..=VERSION } else { 6..=VERSION } {
                let definition = StudyDefinition { sampler, sampler_version, ..study(space.clone(), seed) };
                let trials = proposed(&definition, if seed == 0 { 150 } else { 60 });
                let what = format!("{sizes:?} with {sampler} {sampler_version}, seed {seed}");
                for (name, count) in &lists {
                    assert!(imbalance(trials.iter(), name, *count as usize) <= 1, "{name}: {what}");
                }
                assert!(imbalance_of_combinations(&trials, &lists) <= 1, "{what}");
                if matches!(sampler, Quasirandom | Sobol) {
                    let names: Vec<&str> = lists.iter().map(|(name, _)| *name).collect();
                    assert!(imbalance_within(&trials, &names, "n", 3) <= 1, "{what}");
                }
            }
        }
    }
}

#[test]
fn more_combinations_than_are_compared_with_each_other_occur_once_before_one_occurs_twice() {
    for sizes in [&[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3][..], &[4, 6, 5, 2, 3], &[5, 5, 5, 5, 2]] {
        let (space, lists) = factorial(sizes);
        for seed in 0..2 {
            let trials = proposed(&study(space.clone(), seed), sizes.iter().product::<i64>() as u64);
            let combination =
                |params: &Params| lists.iter().map(|(name, _)| params[*name].as_i64()).collect::<Vec<_>>();
            let different: HashSet<Vec<Option<i64>>> = trials.iter().map(combination).collect();
            assert_eq!(different.len(), trials.len(), "{sizes:?}, seed {seed}");
            for (name, count) in &lists {
                assert!(imbalance(trials.iter(), name, *count as usize) <= 1, "{name} of {sizes:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn with_one_or_two_scientific_lists_version_7_proposes_what_version_6_did() {
    for sizes in [&[][..], &[4], &[3, 2], &[2, 5]] {
        for (seed, sampler) in
            (0..10).flat_map(|seed| [SamplerKind::Quasirandom, SamplerKind::Random].map(|s| (seed, s)))
        {
            let of = |sampler_version| {
                proposed(&StudyDefinition { sampler, sampler_version, ..study(factorial(sizes).0, seed) }, 60)
            };
            assert_eq!(of(6), of(7), "{sizes:?}, seed {seed}");
        }
    }
    // With three, it does not.
    let of = |sampler_version| proposed(&StudyDefinition { sampler_version, ..study(factorial(&[3, 2, 2]).0, 0) }, 12);
    assert_ne!(of(6), of(7));
}

#[test]
fn version_8_proposes_what_version_7_did_where_that_was_balanced_and_with_three_or_more_scientific_lists() {
    let others: [&[i64]; 4] = [&[], &[4], &[3, 2, 2], &[2, 3, 2, 2]];
    for (sizes, seed) in others.into_iter().flat_map(|sizes| (0..10).map(move |seed| (sizes, seed))) {
        for sampler in [SamplerKind::Quasirandom, SamplerKind::Sobol, SamplerKind::Random] {
            let of = |sampler_version| {
                proposed(&StudyDefinition { sampler, sampler_version, ..study(factorial(sizes).0, seed) }, 60)
            };
            assert_eq!(of(7), of(8), "{sizes:?} with {sampler}, seed {seed}");
        }
    }
    // With two, nuisance lists are balanced among all trials too.
    let of = |sampler_version| proposed(&StudyDefinition { sampler_version, ..study(factorial(&[3, 2]).0, 0) }, 30);
    assert_ne!(of(7), of(8));
}

#[test]
fn scientific_lists_are_balanced_together_when_values_are_added() {
    for (before, after) in [([2, 2, 2], [3, 2, 2]), ([3, 2, 2], [3, 2, 3]), ([2, 2, 2], [2, 4, 3])] {
        for (seed, first) in (0..20).flat_map(|seed| [5, 12, 17].map(|first| (seed, first))) {
            let narrow = study(factorial(&before).0, seed);
            let (space, lists) = factorial(&after);
            let wide = narrow.widened(space, first);
            let trials = proposed(&wide, 200);
            assert_eq!(trials[..first as usize], proposed(&narrow, u64::from(first)));
            // After the change, each trial takes one of the values of each list that occurred least.
            for ((name, count), known) in lists.iter().zip(before) {
                let mut counts = vec![0; *count as usize];
                for (index, params) in trials.iter().enumerate() {
                    let value = params[*name].as_i64().unwrap() as usize;
                    let there = if index < first as usize { known } else { *count } as usize;
                    let least = counts[..there].iter().min();
                    assert_eq!(Some(&counts[value]), least, "{name} of {after:?}, seed {seed}, trial {index}");
                    counts[value] += 1;
                }
            }
            let mut combinations: HashMap<[i64; 3], i64> = HashMap::new();
            for params in &trials {
                *combinations.entry(["a", "b", "c"].map(|name| params[name].as_i64().unwrap())).or_default() += 1;
            }
            let (least, most) = (combinations.values().min().unwrap(), combinations.values().max().unwrap());
            let all: i64 = after.iter().product();
            assert_eq!(combinations.len() as i64, all);
            assert!(most - least <= 3, "{least} to {most} of each combination of {after:?}, seed {seed}");
        }
    }
}

#[test]
fn nuisance_hyperparameters_are_balanced_among_trials_with_the_same_scientific_values_of_branches_too() {
    use Role::{Nuisance, Scientific};
    let unit = Distribution::uniform(0.0, 1.0).unwrap();
    // A list under a condition, and one below it. The nuisance hyperparameters are declared before, between and after.
    let tree = |top: &[(&str, i64)]| {
        let mut tree = space(&[("x", Nuisance, unit.clone()), ("n", Nuisance, choice(3))]);
        let mut declare = |name: &str, role, distribution, of: Option<(&str, Vec<i64>)>| {
            let condition =
                of.map(|(of, v)| Condition { name: of.into(), values: v.into_iter().map(Value::Int).collect() });
            let (name, conditions) = (name.into(), condition.into_iter().collect());
            tree.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
        };
        top.iter().for_each(|(name, count)| declare(name, Scientific, choice(*count), None));
        declare("d", Scientific, choice(3), Some(("a", vec![0, 2])));
        declare("m", Nuisance, choice(2), Some(("a", vec![0])));
        declare("e", Scientific, choice(2), Some(("d", vec![1])));
        declare("y", Nuisance, unit.clone(), None);
        tree
    };
    for top in [&[("a", 3)][..], &[("a", 3), ("b", 2)], &[("a", 3), ("b", 2), ("c", 2)]] {
        for (seed, sampler) in
            (0..40).flat_map(|seed| [SamplerKind::Quasirandom, SamplerKind::Sobol].map(|s| (seed, s)))
        {
            let definition = StudyDefinition { sampler, ..study(tree(top), seed) };
            let trials = proposed(&definition, 200);
            let what = format!("{top:?} with {sampler}, seed {seed}");
            let names: Vec<&str> = top.iter().map(|(name, _)| *name).chain(["d", "e"]).collect();
            for (place, (name, count)) in top.iter().copied().chain([("d", 3), ("e", 2)]).enumerate() {
                let alone = imbalance(trials.iter(), name, count as usize);
                // With two lists under conditions, both cannot always be exact.
                let most = if place < top.len() || top.len() == 1 { 1 } else { 2 };
                assert!(alone <= most, "{name} of {what}: {alone}");
                if place >= top.len() {
                    let within = imbalance_within(&trials, &names[..place], name, count as usize);
                    assert!(within <= most, "{name} of {what}: {within}");
                }
            }
            assert!(imbalance_of_combinations(&trials, top) <= 1, "{what}");
            for (name, count) in [("n", 3), ("m", 2)] {
                assert!(imbalance_within(&trials, &names, name, count) <= 1, "{name} of {what}");
            }
            // In each arm, the first four points of a range fall into its four quarters.
            let mut arms: HashMap<String, Vec<&Params>> = HashMap::new();
            for params in &trials {
                let values: Vec<String> = names.iter().map(|name| format!("{:?}", params.get(*name))).collect();
                arms.entry(values.join(" ")).or_default().push(params);
            }
            for arm in arms.values().filter(|arm| arm.len() >= 4) {
                let mut quarters = [0; 4];
                arm[..4].iter().for_each(|params| quarters[(params["x"].as_f64().unwrap() * 4.0) as usize] += 1);
                assert_eq!(quarters, [1; 4], "{what}");
            }
        }
    }
}

#[test]
fn a_scientific_list_below_a_nuisance_list_is_dealt_once_that_is_known() {
    for seed in 0..40 {
        let trials = proposed(&study(branching(), seed), 240);
        let arm = ["a", "b", "c", "d", "e"];
        for (name, count, most) in [("a", 3, 1), ("b", 2, 1), ("c", 2, 1), ("d", 3, 2)] {
            assert!(imbalance(trials.iter(), name, count) <= most, "{name}, seed {seed}");
        }
        let (alone, within) = (imbalance(trials.iter(), "e", 2), imbalance_within(&trials, &arm[..4], "e", 2));
        // Up to 36 arms, in an order that depends on the nuisance list: both are near balance, and none is exact.
        assert!(alone <= 2 && within <= 3, "{alone} in all and {within} in an arm, seed {seed}");
        assert!(imbalance_within(&trials, &arm[..4], "n", 3) <= 1, "seed {seed}");
        assert!(imbalance_within(&trials, &arm, "m", 2) <= 1, "seed {seed}");
    }
}

#[test]
fn given_configurations_count_neither_at_the_beginning_nor_after_a_wider_space_nor_in_a_grid() {
    use Role::{Nuisance, Scientific};
    let given = |arm: i64, list: i64| -> Params {
        [("arm", arm), ("list", list)].map(|(name, value)| (name.to_string(), Value::Int(value))).into()
    };
    let with_range = |arms| {
        let mut declared = space(&[("arm", Scientific, choice(arms)), ("list", Nuisance, choice(3))]);
        let distribution = Distribution::uniform(0.0, 1.0).unwrap();
        let (name, role) = ("x".into(), Nuisance);
        declared.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
        declared
    };
    let drawn = |definition: &StudyDefinition, trials: &[Params]| -> Vec<Params> {
        let numbered = trials.iter().zip(0..).filter(|(_, index)| !definition.is_given(*index));
        numbered.map(|(params, _)| params.clone()).collect()
    };
    for seed in 0..20 {
        let one_arm: Vec<Params> = (0..5)
            .map(|n| Params::from_iter(given(0, n % 3).into_iter().chain([("x".into(), Value::Float(0.5))])))
            .collect();
        let first = study(with_range(2), seed).with_given(one_arm[..3].to_vec(), 0);
        let trials = drawn(&first, &proposed(&first, 11));
        assert_eq!(trials, proposed(&study(with_range(2), seed), 8), "all are drawn as if none was given");
        // A wider space begins, and two more are given in it.
        let wide = first.widened(with_range(3), 11).with_given(one_arm.clone(), 13);
        let trials = drawn(&wide, &proposed(&wide, 11 + 2 + 26));
        assert_eq!(trials.len(), 34);
        for (index, params) in trials.iter().enumerate().skip(8) {
            let count = |arm: i64| with(&trials[..index], "arm", arm).count();
            let least = (0..3).map(count).min().unwrap();
            assert_eq!(count(params["arm"].as_i64().unwrap()), least, "seed {seed}, trial {index}");
        }
        for arm in 0..3 {
            let trials: Vec<Params> = with(&trials, "arm", arm).cloned().collect();
            assert!(imbalance(trials.iter(), "list", 3) <= 1, "seed {seed}");
        }
        // An earlier version counts them.
        let earlier = StudyDefinition { sampler_version: 6, ..first.clone() };
        let trials = drawn(&earlier, &proposed(&earlier, 11));
        assert!(with(&trials, "arm", 0).count() < 4, "three of five or six were given");
        // A grid leaves them out, and does not count them.
        let lists = space(&[("arm", Scientific, choice(2)), ("list", Nuisance, choice(3))]);
        let grid =
            StudyDefinition { sampler: SamplerKind::Grid, ..study(lists, seed) }.with_given(vec![given(0, 1)], 0);
        let trials = proposed(&grid, 9);
        assert_eq!(trials.len(), 6, "each once");
        assert!(imbalance(trials[1..5].iter(), "arm", 2) <= 1);
        assert_eq!((&trials[1]["arm"], &trials[2]["arm"]), (&Value::Int(0), &Value::Int(1)));
    }
}

#[test]
fn a_given_configuration_is_not_drawn_while_balance_allows_others() {
    use Role::{Nuisance, Scientific};
    let lists = [("a", Scientific, choice(2)), ("b", Nuisance, choice(3)), ("c", Nuisance, choice(4))];
    for seed in 0..20 {
        let given: Params = [("a", 0), ("b", 1), ("c", 2)].map(|(name, v)| (name.to_string(), Value::Int(v))).into();
        let definition = study(space(&lists), seed).with_given(vec![given], 0);
        let trials = proposed(&definition, 13);
        let different: HashSet<String> = trials.iter().map(|params| format!("{params:?}")).collect();
        assert_eq!(different.len(), 13, "seed {seed}");
    }
}

#[test]
fn a_resumed_study_does_not_count_what_was_given_either() {
    let (space, lists) = factorial(&[3, 2, 2]);
    let given: Vec<Params> = (0..4)
        .map(|n| {
            let values = [("n", n % 3), ("a", 0), ("b", 0), ("c", n % 2)].map(|(name, v)| (name, Value::Int(v)));
            values.into_iter().chain([("x", Value::Float(0.5))]).map(|(name, v)| (name.to_string(), v)).collect()
        })
        .collect();
    let definition = StudyDefinition { sampler: SamplerKind::Bayes, ..study(space, 3) }.with_given(given.clone(), 0);
    let all = proposed(&definition, 40);
    let recorded: Vec<Trial> = all[..10]
        .iter()
        .zip(0..)
        .map(|(params, configuration)| Trial {
            number: configuration + 1,
            configuration,
            seed: 0,
            params: params.clone(),
            state: TrialState::Cancelled,
            reason: None,
            summaries: Summaries::default(),
            seconds: 0.0,
            started: 0.0,
        })
        .collect();
    let mut resumed = Proposals::resuming(&definition, &recorded);
    let again: Vec<Params> = (0..40).map(|index| resumed.get(index).unwrap()).collect();
    assert_eq!(again[..10], all[..10]);
    for (name, count) in &lists {
        assert!(imbalance(again[4..].iter(), name, *count as usize) <= 1, "{name}");
    }
    assert!(imbalance_of_combinations(&again[4..], &lists) <= 1);
}

#[test]
fn a_proposal_takes_little_time_with_many_combinations_too() {
    for sizes in [&[5, 5, 5, 5, 5, 5][..], &[2, 2, 2, 2, 2, 2], &[8, 8, 8], &[4, 4, 4, 4, 2]] {
        let (space, _) = factorial(sizes);
        let started = std::time::Instant::now();
        proposed(&study(space, 0), 500);
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0 / 500.0;
        println!("{sizes:?}: {milliseconds:.3} ms a proposal");
        // Less than 0.2 ms in a build with optimization. The limit is for others, on a machine that is busy.
        assert!(milliseconds < 20.0, "{sizes:?}: {milliseconds} ms");
    }
}
