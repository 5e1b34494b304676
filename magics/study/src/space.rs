//! Search spaces: a tree of hyperparameters, each with the role that it plays for one question.
//!
//! Playbook D6: every hyperparameter is scientific (its effect is measured), nuisance (tuned away, so that the
//! comparison is fair) or fixed. Playbook D8: a hyperparameter may exist only for some values of another one, and
//! the same name under two branches is two hyperparameters.

use crate::{Distribution, Params, Value};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a hyperparameter is for in one study (Playbook D6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Its effect is what the study measures.
    Scientific,
    /// Optimized over, so that values of the scientific ones are compared fairly.
    Nuisance,
    /// The same in all trials of its branch.
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

/// `when NAME in [v, …]:` — the hyperparameter exists only where the one named has one of the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Plain name of a hyperparameter that is declared earlier.
    pub name: String,
    /// The values for which the condition holds.
    pub values: Vec<Value>,
}

impl Condition {
    fn holds(&self, params: &Params) -> bool {
        params.get(&self.name).is_some_and(|value| self.values.iter().any(|v| v.same_as(value)))
    }
}

/// One node of a search space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameter {
    /// Plain name, as the workload knows it.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Where its values come from.
    pub distribution: Distribution,
    /// All of these must hold for it to exist; empty at the top of the tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Hyperparameter {
    /// What charts and findings call it: `lr`, or `optimizer=adam/lr` inside a branch (Playbook A5).
    pub fn label(&self) -> String {
        let mut label = String::new();
        for condition in &self.conditions {
            let values: Vec<String> = condition.values.iter().map(Value::to_string).collect();
            label += &format!("{}={}/", condition.name, values.join("|"));
        }
        label + &self.name
    }

    /// Whether it exists beside the values that were assigned before it.
    pub fn is_active(&self, params: &Params) -> bool {
        self.conditions.iter().all(|condition| condition.holds(params))
    }
}

/// All hyperparameters of a study, in the order of declaration; a parent stands before its children.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchSpace {
    hyperparameters: Vec<Hyperparameter>,
}

/// A declaration that does not fit those before it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// The same hyperparameter could have two values at once.
    #[error("`{name}` is declared already{}", if *conditional { ", and both declarations can hold at once" } else { "" })]
    Duplicate { name: String, conditional: bool },
    /// `when NAME` for a name that nothing above declares.
    #[error("the condition names `{name}`, which is not declared above")]
    UnknownParent { name: String },
    /// A condition on a value that the parent never has.
    #[error("`{name}` never is {value}: it is declared {distribution}")]
    ImpossibleValue { name: String, value: String, distribution: String },
}

impl SearchSpace {
    /// A space without hyperparameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a declaration after those that are there.
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
                        value: value.to_string(),
                        distribution: parents[0].distribution.to_string(),
                    });
                }
            }
        }
        for earlier in self.named(&hyperparameter.name) {
            if !exclusive(earlier, &hyperparameter) {
                let conditional = !(earlier.conditions.is_empty() && hyperparameter.conditions.is_empty());
                return Err(SpaceError::Duplicate { name: hyperparameter.name.clone(), conditional });
            }
        }
        self.hyperparameters.push(hyperparameter);
        Ok(())
    }

    /// All declarations, parents first.
    pub fn hyperparameters(&self) -> &[Hyperparameter] {
        &self.hyperparameters
    }

    /// The declarations of one plain name: several where branches differ.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Hyperparameter> {
        self.hyperparameters.iter().filter(move |h| h.name == name)
    }

    /// The declaration that a user means by a label, or by a plain name that is declared once.
    pub fn find(&self, label: &str) -> Option<&Hyperparameter> {
        self.hyperparameters.iter().find(|h| h.label() == label).or_else(|| {
            let mut named = self.named(label);
            named.next().filter(|_| named.next().is_none())
        })
    }

    /// The node that gave a trial its value of `name`.
    pub fn active(&self, name: &str, params: &Params) -> Option<&Hyperparameter> {
        self.named(name).find(|h| h.is_active(params))
    }

    /// Assigns a value to every node that exists, parents first; `draw` gives the value of the i-th declaration.
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

/// Whether two nodes can never exist at once: some name on which their conditions share no value.
fn exclusive(a: &Hyperparameter, b: &Hyperparameter) -> bool {
    a.conditions.iter().any(|x| {
        b.conditions.iter().any(|y| x.name == y.name && !x.values.iter().any(|v| y.values.iter().any(|w| v.same_as(w))))
    })
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
    fn declarations_that_could_both_hold_are_refused() {
        let mut space = two_branches();
        let again = node("lr", Distribution::constant(0.1.into()), &[]);
        assert!(matches!(space.declare(again), Err(SpaceError::Duplicate { conditional: true, .. })));
    }

    #[test]
    fn conditions_must_name_a_possible_value_of_a_parent() {
        let mut space = two_branches();
        let one = || Distribution::constant(1.into());
        let unknown = space.declare(node("x", one(), &[("optimiser", "adam")]));
        assert_eq!(unknown, Err(SpaceError::UnknownParent { name: "optimiser".into() }));
        let impossible = space.declare(node("x", one(), &[("optimizer", "lion")]));
        assert!(matches!(impossible, Err(SpaceError::ImpossibleValue { .. })));
    }
}
