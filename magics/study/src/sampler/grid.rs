//! The grid: every combination of the values of lists and constants. The combinations are the leaves of a tree, in
//! which a hyperparameter that is not active has no branches, so that no combination occurs twice.

use crate::{Distribution, Hyperparameter, Params, Role, SearchSpace, Value};
use std::collections::HashMap;

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

/// The wanted configuration that keeps the lists balanced best after those that were made: first each scientific list,
/// then their combinations, then each nuisance list within a combination, with each scientific value, and in all. Among
/// equals, the first one in the order of the tree. So every prefix of a grid is balanced, as far as branches of different
/// sizes allow (Playbook D10).
pub(super) fn balanced(space: &SearchSpace, made: &[Params], wanted: impl Fn(&Params) -> bool) -> Option<Params> {
    let mut made_so_far: HashMap<Vec<String>, usize> = HashMap::new();
    for params in made {
        for part in parts(space, params) {
            *made_so_far.entry(part).or_default() += 1;
        }
    }
    let mut best: Option<(Vec<usize>, Params)> = None;
    walk(space, 0, &mut Params::new(), &mut |params| {
        if wanted(params) {
            let count = |part: Vec<String>| made_so_far.get(&part).copied().unwrap_or_default();
            let counts: Vec<usize> = parts(space, params).into_iter().map(count).collect();
            if best.as_ref().is_none_or(|(least, _)| counts < *least) {
                best = Some((counts, params.clone()));
            }
        }
        false
    });
    best.map(|(_, params)| params)
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
        while let Some(next) = balanced(&space, &made, |params| !made.contains(params)) {
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
