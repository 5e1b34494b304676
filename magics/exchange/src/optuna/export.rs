//! Makes a study of Optuna of one of ours. What Optuna has no place for goes into attributes, so that an import gives
//! the same study back.

use super::{Attributes, OptunaDirection, OptunaDistribution, OptunaParameter, OptunaState, OptunaStudy, OptunaTrial};
use crate::parameters::name_in;
use crate::{RecordedStudy, RecordedTrial};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tunebook_study::store::summarize;
use tunebook_study::{Direction, Measurement, Params, Trial, TrialState};

/// The system attribute of a study with its definition.
pub(super) const DEFINITION: &str = "tunebook:definition";
/// The system attribute of a trial with the trial itself.
pub(super) const TRIAL: &str = "tunebook:trial";
/// The user attribute of a trial that is infeasible: why.
pub const INFEASIBLE: &str = "tunebook:infeasible";

/// The user attribute of a study with its wall time in seconds.
pub(super) const SECONDS: &str = "tunebook:seconds";

/// A trial as an attribute.
#[derive(Serialize, Deserialize)]
pub(super) struct OwnTrial {
    pub number: u32,
    configuration: u32,
    params: Params,
    seed: u64,
    state: TrialState,
    reason: Option<String>,
    seconds: f64,
    started: f64,
    /// Step, seconds, metrics.
    measurements: Vec<(u64, f64, IndexMap<String, Option<f64>>)>,
}

impl OwnTrial {
    fn of(RecordedTrial { trial, measurements }: &RecordedTrial) -> Self {
        let Trial { number, configuration, params, seed, state, reason, seconds, started, .. } = trial.clone();
        let measurements = measurements.iter().map(|m| (m.step, m.seconds, m.metrics.clone())).collect();
        Self { number, configuration, params, seed, state, reason, seconds, started, measurements }
    }

    pub(super) fn recorded(self) -> RecordedTrial {
        let Self { number, configuration, params, seed, state, reason, seconds, started, measurements } = self;
        let measurements: Vec<Measurement> =
            measurements.into_iter().map(|(step, seconds, metrics)| Measurement { step, seconds, metrics }).collect();
        let summaries = summarize(&measurements);
        let trial = Trial { number, configuration, params, seed, state, reason, summaries, seconds, started };
        RecordedTrial { trial, measurements }
    }
}

/// The study of Optuna.
pub fn export(study: &RecordedStudy) -> OptunaStudy {
    let definition = &study.definition;
    let kept = |field: &str| study.kept.as_ref().and_then(|kept| kept[field].as_object()).cloned().unwrap_or_default();
    let mut user_attributes = kept("user");
    for (name, text) in [("tunebook:question", &definition.question), ("tunebook:notes", &definition.notes)] {
        user_attributes.extend(text.as_ref().map(|text| (name.to_string(), json!(text))));
    }
    let roles = definition.space.hyperparameters().iter().map(|h| (h.label(), json!(h.role))).collect::<Attributes>();
    user_attributes.insert("tunebook:workload".into(), json!(definition.workload.to_string()));
    user_attributes.insert("tunebook:roles".into(), json!(roles));
    user_attributes.insert("tunebook:seed".into(), json!(definition.seed));
    if study.seconds > 0.0 {
        user_attributes.insert(SECONDS.into(), json!(study.seconds));
    }
    let mut system_attributes = kept("system");
    system_attributes.insert("study:metric_names".into(), json!([definition.objective.metric]));
    system_attributes.insert(DEFINITION.into(), json!(definition));
    let (of_trials, distributions) = (kept("trials"), kept("distributions"));
    let mut trials: Vec<OptunaTrial> = vec![];
    for recorded in &study.trials {
        let attributes = of_trials.get(&recorded.trial.number.to_string());
        trials.push(trial(study, recorded, trials.len() as u32, attributes, &distributions));
    }
    let direction = match definition.objective.direction {
        Direction::Minimize => OptunaDirection::Minimize,
        Direction::Maximize => OptunaDirection::Maximize,
    };
    OptunaStudy { name: study.name.clone(), directions: vec![direction], user_attributes, system_attributes, trials }
}

