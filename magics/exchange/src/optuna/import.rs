//! Makes a study of ours of one of Optuna's.

use super::export::{DEFINITION, INFEASIBLE, OwnTrial, SECONDS, TRIAL};
use super::space::{space_of, value_of};
use super::{OptunaDirection, OptunaState, OptunaStudy, OptunaTrial, metric_names};
use crate::{RecordedTrial, json};
use serde_json::{Map, Value as Json, json};
use std::collections::HashSet;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::store::summarize;
use tunebook_study::{
    Direction, Hyperparameter, Measurement, Objective, ObjectiveValue, Params, Role, SearchSpace, StudyDefinition,
    Trial, TrialState, WorkloadReference,
};

/// What the user chooses.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The objective, from 0, of a study with several.
    pub objective: Option<usize>,
    /// The parameters whose effect is the question. The others are nuisance hyperparameters.
    pub scientific: Vec<String>,
    /// Says where the study comes from.
    pub from: String,
}

/// A study of Optuna as one of ours.
#[derive(Clone, Debug)]
pub struct Imported {
    pub definition: StudyDefinition,
    pub trials: Vec<RecordedTrial>,
    /// What our store has no place for: attributes, and the distributions as Optuna had them.
    pub kept: Json,
    /// What is to be said about it.
    pub notes: Vec<String>,
    /// How many trials waited, and were left out.
    pub left_out: usize,
    /// The wall time of the study. None if the file does not say it.
    pub seconds: Option<f64>,
}

/// Why a study cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportProblem {
    /// It has several objectives and none was chosen, or there is no such objective.
    #[error("{message}")]
    Objective { message: String, possible: Vec<String> },
    /// It has no such parameter.
    #[error("no trial has a parameter `{name}`")]
    Scientific { name: String, known: Vec<String> },
    /// It cannot be a study here.
    #[error("{0}")]
    Impossible(String),
}

/// Makes a study of ours. One that this program exported becomes what it was.
pub fn import(study: &OptunaStudy, choices: &Choices) -> Result<Imported, ImportProblem> {
    let own_definition = own_definition(study);
    let is_own = own_definition.is_some();
    let own_trials = own_trials(study, is_own);
    let is_untouched = is_own && own_trials.iter().all(Option::is_some);
    let mut notes = vec![];
    let metrics = metric_names(study);
    let chosen = objective_index(study, choices.objective, &metrics)?;
    let mut definition = match own_definition {
        Some(own) => own,
        None => {
            let (space, of_space) = space_of(&study.trials).map_err(ImportProblem::Impossible)?;
            notes.extend(of_space);
            foreign_definition(study, space, &metrics[chosen], chosen)
        }
    };
    if is_own && !is_untouched {
        notes.push("Trials were added after the export: the study is no longer that of its workload.".into());
    }
    if !is_untouched || !choices.scientific.is_empty() {
        definition.workload = WorkloadReference::Imported { from: choices.from.clone() };
        definition.sampler = SamplerKind::External;
        definition.earlier.clear();
    }
    definition.space = with_roles(&definition.space, &choices.scientific)?;
    let numbers = numbers(study, &own_trials);
    let mut trials = vec![];
    let mut left_out = 0;
    for ((trial, own), number) in study.trials.iter().zip(own_trials).zip(&numbers) {
        match own {
            Some(own) => trials.push(own.recorded()),
            None if trial.state == OptunaState::Waiting => left_out += 1,
            None => trials.push(foreign_trial(trial, *number, &definition, &metrics, chosen)),
        }
    }
    trials.sort_by_key(|recorded| recorded.trial.number);
    if left_out > 0 {
        notes.push(format!(
            "{left_out} {} waiting to run and {} left out.",
            if left_out == 1 { "trial was" } else { "trials were" },
            if left_out == 1 { "was" } else { "were" }
        ));
    }
    if definition.sampler == SamplerKind::External {
        notes.push(
            "The file does not say how Optuna proposed the trials. Its default sampler tries more where results were \
             good, so the trials are not independent draws, as the intervals and probabilities of %isolate, %insight \
             and %bestofk assume."
                .into(),
        );
    }
    let seconds = study.user_attributes.get(SECONDS).and_then(Json::as_f64).filter(|_| is_untouched);
    Ok(Imported { definition, trials, kept: kept(study, &numbers), notes, left_out, seconds })
}

