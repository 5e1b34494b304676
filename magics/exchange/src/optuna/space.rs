//! The search space of an Optuna study, put together from the distributions of its trials.
//!
//! Optuna has no space: each trial says which parameters it has and from which distribution each was drawn. Ranges that
//! changed become one range that holds all of them. If a parameter exists in some trials only, and exactly where
//! another one has certain values, that is taken for its condition; otherwise the condition is unknown.

use super::distribution::choice_value;
use super::{OptunaDistribution, OptunaState, OptunaTrial};
use tunebook_study::{Condition, Distribution, DistributionError, Hyperparameter, Role, SearchSpace, Value};

/// A list of so many values at most can be the parent of a condition.
const MOST_PARENT_VALUES: usize = 64;

/// A range of whole numbers in steps with so many values at most becomes the list of them.
const MOST_LISTED: i64 = 50;

/// The space, and what is to be said about it.
pub(super) fn space_of(trials: &[OptunaTrial]) -> Result<(SearchSpace, Vec<String>), String> {
    let mut names: Vec<&String> = vec![];
    for trial in trials {
        names.extend(trial.parameters.keys());
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    let mut notes = vec![];
    let mut waiting: Vec<(Hyperparameter, Option<&String>)> = vec![];
    let merged = |name: &String| merge(name, trials);
    let all: Vec<(&String, Distribution)> = names
        .iter()
        .map(|name| {
            let (distribution, note) = merged(name).map_err(|error| format!("parameter `{name}`: {error}"))?;
            notes.extend(note);
            Ok((*name, distribution))
        })
        .collect::<Result<_, String>>()?;
    for (name, distribution) in &all {
        let condition = match is_everywhere(name, trials) {
            true => None,
            false => {
                let found = parent(name, &all, trials);
                notes.push(condition_note(name, found.as_ref(), trials));
                found
            }
        };
        let role = if distribution.is_constant() { Role::Fixed } else { Role::Nuisance };
        let parent = condition.as_ref().and_then(|condition| names.iter().find(|n| ***n == condition.name)).copied();
        let conditions = condition.into_iter().collect();
        let hyperparameter =
            Hyperparameter { name: name.to_string(), role, distribution: distribution.clone(), conditions };
        waiting.push((hyperparameter, parent));
    }
    // Parents are declared before their children.
    let mut space = SearchSpace::new();
    while !waiting.is_empty() {
        let ready = |(_, parent): &(Hyperparameter, Option<&String>)| {
            parent.is_none_or(|parent| space.named(parent).next().is_some())
        };
        let at = waiting.iter().position(ready).ok_or("its conditions form a circle")?;
        space.declare(waiting.remove(at).0).map_err(|error| error.to_string())?;
    }
    Ok((space, notes))
}

/// Whether a trial ran far enough to have all of its parameters.
fn is_decided(trial: &OptunaTrial) -> bool {
    matches!(trial.state, OptunaState::Complete | OptunaState::Pruned)
}

fn is_everywhere(name: &str, trials: &[OptunaTrial]) -> bool {
    trials.iter().filter(|trial| is_decided(trial)).all(|trial| trial.parameters.contains_key(name))
}

fn condition_note(name: &str, condition: Option<&Condition>, trials: &[OptunaTrial]) -> String {
    let decided = trials.iter().filter(|trial| is_decided(trial));
    let (mut with, mut all) = (0, 0);
    for trial in decided {
        all += 1;
        with += usize::from(trial.parameters.contains_key(name));
    }
    let where_from = match condition {
        Some(Condition { name, values }) => {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            format!("in exactly those with {name} = {}, which is taken for its condition", values.join(" or "))
        }
        None => "and no other parameter explains where: its condition is unknown".into(),
    };
    format!("`{name}` exists in {with} of the {all} complete and pruned trials, {where_from}.")
}

/// The parameter whose values decide where another one exists. None if there is no such parameter, or if so few trials
/// say so that it may be chance.
fn parent(name: &str, all: &[(&String, Distribution)], trials: &[OptunaTrial]) -> Option<Condition> {
    let mut best: Option<(usize, Condition)> = None;
    for (other, distribution) in all.iter().filter(|(other, _)| *other != name) {
        if !matches!(distribution, Distribution::Choice { .. } | Distribution::Int { .. }) {
            continue;
        }
        let (mut with, mut without, mut count) = (vec![], vec![], [0, 0]);
        let mut explains = true;
        for trial in trials.iter().filter(|trial| is_decided(trial)) {
            let is_there = trial.parameters.contains_key(name);
            let Some(value) = value_of(trial, other) else {
                explains &= !is_there;
                continue;
            };
            count[usize::from(is_there)] += 1;
            let values: &mut Vec<Value> = if is_there { &mut with } else { &mut without };
            if !values.iter().any(|known| known.same_as(&value)) {
                values.push(value);
            }
        }
        let distinct = with.len() + without.len();
        let separate = !with.iter().any(|a| without.iter().any(|b| a.same_as(b)));
        let enough = count[0] >= 2 && count[1] >= 2 && count[0] + count[1] >= 2 * distinct;
        if explains && separate && enough && distinct <= MOST_PARENT_VALUES {
            with.sort_by(|a, b| {
                let place = |v: &Value| distribution.to_unit(v).unwrap_or(0.0);
                place(a).total_cmp(&place(b))
            });
            if best.as_ref().is_none_or(|(least, _)| distinct < *least) {
                best = Some((distinct, Condition { name: other.to_string(), values: with }));
            }
        }
    }
    best.map(|(_, condition)| condition)
}

/// The value of a parameter in a trial.
pub(super) fn value_of(trial: &OptunaTrial, name: &str) -> Option<Value> {
    let parameter = trial.parameters.get(name)?;
    parameter.distribution.external(parameter.internal)
}

/// One distribution that holds all those that a parameter had in the trials.
fn merge(name: &str, trials: &[OptunaTrial]) -> Result<(Distribution, Option<String>), DistributionError> {
    let mut different: Vec<&OptunaDistribution> = vec![];
    for parameter in trials.iter().filter_map(|trial| trial.parameters.get(name)) {
        if !different.contains(&&parameter.distribution) {
            different.push(&parameter.distribution);
        }
    }
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut ints, mut floats, mut logs, mut lists, mut step) = (0, 0, 0, 0, None);
    let mut choices: Vec<Value> = vec![];
    for distribution in &different {
        match distribution {
            OptunaDistribution::Float { low: a, high: b, log, step: q } => {
                (low, high) = (low.min(*a), high.max(*b));
                floats += 1;
                logs += usize::from(*log);
                step = q.map(|q| q.to_string()).or(step);
            }
            OptunaDistribution::Int { low: a, high: b, log, step: q } => {
                (low, high) = (low.min(*a as f64), high.max(*b as f64));
                ints += 1;
                logs += usize::from(*log);
                step = (*q != 1).then(|| q.to_string()).or(step);
            }
            OptunaDistribution::Categorical { choices: more } => {
                lists += 1;
                extend(&mut choices, more.iter().map(choice_value));
            }
        }
    }
    let ranges = ints + floats;
    if lists > 0 && ranges > 0 {
        let mut values = vec![];
        extend(&mut values, trials.iter().filter_map(|trial| value_of(trial, name)));
        let note =
            format!("`{name}` was a list in some trials and a range in others: it is the list of all its values.");
        return Ok((list(values)?, Some(note)));
    }
    if let [OptunaDistribution::Int { low, high, step, .. }] = different[..]
        && let Some(values) = listed(*low, *high, *step)
    {
        let note = format!("`{name}` was tried in steps of {step}; it is the list of its {} values.", values.len());
        return Ok((list(values)?, Some(note)));
    }
    let merged = match (lists > 0, floats > 0, logs == ranges) {
        (true, _, _) => list(choices)?,
        _ if low == high && floats == 0 => Distribution::constant(Value::Int(low as i64)),
        _ if low == high => Distribution::constant(Value::Float(low)),
        (_, true, true) => Distribution::log_uniform(low, high)?,
        (_, true, false) => Distribution::uniform(low, high)?,
        (_, false, true) => Distribution::log_int(low as i64, high as i64)?,
        (_, false, false) => Distribution::int(low as i64, high as i64)?,
    };
    let changed = different.len() > 1;
    let note = match (changed, step) {
        (true, _) => Some(format!(
            "`{name}` had {} distributions: it is declared as `{name} {merged}`, which holds all of them.",
            different.len()
        )),
        (false, Some(step)) => {
            Some(format!("`{name}` was tried in steps of {step}; its range is declared without them."))
        }
        (false, None) => None,
    };
    Ok((merged, note))
}

