//! The grid: every combination of the values of lists and constants. The combinations are the leaves of a tree, in
//! which a hyperparameter that is not active has no branches, so that no combination occurs twice.

use super::dealing::{Card, Dealt, is_first};
use crate::{Distribution, Hyperparameter, Params, Role, SearchSpace, Value};
use std::collections::{HashMap, HashSet};

/// The values of a hyperparameter. A range has none here; the parser refuses it in a grid.
fn values(distribution: &Distribution) -> &[Value] {
    match distribution {
        Distribution::Choice { values } => values,
        Distribution::Constant { value } => std::slice::from_ref(value),
        _ => &[],
    }
}

/// Visits the leaves below a node in order, until `visit` returns true. Returns whether it did.
fn walk(space: &SearchSpace, node: usize, params: &mut Params, visit: &mut impl FnMut(&Params) -> bool) -> bool {
    let Some(hyperparameter) = space.hyperparameters().get(node) else {
        return visit(params);
    };
    if !hyperparameter.is_active(params) {
        return walk(space, node + 1, params, visit);
    }
    for value in values(&hyperparameter.distribution) {
        params.insert(hyperparameter.name.clone(), value.clone());
        let stop = walk(space, node + 1, params, visit);
        params.pop();
        if stop {
            return true;
        }
    }
    false
}

/// The configuration at an index (from 0), if there is one.
pub(super) fn nth(space: &SearchSpace, index: u64) -> Option<Params> {
    let (mut left, mut found) = (index, None);
    walk(space, 0, &mut Params::new(), &mut |params| {
        if left == 0 {
            found = Some(params.clone());
            return true;
        }
        left -= 1;
        false
    });
    found
}

/// The first configuration that is wanted, if there is one.
pub(super) fn find(space: &SearchSpace, wanted: impl Fn(&Params) -> bool) -> Option<Params> {
    let mut found = None;
    walk(space, 0, &mut Params::new(), &mut |params| {
        found = wanted(params).then(|| params.clone());
        found.is_some()
    });
    found
}

/// A grid whose configurations come in an order that keeps the lists balanced: first each scientific list, then their
/// combinations, then each nuisance list within a combination, with each scientific value, and in all. Among equals,
/// the first one in the order of the tree. So every prefix of a grid is balanced, as far as branches of different sizes
/// allow (Playbook D10).
///
/// Since version 8, the combinations of several scientific lists are dealt out as by the other samplers, as long as
/// they have configurations left. What is described above then chooses among the configurations of a combination.
pub(super) struct Balanced {
    /// What was dealt of the combinations, if they are dealt out.
    dealt: Option<Dealt>,
    /// For each leaf in the order of the tree, its combination, and the numbers of its parts, the most important one
    /// first. None once it was made.
    leaves: Vec<Option<Leaf>>,
    /// The numbers of the parts.
    parts: HashMap<Vec<String>, u32>,
    /// How often each part was made.
    counts: Vec<u32>,
}

/// A configuration of the grid: the values of the scientific lists at the top of the tree, if they are dealt out, and
/// the numbers of the parts.
type Leaf = (Option<Vec<Card>>, Vec<u32>);

impl Balanced {
    /// The grid of a space, after these configurations.
    pub(super) fn new<'a>(version: u32, space: &SearchSpace, made: impl IntoIterator<Item = &'a Params>) -> Self {
        let (mut leaves, mut numbers) = (vec![], HashMap::new());
        // All seeds have the same grid.
        let mut dealt = (version >= 8 && scientific_lists(space) > 1).then(|| Dealt::new(0));
        dealt.iter_mut().for_each(|dealt| dealt.learn(space));
        walk(space, 0, &mut Params::new(), &mut |params| {
            let number = |part| {
                let next = numbers.len() as u32;
                *numbers.entry(part).or_insert(next)
            };
            let combination = dealt.as_ref().and_then(|dealt| dealt.combination_of(space, params));
            leaves.push(Some((combination, parts(space, params).into_iter().map(number).collect())));
            false
        });
        let mut grid = Self { dealt, leaves, counts: vec![0; numbers.len()], parts: numbers };
        made.into_iter().for_each(|params| grid.record(version, space, params));
        grid
    }

    /// Counts a configuration that was made.
    pub(super) fn record(&mut self, version: u32, space: &SearchSpace, params: &Params) {
        self.dealt.iter_mut().for_each(|dealt| dealt.record(version, space, params));
        // With one scientific list, its value is also the combination.
        for part in parts(space, params).into_iter().collect::<HashSet<_>>() {
            if let Some(number) = self.parts.get(&part) {
                self.counts[*number as usize] += 1;
            }
        }
    }

    /// The next configuration that is new. None if all were made.
    pub(super) fn next(&mut self, space: &SearchSpace, is_new: impl Fn(&Params) -> bool) -> Option<Params> {
        loop {
            let combinations = self.dealt.as_mut().map_or(vec![], |dealt| dealt.first_combinations(space));
            let left = || self.leaves.iter().enumerate().filter_map(|(index, leaf)| Some((index, leaf.as_ref()?)));
            let has_some = |combination: &&Vec<Card>| left().any(|(_, leaf)| leaf.0.as_ref() == Some(combination));
            let combination = combinations.iter().find(has_some);
            let is_next = |(_, leaf): &(usize, &Leaf)| combination.is_none() || leaf.0.as_ref() == combination;
            let count = |part: &u32| self.counts[*part as usize];
            let by_counts = |a: &Leaf, b: &Leaf| a.1.iter().map(count).cmp(b.1.iter().map(count));
            let (index, _) = left().filter(is_next).min_by(|(_, a), (_, b)| by_counts(a, b))?;
            self.leaves[index] = None;
            if let Some(params) = nth(space, index as u64).filter(&is_new) {
                return Some(params);
            }
        }
    }
}

