//! What a study is designed to find out, before anything is trained (Playbook D6, D11): its roles with their caveats,
//! how its configurations cover the space, and the advice of the Playbook that it does not follow.

mod exploitation;
mod lints;

pub use exploitation::{Explored, exploitation};
pub use lints::{BATCH_SIZE_CHANGED, LINTS, Lint, Stage, batch_size_too_large, is_plain, lints, several_questions};

use crate::words::verb;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tunebook_study::sampler::{Proposals, SamplerKind};
use tunebook_study::{Distribution, Hyperparameter, Params, Role, SearchSpace, StudyDefinition, Value};

/// A hyperparameter of a study, with the role that it has in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesignedHyperparameter {
    /// Its label: `lr`, or `optimizer=adam/lr` in a branch.
    pub hyperparameter: String,
    pub role: Role,
    /// How its values are drawn, as the user writes it.
    pub distribution: String,
    /// What the role means for the conclusions, or None if it takes nothing away from them (Playbook D6).
    pub caveat: Option<String>,
}

/// How a study covers its space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Design {
    pub roles: Vec<DesignedHyperparameter>,
    /// The number of configurations.
    pub configurations: u32,
    /// The number of trials: configurations times repeats.
    pub trials: u32,
    /// The number of combinations of scientific values, or None if a scientific hyperparameter has a range.
    pub scientific_values: Option<usize>,
    /// The fewest and the most configurations of one combination of scientific values. The fewest is 0 if the study
    /// gives no configuration to one of them.
    pub configurations_per_value: Option<[usize; 2]>,
    /// How many configurations these counts leave out: those that the user gave, as conclusions leave them out. If
    /// there are no others, all count.
    pub given_left_out: usize,
    /// The combination of scientific values whose nuisance space is covered worst. None if none has a nuisance
    /// hyperparameter that varies.
    pub sparsest: Option<Covered>,
}

/// How the nuisance space of one combination of scientific values is covered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Covered {
    /// The scientific values: `model=b, opt=lion`. None if the study has no list of scientific values.
    pub value: Option<String>,
    /// Its configurations, n.
    pub configurations: usize,
    /// The most nuisance hyperparameters that vary in one of its configurations, d.
    pub dimensions: usize,
    /// n^(1/d): as many values of each nuisance hyperparameter as a grid of n points has.
    pub points: f64,
    /// Whether another combination has another number of dimensions.
    pub dimensions_differ: bool,
}

/// The configurations that a study proposes, as far as they can be known before it runs. An adaptive sampler deals out
/// the scientific values as the default sampler does; the others depend on the results, and stand here for its range.
pub fn expected_proposals(definition: &StudyDefinition) -> Proposals {
    let sampler = if definition.sampler.is_adaptive() { SamplerKind::Quasirandom } else { definition.sampler };
    Proposals::of(&StudyDefinition { sampler, ..definition.clone() })
}

/// Returns the design of a study with so many configurations.
pub fn design(definition: &StudyDefinition, configurations: u32) -> Design {
    let mut proposals = expected_proposals(definition);
    let proposed: Vec<Params> = (0..u64::from(configurations)).map_while(|index| proposals.get(index)).collect();
    let numbered = proposed.iter().zip(0_u32..);
    let drawn: Vec<&Params> =
        numbered.filter(|(_, index)| !definition.is_given(*index)).map(|(params, _)| params).collect();
    let counted: Vec<&Params> = if drawn.is_empty() { proposed.iter().collect() } else { drawn };
    let mut coverage = Coverage::new(definition);
    for params in &counted {
        coverage.add(params);
    }
    let counts = || coverage.values.values().map(|(count, _)| *count);
    let fewest = if coverage.lacks_some() { Some(0) } else { counts().min() };
    let most = counts().max().filter(|_| coverage.scientific_values.is_some());
    Design {
        roles: definition.space.hyperparameters().iter().map(|h| designed(definition, h)).collect(),
        configurations,
        trials: configurations.saturating_mul(definition.repeats),
        scientific_values: coverage.scientific_values,
        configurations_per_value: fewest.zip(most).map(|(fewest, most)| [fewest, most]),
        given_left_out: proposed.len() - counted.len(),
        sparsest: coverage.sparsest(),
    }
}

/// The configurations of each combination of scientific values, as they are counted.
struct Coverage<'a> {
    space: &'a SearchSpace,
    /// The number of combinations of scientific values. None if a scientific hyperparameter has a range: then all
    /// configurations count together.
    scientific_values: Option<usize>,
    /// The branches of the space, with the most nuisance hyperparameters that vary in each.
    branches: Vec<(Params, usize)>,
    /// The configurations and the dimensions of each combination.
    values: BTreeMap<String, (usize, usize)>,
}