fn own_definition(study: &OptunaStudy) -> Option<StudyDefinition> {
    serde_json::from_value(study.system_attributes.get(DEFINITION)?.clone()).ok()
}

/// What each trial was here before it was exported. None for a trial that was added elsewhere.
///
/// Optuna copies trials with their attributes, also into other studies. So all are None if the study has no definition
/// of ours, or if two trials have one number.
fn own_trials(study: &OptunaStudy, is_own: bool) -> Vec<Option<OwnTrial>> {
    let read = |trial: &OptunaTrial| serde_json::from_value(trial.system_attributes.get(TRIAL)?.clone()).ok();
    let own: Vec<Option<OwnTrial>> = study.trials.iter().map(read).collect();
    let mut numbers = HashSet::new();
    let are_unique = own.iter().flatten().all(|own| numbers.insert(own.number));
    if is_own && are_unique { own } else { own.iter().map(|_| None).collect() }
}

/// The number of each trial here. Those that were added elsewhere come after ours.
fn numbers(study: &OptunaStudy, own_trials: &[Option<OwnTrial>]) -> Vec<u32> {
    let last = own_trials.iter().flatten().map(|own| own.number).max().unwrap_or(0);
    let number = |(trial, own): (&OptunaTrial, &Option<OwnTrial>)| {
        own.as_ref().map_or_else(|| last + trial.number + 1, |own| own.number)
    };
    study.trials.iter().zip(own_trials).map(number).collect()
}

fn objective_index(study: &OptunaStudy, chosen: Option<usize>, metrics: &[String]) -> Result<usize, ImportProblem> {
    let possible = metrics.iter().enumerate().map(|(i, metric)| format!("{i}: {} {metric}", direction(study, i)));
    let possible: Vec<String> = possible.collect();
    let message = match chosen {
        Some(index) if index < metrics.len() => return Ok(index),
        None if metrics.len() == 1 => return Ok(0),
        Some(index) => format!("the study `{}` has no objective {index}", study.name),
        None => format!("the study `{}` has {} objectives, and a study here has one", study.name, metrics.len()),
    };
    Err(ImportProblem::Objective { message, possible })
}

fn direction(study: &OptunaStudy, objective: usize) -> Direction {
    match study.directions.get(objective) {
        Some(OptunaDirection::Maximize) => Direction::Maximize,
        _ => Direction::Minimize,
    }
}

fn foreign_definition(study: &OptunaStudy, space: SearchSpace, metric: &str, chosen: usize) -> StudyDefinition {
    let direction = direction(study, chosen);
    let objective = Objective { metric: metric.into(), direction, judged: judged(study, direction) };
    let note = study.system_attributes.iter().find(|(name, _)| name.starts_with("dashboard:note_str:"));
    StudyDefinition {
        sampler: SamplerKind::External,
        notes: note.and_then(|(_, text)| text.as_str()).map(String::from),
        ..StudyDefinition::new(WorkloadReference::Imported { from: String::new() }, space, objective)
    }
}

/// Whether the values of a study's trials are the last or the best of what they reported. Optuna does not say.
fn judged(study: &OptunaStudy, direction: Direction) -> ObjectiveValue {
    let complete = study.trials.iter().filter(|trial| trial.state == OptunaState::Complete);
    let reported = complete.filter_map(|trial| Some((*trial.values.first()?, &trial.intermediate)));
    let reported: Vec<_> = reported.filter(|(_, intermediate)| !intermediate.is_empty()).collect();
    let is_best = |value: &f64, reported: &f64| !direction.better(*reported, *value);
    let all_last = reported.iter().all(|(value, steps)| steps.values().next_back() == Some(value));
    let all_best = reported
        .iter()
        .all(|(value, steps)| steps.values().any(|v| v == value) && steps.values().all(|v| is_best(value, v)));
    if all_best && (!all_last || reported.is_empty()) { ObjectiveValue::Best } else { ObjectiveValue::Final }
}

