//! Search spaces: a tree of hyperparameters, each with a role in the study.
//!
//! Playbook D6: a hyperparameter is scientific (the study measures its effect), nuisance (it is optimized, so that the
//! values of the scientific ones are compared fairly) or fixed. Playbook D8: a hyperparameter may be conditional, that
//! is, exist only for some values of another one. The same name in two branches of the tree is two hyperparameters.

use crate::{Distribution, Params, Value};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The role of a hyperparameter in one study (Playbook D6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The study measures its effect.
    Scientific,
    /// It is optimized, so that the values of the scientific hyperparameters are compared fairly.
    Nuisance,
    /// It has the same value in all trials of its branch.
    Fixed,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Scientific => "scientific",
            Role::Nuisance => "nuisance",
            Role::Fixed => "fixed",
        })
    }
}

/// A condition `when NAME in [v, …]:`. A hyperparameter with conditions exists in a trial only if all of them hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The plain name of the parent, a hyperparameter that is declared earlier.
    pub name: String,
    /// The values of the parent for which the condition holds.
    pub values: Vec<Value>,
}

impl Condition {
    fn holds(&self, params: &Params) -> bool {
        params.get(&self.name).is_some_and(|value| self.values.iter().any(|v| v.same_as(value)))
    }

    /// Whether the parent has a value for which the condition does not hold.
    fn fails(&self, params: &Params) -> bool {
        params.contains_key(&self.name) && !self.holds(params)
    }
}

/// A hyperparameter in a search space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameter {
    /// The plain name, by which the workload knows it.
    pub name: String,
    pub role: Role,
    /// The distribution of its values.
    pub distribution: Distribution,
    /// The conditions under which it exists. Empty for a hyperparameter at the top of the tree, which always exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Hyperparameter {
    /// The name in charts and findings: `lr`, or `optimizer=adam/lr` in a branch (Playbook A5).
    pub fn label(&self) -> String {
        let mut label = String::new();
        for condition in &self.conditions {
            let values: Vec<String> = condition.values.iter().map(Value::to_string).collect();
            label += &format!("{}={}/", condition.name, values.join("|"));
        }
        label + &self.name
    }

    /// Whether its conditions hold for the values of its parents.
    pub fn is_active(&self, params: &Params) -> bool {
        self.conditions.iter().all(|condition| condition.holds(params))
    }
}

/// The hyperparameters of a study in the order of declaration. Parents are declared before their children.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchSpace {
    hyperparameters: Vec<Hyperparameter>,
}

/// Why a declaration cannot be added to a search space.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// There is a hyperparameter of that name, and both could exist in one trial.
    #[error(
        "`{name}` is declared already{}",
        if *conditional { ", and both declarations can hold at once" } else { "" }
    )]
    Duplicate { name: String, conditional: bool },
    /// Charts and files would have one name for two hyperparameters.
    #[error(
        "charts and files would call two hyperparameters `{label}`: give one of them another name, or use values in \
         the conditions that differ in more than their type"
    )]
    SameLabel { label: String },
    /// The condition names a hyperparameter that is not declared above.
    #[error("the condition names `{name}`, which is not declared above")]
    UnknownParent { name: String },
    /// The condition names a value that the parent never has.
    #[error("`{name}` cannot be {value}: it is declared {distribution}")]
    ImpossibleValue { name: String, value: String, distribution: String },
    /// No configuration meets all conditions.
    #[error("`{name}` could never exist: no configuration meets all of its conditions, {conditions}")]
    NeverExists { name: String, conditions: String },
}