impl<'a> Coverage<'a> {
    fn new(definition: &'a StudyDefinition) -> Self {
        let space = &definition.space;
        let is_list = scientific(space).all(|h| h.distribution.is_list());
        let with_dimensions = |branch: Params| {
            let dimensions = dimensions(space, &branch);
            (branch, dimensions)
        };
        Self {
            space,
            scientific_values: is_list.then(|| scientific_values(definition)),
            branches: lints::branches(space, "").into_iter().map(with_dimensions).collect(),
            values: BTreeMap::new(),
        }
    }

    fn add(&mut self, params: &Params) {
        let value = match self.scientific_values {
            Some(_) => scientific_part(self.space, params),
            None => String::new(),
        };
        let (count, known) = self.values.get(&value).copied().unwrap_or_else(|| (0, self.dimensions_with(params)));
        // If there are too many branches, only those that occur are known.
        self.values.insert(value, (count + 1, known.max(dimensions(self.space, params))));
    }

    /// The most nuisance dimensions with the scientific values of this configuration, in any branch.
    fn dimensions_with(&self, params: &Params) -> usize {
        let is_asked = self.scientific_values.is_some();
        let agrees = |branch: &Params| {
            scientific(self.space).all(|h| {
                // A branch has only the values on which conditions depend.
                let value = branch.get(&h.name).filter(|_| h.is_active(branch));
                let is_same = |value: &Value| params.get(&h.name).is_some_and(|other| other.same_as(value));
                h.is_active(branch) == h.is_active(params) && value.is_none_or(is_same)
            })
        };
        let alike = self.branches.iter().filter(|(branch, _)| !is_asked || agrees(branch));
        alike.map(|(_, dimensions)| *dimensions).max().unwrap_or_default()
    }

    /// Whether a combination of scientific values has no configuration.
    fn lacks_some(&self) -> bool {
        self.scientific_values.is_some_and(|values| self.values.len() < values)
    }

    /// Whether each combination has so many points along each of its nuisance dimensions.
    fn has_points(&self, points: f64) -> bool {
        let has = |(count, dimensions): &(usize, usize)| *count as f64 >= points.powi(*dimensions as i32);
        !self.lacks_some() && self.values.values().all(has)
    }

    fn sparsest(&self) -> Option<Covered> {
        let points = |(count, dimensions): &(usize, usize)| (*count as f64).powf(1.0 / *dimensions as f64);
        let covered = self.values.iter().filter(|(_, (_, dimensions))| *dimensions > 0);
        let (value, sparsest) = covered.min_by(|a, b| points(a.1).total_cmp(&points(b.1)))?;
        let (configurations, dimensions) = *sparsest;
        Some(Covered {
            value: Some(value.clone()).filter(|value| !value.is_empty()),
            configurations,
            dimensions,
            points: points(sparsest),
            dimensions_differ: self.values.values().any(|(_, others)| *others != dimensions),
        })
    }
}

/// Returns the smallest number of configurations with so many points along each nuisance dimension of each combination
/// of scientific values, beside the given ones. A grid has no more than all of its configurations. None if the number
/// is larger than `most`.
fn enough_configurations(definition: &StudyDefinition, points: f64, most: u32) -> Option<u32> {
    let mut proposals = expected_proposals(definition);
    let mut coverage = Coverage::new(definition);
    for index in 0..most {
        let Some(params) = proposals.get(u64::from(index)) else { return Some(index) };
        if !definition.is_given(index) {
            coverage.add(&params);
            if coverage.has_points(points) {
                return Some(index + 1);
            }
        }
    }
    None
}

/// The scientific hyperparameters that vary.
fn scientific(space: &SearchSpace) -> impl Iterator<Item = &Hyperparameter> {
    space.hyperparameters().iter().filter(|h| h.role == Role::Scientific && h.distribution.varies())
}

/// How many nuisance hyperparameters vary in a configuration or in a branch.
fn dimensions(space: &SearchSpace, params: &Params) -> usize {
    let nuisance = space.hyperparameters().iter().filter(|h| h.role == Role::Nuisance && h.distribution.varies());
    nuisance.filter(|h| h.is_active(params)).count()
}

/// Returns the scientific values of a configuration, as text: `model=b, opt=lion`. Two combinations have two texts.
fn scientific_part(space: &SearchSpace, params: &Params) -> String {
    let active: Vec<&Hyperparameter> = scientific(space).filter(|h| h.is_active(params)).collect();
    let is_told = |name: &str| active.iter().any(|h| h.name == name);
    let shown = |h: &&Hyperparameter| {
        // Its branch need not be told twice.
        let name =
            if h.conditions.iter().all(|condition| is_told(&condition.name)) { h.name.clone() } else { h.label() };
        Some(format!("{name}={}", params.get(&h.name)?.declared()))
    };
    active.iter().filter_map(shown).collect::<Vec<String>>().join(", ")
}