/// The space with these hyperparameters as the scientific ones. Without names, the roles stay.
fn with_roles(space: &SearchSpace, scientific: &[String]) -> Result<SearchSpace, ImportProblem> {
    let labels: Vec<String> = space.hyperparameters().iter().map(Hyperparameter::label).collect();
    let mut chosen = vec![];
    for name in scientific {
        let Some(found) = space.find(name) else {
            return Err(ImportProblem::Scientific { name: name.clone(), known: labels });
        };
        if found.distribution.is_constant() {
            let message = format!("`{name}` has the same value in all trials, so that its effect cannot be seen");
            return Err(ImportProblem::Impossible(message));
        }
        chosen.push(found.label());
    }
    let mut changed = SearchSpace::new();
    for hyperparameter in space.hyperparameters() {
        let role = match hyperparameter.role {
            _ if chosen.contains(&hyperparameter.label()) => Role::Scientific,
            Role::Scientific if !chosen.is_empty() => Role::Nuisance,
            role => role,
        };
        let declared = changed.declare(Hyperparameter { role, ..hyperparameter.clone() });
        declared.map_err(|error| ImportProblem::Impossible(error.to_string()))?;
    }
    Ok(changed)
}

fn foreign_trial(
    trial: &OptunaTrial,
    number: u32,
    definition: &StudyDefinition,
    metrics: &[String],
    chosen: usize,
) -> RecordedTrial {
    let (state, reason) = state(trial, chosen);
    let measurements = measurements(trial, definition, metrics, chosen);
    let params: Params = trial
        .parameters
        .keys()
        .filter_map(|name| {
            // An export names a hyperparameter that exists in several branches by its label.
            let plain = definition.space.find(name).map_or(name, |h| &h.name);
            Some((plain.clone(), value_of(trial, name)?))
        })
        .collect();
    let started = trial.started.unwrap_or(0.0);
    let trial = Trial {
        number,
        configuration: number - 1,
        params,
        seed: 0,
        state,
        reason,
        summaries: summarize(&measurements),
        seconds: trial.completed.map_or(0.0, |completed| (completed - started).max(0.0)),
        started,
    };
    RecordedTrial { trial, measurements }
}

/// The state of ours, and why a trial is in it.
fn state(trial: &OptunaTrial, chosen: usize) -> (TrialState, Option<String>) {
    let because = |state, reason: String| (state, Some(reason));
    let attribute = |name: &str| trial.system_attributes.get(name).and_then(Json::as_str);
    match trial.state {
        OptunaState::Complete => {
            let value = trial.values.get(chosen).copied().unwrap_or(f64::NAN);
            match (value.is_finite(), violates_constraint(trial)) {
                (false, _) => because(TrialState::Infeasible, format!("its objective was {value}")),
                (_, true) => because(TrialState::Infeasible, "it violated a constraint".into()),
                _ => (TrialState::Complete, None),
            }
        }
        OptunaState::Pruned => {
            let after =
                trial.intermediate.keys().next_back().map_or(String::new(), |step| format!(" after step {step}"));
            because(TrialState::Stopped, format!("pruned by Optuna{after}"))
        }
        OptunaState::Fail => {
            let infeasible = trial.user_attributes.get(INFEASIBLE);
            let reason = attribute("fail_reason");
            let is_nan = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "nan");
            let last = trial.intermediate.values().next_back().filter(|value| !value.is_finite());
            match (infeasible, reason, last) {
                (Some(why), _, _) => {
                    because(TrialState::Infeasible, why.as_str().map_or_else(|| why.to_string(), String::from))
                }
                (_, Some(reason), _) if is_nan(reason) => because(TrialState::Infeasible, reason.into()),
                (_, _, Some(last)) => {
                    because(TrialState::Infeasible, format!("the last value that it reported was {last}"))
                }
                (_, Some(reason), _) => because(TrialState::Failed, reason.into()),
                _ => because(TrialState::Failed, "it failed in Optuna, which recorded no reason".into()),
            }
        }
        OptunaState::Running | OptunaState::Waiting => {
            because(TrialState::Cancelled, "it was running when the file was read".into())
        }
    }
}

/// Whether one of a trial's constraints is positive. Earlier versions of Optuna wrote them under the name of the
/// sampler, such as `nsga2:constraints`.
fn violates_constraint(trial: &OptunaTrial) -> bool {
    let is_constraints = |name: &str| name == "constraints" || name.ends_with(":constraints");
    let lists = trial.system_attributes.iter().filter(|(name, _)| is_constraints(name));
    lists.filter_map(|(_, list)| list.as_array()).flatten().filter_map(json::number).any(|value| value > 0.0)
}