/// How many scientific lists there are at the top of the tree.
fn scientific_lists(space: &SearchSpace) -> usize {
    space.hyperparameters().iter().filter(|h| is_first(h)).count()
}

/// The parts of a configuration that are counted, the most important one first.
fn parts(space: &SearchSpace, params: &Params) -> Vec<Vec<String>> {
    let lists = |role: Role| {
        let counts = move |h: &&Hyperparameter| h.role == role && values(&h.distribution).len() > 1;
        let active = space.hyperparameters().iter().filter(counts).filter(|h| h.is_active(params));
        active.filter_map(|h| Some(format!("{} = {}", h.label(), params.get(&h.name)?))).collect::<Vec<String>>()
    };
    let (scientific, nuisance) = (lists(Role::Scientific), lists(Role::Nuisance));
    let alone = |lists: &[String]| -> Vec<Vec<String>> { lists.iter().map(|list| vec![list.clone()]).collect() };
    let within = |list: &String| scientific.iter().cloned().chain([list.clone()]).collect();
    let mut parts = alone(&scientific);
    parts.push(scientific.clone());
    parts.extend(nuisance.iter().map(within));
    parts.extend(nuisance.iter().flat_map(|list| scientific.iter().map(|arm| vec![arm.clone(), list.clone()])));
    parts.extend(alone(&nuisance));
    parts
}

/// The number of configurations.
pub(super) fn size(space: &SearchSpace) -> u64 {
    let mut count = 0;
    walk(space, 0, &mut Params::new(), &mut |_| {
        count += 1;
        false
    });
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Hyperparameter, Role};

    #[test]
    fn every_prefix_of_a_grid_is_balanced_and_all_of_it_is_made_once() {
        let node = |name: &str, role, count: i64| Hyperparameter {
            name: name.into(),
            role,
            distribution: Distribution::choice((0..count).map(Value::Int).collect()).unwrap(),
            conditions: vec![],
        };
        let mut space = SearchSpace::new();
        space.declare(node("depth", Role::Scientific, 3)).unwrap();
        space.declare(node("norm", Role::Scientific, 2)).unwrap();
        space.declare(node("lr", Role::Nuisance, 5)).unwrap();
        let mut made: Vec<Params> = vec![];
        let mut grid = Balanced::new(8, &space, &made);
        while let Some(next) = grid.next(&space, |params| !made.contains(params)) {
            grid.record(8, &space, &next);
            made.push(next);
            for (name, count) in [("depth", 3), ("norm", 2)] {
                let of = |value: i64| made.iter().filter(|params| params[name] == value.into()).count();
                let counts: Vec<usize> = (0..count).map(of).collect();
                let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
                assert!(spread <= 1, "{name} after {}: {counts:?}", made.len());
            }
        }
        assert_eq!(made.len(), 30);
        let lr: Vec<i64> = (0..5).map(|i| made[i]["lr"].as_i64().unwrap()).collect();
        assert_eq!(lr, [0, 1, 2, 3, 4], "the nuisance list goes on from arm to arm");
    }

    #[test]
    fn branches_of_different_sizes_take_turns() {
        let node = |name: &str, role, count: i64, model: Option<i64>| Hyperparameter {
            name: name.into(),
            role,
            distribution: Distribution::choice((0..count).map(Value::Int).collect()).unwrap(),
            conditions: model
                .map(|model| Condition { name: "model".into(), values: vec![model.into()] })
                .into_iter()
                .collect(),
        };
        let mut space = SearchSpace::new();
        for declared in [
            node("model", Role::Scientific, 3, None),
            node("norm", Role::Scientific, 2, Some(0)),
            node("act", Role::Nuisance, 3, None),
            node("cell", Role::Nuisance, 4, Some(2)),
        ] {
            space.declare(declared).unwrap();
        }
        let mut grid = Balanced::new(8, &space, &[]);
        let mut models = vec![];
        while let Some(next) = grid.next(&space, |_| true) {
            grid.record(8, &space, &next);
            models.push(next["model"].as_i64().unwrap());
        }
        assert_eq!(models.len(), 6 + 3 + 12);
        // While each model has configurations, they take turns. The second has three.
        for (taken, from) in [(9, vec![0, 1, 2]), (15, vec![0, 2])] {
            for trials in 1..=taken {
                let counts = from.iter().map(|model| models[..trials].iter().filter(|other| *other == model).count());
                let counts: Vec<usize> = counts.collect();
                assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{models:?}");
            }
        }
    }

    #[test]
    fn a_hyperparameter_multiplies_only_the_combinations_in_which_it_is_active() {
        let mut space = SearchSpace::new();
        let node = |name: &str, values: Vec<Value>, conditions| Hyperparameter {
            name: name.into(),
            role: Role::Scientific,
            distribution: Distribution::choice(values).unwrap(),
            conditions,
        };
        let adam = Condition { name: "optimizer".into(), values: vec!["adam".into()] };
        space.declare(node("optimizer", vec!["sgd".into(), "adam".into()], vec![])).unwrap();
        space.declare(node("beta1", vec![0.8.into(), 0.9.into(), 0.95.into()], vec![adam])).unwrap();
        space.declare(node("lr", vec![0.1.into(), 0.2.into()], vec![])).unwrap();
        assert_eq!(size(&space), 2 + 6);
        let all: Vec<Params> = (0..).map_while(|i| nth(&space, i)).collect();
        assert_eq!(all.len(), 8);
        assert!(!all[0].contains_key("beta1"));
        assert_eq!(all[3]["beta1"], 0.8.into());
        assert_eq!(all[3]["lr"], 0.2.into());
    }
}
