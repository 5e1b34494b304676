//! The grid: every combination of the values of lists and constants. The combinations are the leaves of a tree, in
//! which a hyperparameter that is not active has no branches, so that no combination occurs twice.

use crate::{Distribution, Params, SearchSpace, Value};

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