/// What a trial reported, and its values. A value that is not what the trial reported at last is a measurement of its
/// own, one step later.
fn measurements(
    trial: &OptunaTrial,
    definition: &StudyDefinition,
    metrics: &[String],
    chosen: usize,
) -> Vec<Measurement> {
    let metric = &definition.objective.metric;
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let measurement = |step: u64, value: f64| Measurement {
        step,
        seconds: 0.0,
        metrics: [(metric.clone(), finite(value))].into_iter().collect(),
    };
    let mut all: Vec<Measurement> =
        trial.intermediate.iter().map(|(step, value)| measurement((*step).max(0) as u64, *value)).collect();
    if trial.state != OptunaState::Complete {
        return all;
    }
    if let Some(value) = trial.values.get(chosen) {
        let mut reported = trial.intermediate.values();
        let is_there = match definition.objective.judged {
            ObjectiveValue::Final => reported.next_back() == Some(value),
            ObjectiveValue::Best => reported.any(|v| v == value),
        };
        if !is_there {
            all.push(measurement(all.last().map_or(0, |last| last.step + 1), *value));
        }
    }
    // The other objectives are metrics.
    if let Some(last) = all.last_mut() {
        for (name, value) in metrics.iter().zip(&trial.values).filter(|(name, _)| *name != metric) {
            last.metrics.insert(name.clone(), finite(*value));
        }
    }
    all
}

/// Attributes, and the distributions that a parameter had in all trials.
fn kept(study: &OptunaStudy, numbers: &[u32]) -> Json {
    let is_ours = |name: &str| name.starts_with("tunebook:");
    let others = |attributes: &super::Attributes| -> Map<String, Json> {
        attributes
            .iter()
            .filter(|(name, _)| !is_ours(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let mut trials = Map::new();
    let mut distributions: Map<String, Json> = Map::new();
    for (trial, number) in study.trials.iter().zip(numbers) {
        let (user, system) = (others(&trial.user_attributes), others(&trial.system_attributes));
        if !user.is_empty() || !system.is_empty() {
            trials.insert(number.to_string(), json!({ "user": user, "system": system }));
        }
        for (name, parameter) in &trial.parameters {
            let distribution = parameter.distribution.to_json();
            match distributions.get(name) {
                Some(there) if *there != distribution => drop(distributions.insert(name.clone(), Json::Null)),
                Some(_) => {}
                None => drop(distributions.insert(name.clone(), distribution)),
            }
        }
    }
    distributions.retain(|_, distribution| !distribution.is_null());
    json!({ "user": others(&study.user_attributes), "system": others(&study.system_attributes), "trials": trials,
        "distributions": distributions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optuna::export::export;
    use crate::recorded::testing::study_with_branches;

    fn foreign(change: impl FnOnce(&mut OptunaStudy)) -> Imported {
        let mut study = export(&study_with_branches());
        study.system_attributes.remove(DEFINITION);
        change(&mut study);
        import(&study, &Choices::default()).unwrap()
    }

    #[test]
    fn a_copied_trial_of_ours_is_one_of_optuna_where_the_study_is_not_ours() {
        // Another study names its metric otherwise.
        let imported = foreign(|study| drop(study.system_attributes.remove("study:metric_names")));
        let objective = &imported.definition.objective;
        let values = imported.trials.iter().map(|r| objective.of(&r.trial).map(|(value, _)| value));
        assert_eq!(values.collect::<Vec<_>>(), [Some(0.25), Some(0.125)]);
        assert_eq!(imported.definition.sampler, SamplerKind::External);
    }

    #[test]
    fn trials_that_were_copied_have_numbers_of_their_own() {
        let mut study = export(&study_with_branches());
        let copy = OptunaTrial { number: 2, ..study.trials[0].clone() };
        study.trials.push(copy);
        let imported = import(&study, &Choices::default()).unwrap();
        let numbers: Vec<u32> = imported.trials.iter().map(|recorded| recorded.trial.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(matches!(imported.definition.workload, WorkloadReference::Imported { .. }));
        assert!(imported.notes.iter().any(|note| note.starts_with("Trials were added")), "{:?}", imported.notes);
    }

    #[test]
    fn constraints_are_read_under_the_names_of_all_versions() {
        for name in ["constraints", "nsga2:constraints", "botorch:constraints"] {
            let imported = foreign(|study| {
                study.trials[0].system_attributes.insert(name.into(), json!([-1.0, 0.5]));
                study.trials[1].system_attributes.insert(name.into(), json!([-1.0, 0.0]));
            });
            let states: Vec<TrialState> = imported.trials.iter().map(|recorded| recorded.trial.state).collect();
            assert_eq!(states, [TrialState::Infeasible, TrialState::Complete], "{name}");
        }
    }
}