/// The values of a range in steps, both ends included. None if all whole numbers belong to it, or if they are many.
fn listed(low: i64, high: i64, step: i64) -> Option<Vec<Value>> {
    let last = high.checked_sub(low)?.checked_div(step)?;
    let is_listed = step > 1 && (1..MOST_LISTED).contains(&last);
    is_listed.then(|| (0..=last).map(|i| Value::Int(low + i * step)).collect())
}

fn extend(values: &mut Vec<Value>, more: impl Iterator<Item = Value>) {
    for value in more {
        if !values.iter().any(|known| known.same_as(&value)) {
            values.push(value);
        }
    }
}

fn list(mut values: Vec<Value>) -> Result<Distribution, DistributionError> {
    match values.len() {
        1 => Ok(Distribution::constant(values.remove(0))),
        _ => Distribution::choice(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_in_steps_with_few_values_is_the_list_of_them() {
        let values = |low, high, step| listed(low, high, step).map(|values| list(values).unwrap());
        let odd = [1, 3, 5, 7, 9].map(Value::Int).to_vec();
        assert_eq!(values(1, 9, 2), Some(Distribution::choice(odd).unwrap()));
        assert_eq!(listed(0, 98, 2).map(|values| values.len()), Some(50));
        assert_eq!([listed(0, 100, 2), listed(1, 9, 1), listed(1, 2, 5), listed(1, 9, 0)], [None, None, None, None]);
    }
}