impl SearchSpace {
    /// An empty space.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a declaration after the others.
    pub fn declare(&mut self, hyperparameter: Hyperparameter) -> Result<(), SpaceError> {
        for condition in &hyperparameter.conditions {
            let parents: Vec<_> = self.named(&condition.name).collect();
            if parents.is_empty() {
                return Err(SpaceError::UnknownParent { name: condition.name.clone() });
            }
            for value in &condition.values {
                if !parents.iter().any(|parent| parent.distribution.to_unit(value).is_some()) {
                    return Err(SpaceError::ImpossibleValue {
                        name: condition.name.clone(),
                        value: value.declared(),
                        distribution: parents[0].distribution.to_string(),
                    });
                }
            }
        }
        if !hyperparameter.conditions.is_empty() && !self.exist_together(&[&hyperparameter]) {
            let shown = |condition: &Condition| {
                let values: Vec<String> = condition.values.iter().map(Value::declared).collect();
                format!("`{} in [{}]`", condition.name, values.join(", "))
            };
            let conditions: Vec<String> = hyperparameter.conditions.iter().map(shown).collect();
            let conditions = conditions.join(" and ");
            return Err(SpaceError::NeverExists { name: hyperparameter.name, conditions });
        }
        for earlier in self.named(&hyperparameter.name) {
            if self.exist_together(&[earlier, &hyperparameter]) {
                let conditional = !(earlier.conditions.is_empty() && hyperparameter.conditions.is_empty());
                return Err(SpaceError::Duplicate { name: hyperparameter.name.clone(), conditional });
            }
        }
        let label = hyperparameter.label();
        if self.hyperparameters.iter().any(|earlier| earlier.label() == label) {
            return Err(SpaceError::SameLabel { label });
        }
        self.hyperparameters.push(hyperparameter);
        Ok(())
    }

    /// All hyperparameters in the order of declaration.
    pub fn hyperparameters(&self) -> &[Hyperparameter] {
        &self.hyperparameters
    }