fn trial(
    study: &RecordedStudy,
    recorded: &RecordedTrial,
    number: u32,
    kept: Option<&Json>,
    distributions: &Attributes,
) -> OptunaTrial {
    let (trial, definition) = (&recorded.trial, &study.definition);
    let kept = |field: &str| kept.and_then(|kept| kept[field].as_object()).cloned().unwrap_or_default();
    let (mut user_attributes, mut system_attributes) = (kept("user"), kept("system"));
    user_attributes.insert("tunebook:seed".into(), json!(trial.seed));
    system_attributes.insert(TRIAL.into(), json!(OwnTrial::of(recorded)));
    let objective = definition.objective.of(trial).map(|(value, _)| value);
    let last = trial.summaries.get(&definition.objective.metric).map(|summary| summary.last.0);
    let (state, value) = match (trial.state, objective) {
        (TrialState::Complete, Some(value)) => (OptunaState::Complete, Some(value)),
        // Optuna gives a pruned trial the last value that it reported.
        (TrialState::Stopped, _) => (OptunaState::Pruned, last),
        _ => (OptunaState::Fail, None),
    };
    let reason = trial.reason.clone().unwrap_or_else(|| trial.state.to_string());
    match trial.state {
        TrialState::Infeasible => {
            user_attributes.insert(INFEASIBLE.into(), json!(reason));
            system_attributes.insert("constraints".into(), json!([1.0]));
        }
        TrialState::Complete | TrialState::Stopped => {}
        TrialState::Failed | TrialState::Cancelled | TrialState::Running => {
            system_attributes.entry("fail_reason").or_insert(json!(reason));
        }
    }
    let mut intermediate = BTreeMap::new();
    let mut nonfinite = Attributes::new();
    for measurement in &recorded.measurements {
        match measurement.metrics.get(&definition.objective.metric) {
            Some(Some(value)) => drop(intermediate.insert(measurement.step as i64, *value)),
            Some(None) => drop(nonfinite.insert(measurement.step.to_string(), json!("nan"))),
            None => {}
        }
    }
    if !nonfinite.is_empty() {
        user_attributes.insert("tunebook:nonfinite".into(), json!(nonfinite));
    }
    let parameters = trial.params.iter().filter_map(|(plain, value)| {
        // A study that was imported may have values outside of the branch in which the name is declared.
        let declared =
            definition.space.active(plain, &trial.params).or_else(|| definition.space.named(plain).next())?;
        let name = name_in(&definition.space, plain, &trial.params);
        let as_it_was = distributions.get(&name).and_then(|json| OptunaDistribution::parse(&json.to_string()).ok());
        let distribution = as_it_was.unwrap_or_else(|| OptunaDistribution::of(&declared.distribution));
        let internal = distribution.internal(value)?;
        Some((name, OptunaParameter { internal, distribution }))
    });
    let started = Some(trial.started).filter(|started| *started > 0.0);
    OptunaTrial {
        number,
        state,
        values: value.into_iter().collect(),
        parameters: parameters.collect(),
        intermediate,
        user_attributes,
        system_attributes,
        started,
        completed: Some(trial.started + trial.seconds).filter(|_| started.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optuna::{Choices, import};
    use crate::recorded::testing::study_with_branches;

    #[test]
    fn branches_are_not_pooled_and_an_import_gives_the_same_study_back() {
        let study = study_with_branches();
        let exported = export(&study);
        let names = |at: usize| exported.trials[at].parameters.keys().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(names(0), ["optimizer", "optimizer=sgd/lr", "momentum"]);
        assert_eq!(names(1), ["optimizer", "optimizer=adam/lr"]);
        let imported = import(&exported, &Choices::default()).unwrap();
        assert_eq!((imported.definition, imported.trials), (study.definition, study.trials));
        assert_eq!(imported.seconds, Some(study.seconds), "the wall time, and not the sum over the trials");
    }

    #[test]
    fn a_trial_that_was_added_elsewhere_has_the_plain_names() {
        let study = study_with_branches();
        let mut exported = export(&study);
        let mut added = exported.trials[1].clone();
        added.number = 2;
        added.system_attributes.remove(TRIAL);
        exported.trials.push(added);
        let imported = import(&exported, &Choices::default()).unwrap();
        assert_eq!(imported.trials[2].trial.params, study.trials[1].trial.params);
        assert_eq!(imported.seconds, None, "the wall time was that without it");
    }
}
