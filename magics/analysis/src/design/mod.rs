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
use tunebook_study::{Distribution, Hyperparameter, Params, Role, SearchSpace, StudyDefinition};

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
    /// The most nuisance hyperparameters that vary in one configuration.
    pub nuisance_dimensions: usize,
    /// With n configurations for a scientific value and d nuisance dimensions, n^(1/d): as many values of each nuisance
    /// hyperparameter as a grid of n points has. None without nuisance hyperparameters that vary.
    pub points_per_dimension: Option<f64>,
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
    let space = &definition.space;
    let varied = |h: &&Hyperparameter, role: Role| h.role == role && h.distribution.varies();
    let all = space.hyperparameters();
    let is_list = all.iter().filter(|h| varied(h, Role::Scientific)).all(|h| h.distribution.is_list());
    let numbered = proposed.iter().zip(0_u32..);
    let drawn: Vec<&Params> =
        numbered.filter(|(_, index)| !definition.is_given(*index)).map(|(params, _)| params).collect();
    let counted: Vec<&Params> = if drawn.is_empty() { proposed.iter().collect() } else { drawn };
    let mut per_value: BTreeMap<String, usize> = BTreeMap::new();
    for params in &counted {
        *per_value.entry(scientific_part(space, params)).or_default() += 1;
    }
    let scientific_values = is_list.then(|| scientific_values(definition));
    let lacks_some = scientific_values.is_some_and(|values| per_value.len() < values);
    let fewest = per_value.values().min().map(|fewest| if lacks_some { 0 } else { *fewest });
    let per_value = is_list.then(|| [fewest, per_value.values().max().copied()]);
    let dimensions = |params: &Params| all.iter().filter(|h| varied(h, Role::Nuisance) && h.is_active(params)).count();
    let nuisance_dimensions = proposed.iter().map(dimensions).max().unwrap_or(0);
    let configurations_per_value = per_value.and_then(|[fewest, most]| Some([fewest?, most?]));
    let fewest = configurations_per_value.map_or(counted.len(), |[fewest, _]| fewest);
    Design {
        roles: all.iter().map(|h| designed(definition, h)).collect(),
        configurations,
        trials: configurations.saturating_mul(definition.repeats),
        scientific_values,
        configurations_per_value,
        given_left_out: proposed.len() - counted.len(),
        nuisance_dimensions,
        points_per_dimension: (nuisance_dimensions > 0).then(|| (fewest as f64).powf(1.0 / nuisance_dimensions as f64)),
    }
}

/// Returns the scientific values of a configuration, as text.
fn scientific_part(space: &SearchSpace, params: &Params) -> String {
    let is_scientific = |h: &&Hyperparameter| h.role == Role::Scientific && h.distribution.varies();
    let values = space.hyperparameters().iter().filter(is_scientific).filter(|h| h.is_active(params));
    values.map(|h| format!("{}={:?}", h.label(), params.get(&h.name))).collect::<Vec<String>>().join(" ")
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
