//! What a sweep finds in the store under its name, and what that leaves to do.

use super::plan::SweepPlan;
use crate::error::{ErrorName, MagicError, Result};
use tunebook_study::store::StudyRecord;
use tunebook_study::{Distribution, Hyperparameter, StudyDefinition, Trial};

/// What to do with a study that exists already.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Show what is recorded, train nothing. `missing`: trials that were asked for and never finished.
    Show { missing: usize },
    /// Run these trial numbers; `redefine`: under a wider definition.
    Run { numbers: Vec<u32>, redefine: bool },
}

/// Compares a plan with what is recorded.
pub fn compare(plan: &SweepPlan, study: &StudyRecord, trials: &[Trial]) -> Result<Found> {
    let recorded = &study.definition;
    let differences = differences(recorded, &plan.definition);
    let accepted = differences.is_empty() || (plan.options.widen && widens(recorded, &plan.definition));
    if !accepted {
        let name = &plan.name;
        let message = format!("a study `{name}` with another definition exists: {}", differences.join("; "));
        let help = if plan.options.widen {
            "--widen takes over ranges that only grew and lists that gained values; anything else is another study: \
             give it another name"
                .to_string()
        } else {
            format!(
                "give this one another name, or undo the change; --widen keeps the old trials where ranges only grew; \
                 `%study delete {name}` forgets the old study"
            )
        };
        return Err(MagicError::new(ErrorName::StudyExists, message, Some(help)));
    }
    let finished = |number: &u32| trials.iter().any(|t| t.number == *number && !t.state.runs_again());
    let missing: Vec<u32> = (1..=plan.trials).filter(|number| !finished(number)).collect();
    let more_asked = plan.trials > study.asked;
    if missing.is_empty() || !(plan.options.resume || more_asked || !differences.is_empty()) {
        return Ok(Found::Show { missing: missing.len() });
    }
    Ok(Found::Run { numbers: missing, redefine: !differences.is_empty() })
}

/// What differs between two definitions, each in a few words. How a trial is judged is asked anew each time and never
/// differs.
pub fn differences(old: &StudyDefinition, new: &StudyDefinition) -> Vec<String> {
    let mut found = vec![];
    let mut field = |what: &str, old: String, new: String| {
        if old != new {
            found.push(format!("{what} was {old}, now {new}"));
        }
    };
    field("the workload", old.workload.to_string(), new.workload.to_string());
    let objective = |d: &StudyDefinition| format!("{} {}", d.objective.direction, d.objective.metric);
    field("the objective", objective(old), objective(new));
    field("--sampler", old.sampler.to_string(), new.sampler.to_string());
    field("--seed", old.seed.to_string(), new.seed.to_string());
    field("--repeats", old.repeats.to_string(), new.repeats.to_string());
    let text = |text: &Option<String>| text.as_ref().map_or("none".into(), |t| format!("\"{t}\""));
    field("the question", text(&old.question), text(&new.question));
    field("the notes", text(&old.notes), text(&new.notes));
    let find = |definition: &StudyDefinition, label: &str| {
        definition.space.hyperparameters().iter().find(|h| h.label() == label).cloned()
    };
    let shown = |h: &Hyperparameter| format!("`{} {} {}`", h.role, h.name, h.distribution);
    for hyperparameter in old.space.hyperparameters() {
        let label = hyperparameter.label();
        match find(new, &label) {
            None => found.push(format!("`{label}` is gone")),
            Some(now) if now != *hyperparameter => {
                found.push(format!("`{label}` was {}, now {}", shown(hyperparameter), shown(&now)));
            }
            Some(_) => {}
        }
    }
    for hyperparameter in new.space.hyperparameters() {
        if find(old, &hyperparameter.label()).is_none() {
            found.push(format!("`{}` is new", hyperparameter.label()));
        }
    }
    if found.is_empty() && old.space != new.space {
        found.push("the declarations stand in another order, which changes what is proposed".into());
    }
    found
}

/// Whether the new definition only has wider ranges and longer lists.
fn widens(old: &StudyDefinition, new: &StudyDefinition) -> bool {
    let (before, after) = (old.space.hyperparameters(), new.space.hyperparameters());
    let same_otherwise = StudyDefinition { space: new.space.clone(), ..old.clone() }
        == StudyDefinition { objective: old.objective.clone(), ..new.clone() }
        && old.objective.metric == new.objective.metric
        && old.objective.direction == new.objective.direction;
    same_otherwise
        && before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| {
            before.name == after.name
                && before.role == after.role
                && before.conditions == after.conditions
                && contains(&after.distribution, &before.distribution)
        })
}

/// Whether every value of `inner` is one of `outer`, drawn on the same scale.
fn contains(outer: &Distribution, inner: &Distribution) -> bool {
    use Distribution::*;
    match (outer, inner) {
        (Uniform { low, high }, Uniform { low: l, high: h })
        | (LogUniform { low, high }, LogUniform { low: l, high: h })
        | (OneMinusLogUniform { low, high }, OneMinusLogUniform { low: l, high: h }) => low <= l && high >= h,
        (Int { low, high }, Int { low: l, high: h }) | (LogInt { low, high }, LogInt { low: l, high: h }) => {
            low <= l && high >= h
        }
        (Choice { values }, Choice { values: inner }) => inner.iter().all(|v| values.iter().any(|w| v.same_as(w))),
        _ => outer == inner,
    }
}