    /// The hyperparameters of one plain name: several if they are in different branches.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Hyperparameter> {
        self.hyperparameters.iter().filter(move |h| h.name == name)
    }

    /// The hyperparameter of a label, or of a plain name if only one has that name.
    pub fn find(&self, label: &str) -> Option<&Hyperparameter> {
        self.hyperparameters.iter().find(|h| h.label() == label).or_else(|| {
            let mut named = self.named(label);
            named.next().filter(|_| named.next().is_none())
        })
    }

    /// The hyperparameter of a plain name that exists in a trial with these values.
    pub fn active(&self, name: &str, params: &Params) -> Option<&Hyperparameter> {
        self.named(name).find(|h| h.is_active(params))
    }

    /// The value that a hyperparameter of this space has in a trial with these values. None if it does not exist there,
    /// also if another branch has a hyperparameter of its name there.
    pub fn value_of<'p>(&self, hyperparameter: &Hyperparameter, params: &'p Params) -> Option<&'p Value> {
        let active = self.active(&hyperparameter.name, params)?;
        params.get(&hyperparameter.name).filter(|_| active == hyperparameter)
    }

    /// The values of parents with which no hyperparameter of this name exists, if there are such.
    pub fn lacking(&self, name: &str) -> Option<Params> {
        let nodes = self.with_parents(vec![name.to_string()]);
        self.lacking_below(name, &nodes, &mut Params::new(), &mut 100_000)
    }

    /// The hyperparameters of these names, their parents, and those of their parents, in the order of declaration.
    fn with_parents(&self, mut relevant: Vec<String>) -> Vec<&Hyperparameter> {
        let mut next = 0;
        while next < relevant.len() {
            let parents = self.named(&relevant[next]).flat_map(|h| &h.conditions).map(|condition| &condition.name);
            let new: Vec<String> = parents.filter(|parent| !relevant.contains(parent)).cloned().collect();
            relevant.extend(new);
            next += 1;
        }
        self.hyperparameters.iter().filter(|h| relevant.contains(&h.name)).collect()
    }

    /// Whether some configuration has all of these hyperparameters, which need not be declared yet.
    fn exist_together(&self, wanted: &[&Hyperparameter]) -> bool {
        let required = self.required(wanted);
        let share_a_value =
            |a: &Condition, b: &Condition| a.values.iter().any(|v| b.values.iter().any(|w| v.same_as(w)));
        if required.iter().any(|a| required.iter().any(|b| a.name == b.name && !share_a_value(a, b))) {
            return false;
        }
        let nodes = self.with_parents(required.iter().map(|condition| condition.name.clone()).collect());
        self.exist_below(wanted, &required, &nodes, &mut Params::new(), &mut 100_000)
    }

    /// The conditions that hold in every configuration that has these hyperparameters: their own, and those of their
    /// parents. Of a parent that is declared in several branches, it is not known which one exists.
    fn required<'a>(&'a self, wanted: &[&'a Hyperparameter]) -> Vec<&'a Condition> {
        let mut required: Vec<&Condition> = wanted.iter().copied().flat_map(|h| &h.conditions).collect();
        let (mut next, mut known) = (0, Vec::<&str>::new());
        while let Some(condition) = required.get(next).copied() {
            next += 1;
            let mut parents = self.named(&condition.name);
            let only = parents.next().filter(|_| parents.next().is_none());
            if let Some(parent) = only.filter(|parent| !known.contains(&parent.name.as_str())) {
                known.push(&parent.name);
                required.extend(&parent.conditions);
            }
        }
        required
    }

    /// Whether they exist with these values, and some of the hyperparameters that follow. If there are too many to try
    /// them all, they are taken to exist.
    fn exist_below(
        &self,
        wanted: &[&Hyperparameter],
        required: &[&Condition],
        nodes: &[&Hyperparameter],
        params: &mut Params,
        left: &mut u32,
    ) -> bool {
        let Some(less) = left.checked_sub(1) else { return true };
        *left = less;
        // A parent keeps its value.
        if required.iter().any(|condition| condition.fails(params)) {
            return false;
        }
        let Some((h, nodes)) = nodes.split_first() else { return wanted.iter().all(|h| h.is_active(params)) };
        if !h.is_active(params) || params.contains_key(&h.name) {
            return self.exist_below(wanted, required, nodes, params, left);
        }
        let conditions = self.hyperparameters.iter().chain(wanted.iter().copied()).flat_map(|h| &h.conditions);
        let named: Vec<&Value> =
            conditions.filter(|condition| condition.name == h.name).flat_map(|condition| &condition.values).collect();
        let values: Vec<Value> = match &h.distribution {
            // One of the values that no condition names stands for all of them.
            Distribution::Choice { values } => {
                let is_named = |value: &&Value| named.iter().any(|other| other.same_as(value));
                let other = values.iter().find(|value| !is_named(value));
                values.iter().filter(is_named).chain(other).cloned().collect()
            }
            // A range of real numbers has any value with probability 0, also those that conditions name.
            real if real.is_real() => vec![real.from_unit(0.381_966_011_250_105)],
            // Of another range, the values that conditions name, and its ends, which stand for all others.
            other => {
                let possible = named.into_iter().filter(|value| other.to_unit(value).is_some()).cloned();
                possible.chain([0.0, 0.37, 1.0].map(|u| other.from_unit(u))).collect()
            }
        };
        values.into_iter().any(|value| {
            params.insert(h.name.clone(), value);
            let found = self.exist_below(wanted, required, nodes, params, left);
            params.swap_remove(&h.name);
            found
        })
    }

    fn lacking_below(
        &self,
        name: &str,
        nodes: &[&Hyperparameter],
        params: &mut Params,
        left: &mut u32,
    ) -> Option<Params> {
        *left = left.checked_sub(1)?;
        let Some((h, nodes)) = nodes.split_first() else {
            return (!params.contains_key(name)).then(|| params.clone());
        };
        if !h.is_active(params) || params.contains_key(name) {
            return self.lacking_below(name, nodes, params, left);
        }
        let values = match &h.distribution {
            Distribution::Choice { values } if h.name != name => values.clone(),
            // Of a range, the values that conditions name, and its ends, which stand for all others.
            other => {
                let named = self.hyperparameters.iter().flat_map(|h| &h.conditions).filter(|c| c.name == h.name);
                let named = named.flat_map(|condition| condition.values.clone());
                named.chain([0.0, 0.37, 1.0].map(|u| other.from_unit(u))).collect()
            }
        };
        values.into_iter().find_map(|value| {
            params.insert(h.name.clone(), value);
            let found = self.lacking_below(name, nodes, params, left);
            params.swap_remove(&h.name);
            found
        })
    }

    /// Makes a configuration: calls `draw` with the index and the declaration of each hyperparameter that exists,
    /// parents first, and gives it the returned value.
    pub fn assign(&self, mut draw: impl FnMut(usize, &Hyperparameter) -> Value) -> Params {
        let mut params = Params::new();
        for (i, hyperparameter) in self.hyperparameters.iter().enumerate() {
            if hyperparameter.is_active(&params) {
                params.insert(hyperparameter.name.clone(), draw(i, hyperparameter));
            }
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, distribution: Distribution, conditions: &[(&str, &str)]) -> Hyperparameter {
        let conditions = conditions
            .iter()
            .map(|(name, value)| Condition { name: name.to_string(), values: vec![(*value).into()] })
            .collect();
        Hyperparameter { name: name.into(), role: Role::Nuisance, distribution, conditions }
    }

    fn two_branches() -> SearchSpace {
        let mut space = SearchSpace::new();
        let optimizers = Distribution::choice(vec!["sgd".into(), "adam".into()]).unwrap();
        space.declare(node("optimizer", optimizers, &[])).unwrap();
        let lr = |low, high| Distribution::log_uniform(low, high).unwrap();
        space.declare(node("lr", lr(1e-3, 1.0), &[("optimizer", "sgd")])).unwrap();
        space.declare(node("lr", lr(1e-5, 1e-2), &[("optimizer", "adam")])).unwrap();
        space
    }

    #[test]
    fn one_name_in_two_branches_is_two_hyperparameters() {
        let space = two_branches();
        let labels: Vec<_> = space.hyperparameters().iter().map(Hyperparameter::label).collect();
        assert_eq!(labels, ["optimizer", "optimizer=sgd/lr", "optimizer=adam/lr"]);
        let params = space.assign(|_, h| h.distribution.from_unit(0.75));
        assert_eq!(params["optimizer"], "adam".into());
        assert_eq!(space.active("lr", &params).unwrap().label(), "optimizer=adam/lr");
        assert!(params["lr"].as_f64().unwrap() < 1e-2);
    }

    #[test]
    fn it_is_known_where_a_hyperparameter_has_no_value() {
        let mut space = two_branches();
        assert_eq!(space.lacking("lr"), None, "both branches have it");
        assert_eq!(space.lacking("optimizer"), None);
        let one = || Distribution::constant(1.into());
        space.declare(node("momentum", one(), &[("optimizer", "sgd")])).unwrap();
        assert_eq!(space.lacking("momentum").unwrap()["optimizer"], "adam".into());
        let mut nested = SearchSpace::new();
        nested.declare(node("layers", Distribution::int(1, 3).unwrap(), &[])).unwrap();
        let conditions = vec![Condition { name: "layers".into(), values: vec![2.into(), 3.into()] }];
        nested.declare(Hyperparameter { conditions, ..node("width", one(), &[]) }).unwrap();
        assert_eq!(nested.lacking("width").unwrap()["layers"], 1.into());
    }

    #[test]
    fn a_name_cannot_be_declared_twice_for_the_same_trial() {
        let mut space = two_branches();
        let again = node("lr", Distribution::constant(0.1.into()), &[]);
        assert!(matches!(space.declare(again), Err(SpaceError::Duplicate { conditional: true, .. })));
    }

    fn words(values: &[&str]) -> Distribution {
        Distribution::choice(values.iter().map(|value| (*value).into()).collect()).unwrap()
    }

    /// Two models, each with a list of its own, and a name below a value of each of these lists.
    fn two_parents() -> SearchSpace {
        let mut space = SearchSpace::new();
        for declared in [
            node("model", words(&["cnn", "mlp"]), &[]),
            node("norm", words(&["batch", "layer"]), &[("model", "cnn")]),
            node("act", words(&["relu", "tanh"]), &[("model", "mlp")]),
            node("p", Distribution::uniform(0.0, 1.0).unwrap(), &[("norm", "batch")]),
            node("p", Distribution::uniform(0.0, 0.5).unwrap(), &[("act", "relu")]),
        ] {
            space.declare(declared).unwrap();
        }
        space
    }

    #[test]
    fn one_name_under_two_parents_is_two_hyperparameters() {
        let space = two_parents();
        let labels: Vec<_> = space.hyperparameters()[3..].iter().map(Hyperparameter::label).collect();
        assert_eq!(labels, ["norm=batch/p", "act=relu/p"]);
        assert_eq!(space.find("p"), None, "the plain name could be both");
        assert_eq!(space.find("act=relu/p"), Some(&space.hyperparameters()[4]));
        let lacking = space.lacking("p").unwrap();
        assert!(lacking.get("norm") == Some(&"layer".into()) || lacking.get("act") == Some(&"tanh".into()));
        let params = space.assign(|_, h| h.distribution.from_unit(0.4));
        assert_eq!(space.active("p", &params).unwrap().label(), "norm=batch/p");
        assert_eq!(params["p"], 0.4.into());
        let params = space.assign(|_, h| h.distribution.from_unit(if h.name == "model" { 0.9 } else { 0.4 }));
        assert_eq!(space.active("p", &params).unwrap().label(), "act=relu/p");
        assert_eq!(space.value_of(&space.hyperparameters()[4], &params), Some(&0.2.into()));
        assert_eq!(space.value_of(&space.hyperparameters()[3], &params), None, "it is that of the other branch");
        assert_eq!(space.value_of(&space.hyperparameters()[1], &params), None);
    }

    #[test]
    fn every_sampler_gives_a_name_under_two_parents_the_values_of_its_branch() {
        use crate::sampler::{Proposals, SamplerKind};
        use crate::{Direction, Objective, ObjectiveValue, StudyDefinition, WorkloadReference};
        let lists = {
            let mut space = SearchSpace::new();
            for h in two_parents().hyperparameters() {
                let distribution = match h.distribution.is_list() {
                    true => h.distribution.clone(),
                    false => Distribution::choice([0.25, 0.75].map(|u| h.distribution.from_unit(u)).to_vec()).unwrap(),
                };
                space.declare(Hyperparameter { distribution, ..h.clone() }).unwrap();
            }
            space
        };
        for sampler in SamplerKind::ALL {
            let space = if sampler == SamplerKind::Grid { lists.clone() } else { two_parents() };
            let objective =
                Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best };
            let workload = WorkloadReference::Builtin { name: "w".into() };
            let study = StudyDefinition { sampler, ..StudyDefinition::new(workload, space.clone(), objective) };
            let mut proposals = Proposals::of(&study);
            let all: Vec<Params> = (0..6).map_while(|index| proposals.get(index)).collect();
            assert_eq!(all.len(), 6, "{sampler}");
            for params in &all {
                let active = space.active("p", params);
                assert_eq!(active.is_some(), params.contains_key("p"), "{sampler}: {params:?}");
                if let Some(active) = active {
                    assert!(active.distribution.to_unit(&params["p"]).is_some(), "{sampler}: {params:?}");
                }
            }
        }
    }

    #[test]
    fn two_declarations_that_can_hold_at_once_are_refused() {
        let one = || Distribution::constant(1.into());
        let refused = |space: &mut SearchSpace, h| {
            let error = space.declare(h);
            assert!(matches!(error, Err(SpaceError::Duplicate { conditional: true, .. })), "{error:?}");
        };
        // A cnn has the first one too, if its norm is batch.
        refused(&mut two_parents(), node("p", one(), &[("model", "cnn")]));
        refused(&mut two_parents(), node("p", one(), &[]));
        two_parents().declare(node("p", one(), &[("norm", "layer")])).unwrap();
        two_parents().declare(node("p", one(), &[("model", "mlp"), ("act", "tanh")])).unwrap();
        // Parents that do not depend on each other can have any values together.
        let mut space = SearchSpace::new();
        for name in ["a", "b"] {
            space.declare(node(name, words(&["on", "off"]), &[])).unwrap();
        }
        space.declare(node("p", one(), &[("a", "on")])).unwrap();
        refused(&mut space, node("p", one(), &[("b", "on")]));
        space.declare(node("p", one(), &[("a", "off"), ("b", "on")])).unwrap();
    }

    #[test]
    fn long_lists_and_many_parents_do_not_hide_that_two_declarations_exclude_each_other() {
        let mut space = SearchSpace::new();
        let many = Distribution::choice((0..1000).map(Value::Int).collect()).unwrap();
        for i in 0..20 {
            space.declare(node(&format!("other{i}"), words(&["x", "y", "z"]), &[])).unwrap();
            space.declare(node(&format!("long{i}"), many.clone(), &[])).unwrap();
        }
        space.declare(node("model", words(&["cnn", "mlp"]), &[])).unwrap();
        for (parent, model) in [("norm", "cnn"), ("act", "mlp")] {
            let mut conditions: Vec<Condition> = (0..20)
                .flat_map(|i| {
                    let values = vec!["x".into(), "y".into()];
                    let other = Condition { name: format!("other{i}"), values };
                    [other, Condition { name: format!("long{i}"), values: vec![7.into()] }]
                })
                .collect();
            conditions.insert(0, Condition { name: "model".into(), values: vec![model.into()] });
            space.declare(Hyperparameter { conditions, ..node(parent, words(&["on", "off"]), &[]) }).unwrap();
        }
        let one = || Distribution::constant(1.into());
        space.declare(node("p", one(), &[("norm", "on")])).unwrap();
        space.declare(node("p", one(), &[("act", "on")])).unwrap();
    }

    #[test]
    fn two_hyperparameters_have_no_label_in_common() {
        let mut space = SearchSpace::new();
        space.declare(node("kind", Distribution::choice(vec!["1".into(), 1.into()]).unwrap(), &[])).unwrap();
        let below = |value: Value| Hyperparameter {
            conditions: vec![Condition { name: "kind".into(), values: vec![value] }],
            ..node("p", Distribution::constant(1.into()), &[])
        };
        space.declare(below(1.into())).unwrap();
        assert_eq!(space.declare(below("1".into())), Err(SpaceError::SameLabel { label: "kind=1/p".into() }));
    }

    #[test]
    fn a_condition_on_a_single_value_of_a_real_range_holds_in_no_configuration() {
        let one = || Distribution::constant(1.into());
        let mut space = SearchSpace::new();
        space.declare(node("real", Distribution::uniform(1.0, 3.0).unwrap(), &[])).unwrap();
        space.declare(node("whole", Distribution::int(1, 3).unwrap(), &[])).unwrap();
        let below = |parent: &str, value: f64| Hyperparameter {
            conditions: vec![Condition { name: parent.into(), values: vec![value.into()] }],
            ..node("x", one(), &[])
        };
        for value in [1.0, 2.0, 3.0] {
            let never = space.declare(below("real", value));
            assert!(matches!(never, Err(SpaceError::NeverExists { .. })), "{value}: {never:?}");
        }
        space.declare(below("whole", 2.0)).unwrap();
    }

    #[test]
    fn a_condition_must_name_a_possible_value_of_a_declared_parent() {
        let mut space = two_branches();
        let one = || Distribution::constant(1.into());
        let unknown = space.declare(node("x", one(), &[("optimiser", "adam")]));
        assert_eq!(unknown, Err(SpaceError::UnknownParent { name: "optimiser".into() }));
        let impossible = space.declare(node("x", one(), &[("optimizer", "lion")]));
        assert!(matches!(impossible, Err(SpaceError::ImpossibleValue { .. })));
        // Conditions that exclude each other, also through a parent.
        let never = space.declare(node("x", one(), &[("optimizer", "sgd"), ("optimizer", "adam")]));
        assert!(matches!(never, Err(SpaceError::NeverExists { .. })));
        space.declare(node("nesterov", Distribution::constant("on".into()), &[("optimizer", "sgd")])).unwrap();
        let never = space.declare(node("x", one(), &[("optimizer", "adam"), ("nesterov", "on")]));
        assert!(matches!(never, Err(SpaceError::NeverExists { .. })));
        space.declare(node("x", one(), &[("optimizer", "sgd"), ("nesterov", "on")])).unwrap();
    }
}