/// Adds the scientific values of all configurations of lists, in which the declarations before `node` have `params`.
fn add_scientific_parts(space: &SearchSpace, node: usize, params: &mut Params, parts: &mut BTreeSet<String>) {
    let Some(h) = space.hyperparameters().get(node) else {
        parts.insert(scientific_part(space, params));
        return;
    };
    if !h.is_active(params) {
        return add_scientific_parts(space, node + 1, params, parts);
    }
    let values = match &h.distribution {
        Distribution::Choice { values } => values.clone(),
        other => vec![other.from_unit(0.0)],
    };
    for value in values {
        params.insert(h.name.clone(), value);
        add_scientific_parts(space, node + 1, params, parts);
        params.pop();
    }
}

/// Returns the number of combinations of the scientific values that a grid over them has.
fn scientific_values(definition: &StudyDefinition) -> usize {
    let mut space = SearchSpace::new();
    // Only scientific hyperparameters count, and those on which their conditions depend.
    let mut needed: Vec<&str> = vec![];
    let all = definition.space.hyperparameters();
    for h in all.iter().rev() {
        let counts = h.role == Role::Scientific && h.distribution.varies();
        if counts || needed.contains(&h.name.as_str()) {
            needed.push(&h.name);
            needed.extend(h.conditions.iter().map(|condition| condition.name.as_str()));
        }
    }
    for h in all.iter().filter(|h| needed.contains(&h.name.as_str()) && h.distribution.is_list()) {
        // A declaration whose parent has a range is left out, and with it what depends on it.
        let _ = space.declare(h.clone());
    }
    let is_counted_once = |h: &Hyperparameter| h.role == Role::Scientific || !h.distribution.varies();
    if space.hyperparameters().iter().all(is_counted_once) {
        return SamplerKind::Grid.configurations(&space).map_or(1, |count| count as usize);
    }
    // With a nuisance hyperparameter on which a condition depends, several configurations have the same.
    let mut parts = BTreeSet::new();
    add_scientific_parts(&space, 0, &mut Params::new(), &mut parts);
    parts.len()
}

fn designed(definition: &StudyDefinition, h: &Hyperparameter) -> DesignedHyperparameter {
    let caveat = (!h.distribution.varies()).then(|| caveat(definition, h));
    DesignedHyperparameter { hyperparameter: h.label(), role: h.role, distribution: h.distribution.to_string(), caveat }
}

/// What a value that is fixed, everywhere or in a branch, takes away from the conclusions.
fn caveat(definition: &StudyDefinition, h: &Hyperparameter) -> String {
    let is_compared =
        |other: &&Hyperparameter| other.role == Role::Scientific && other.distribution.varies() && other.name != h.name;
    let scientific: Vec<&Hyperparameter> = definition.space.hyperparameters().iter().filter(is_compared).collect();
    let quoted = |of: &[&Hyperparameter]| {
        of.iter().map(|other| format!("`{}`", other.label())).collect::<Vec<String>>().join(" and ")
    };
    let (name, value) = (&h.name, constant(h));
    let parts = h.conditions.iter().map(|condition| {
        let values: Vec<String> = condition.values.iter().map(|value| value.to_string()).collect();
        format!("{} = {}", condition.name, values.join(" or "))
    });
    let branch = match h.conditions.is_empty() {
        true => String::new(),
        false => format!("where {}, ", parts.collect::<Vec<String>>().join(" and ")),
    };
    // Where a condition names a scientific hyperparameter, its other values are not judged at the fixed value.
    let condition_of = |other: &Hyperparameter| h.conditions.iter().find(|condition| condition.name == other.name);
    let parents: Vec<&Hyperparameter> =
        scientific.iter().copied().filter(|other| condition_of(other).is_some()).collect();
    if !parents.is_empty() {
        let judged: usize = parents.iter().filter_map(|parent| Some(condition_of(parent)?.values.len())).sum();
        let (these, are) = (verb(judged, "this value", "these values"), verb(judged, "is", "are"));
        return format!("{branch}{name} is {value} only: {these} of {} {are} judged at it", quoted(&parents));
    }
    if scientific.is_empty() {
        return format!("{branch}the results hold for {name} = {value} only");
    }
    let names = quoted(&scientific);
    let are = verb(scientific.len(), "is", "are");
    let may_differ = match lints::is_tuned_with_the_rest(name) {
        true => format!(": the best value may differ between the values of {names}"),
        false => String::new(),
    };
    format!("{branch}{names} {are} compared at {name} = {value} only{may_differ}")
}

fn constant(h: &Hyperparameter) -> String {
    h.distribution.from_unit(0.0).to_string()
}

#[cfg(test)]
mod tests;
