//! A study as the store records it, with everything that an export needs.

use serde_json::Value;
use tunebook_study::{Measurement, StudyDefinition, Trial};

/// A study with its trials.
#[derive(Clone, Debug)]
pub struct RecordedStudy {
    pub name: String,
    pub definition: StudyDefinition,
    /// When it was created, in Unix seconds.
    pub created: f64,
    /// Its wall time, in seconds. 0 if it is not known.
    pub seconds: f64,
    /// Where it ran last.
    pub environment: Option<Value>,
    /// What its import kept for a later export ([`crate::optuna::Imported::kept`]). None if it was not imported.
    pub kept: Option<Value>,
    pub trials: Vec<RecordedTrial>,
}

/// A trial with its measurements.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedTrial {
    pub trial: Trial,
    pub measurements: Vec<Measurement>,
}

/// Studies for the tests of the formats.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use tunebook_study::store::summarize;
    use tunebook_study::{
        Condition, Direction, Distribution, Hyperparameter, Objective, ObjectiveValue, Role, SearchSpace, TrialState,
        Value, WorkloadReference,
    };

    /// A study with two trials, in which both branches of `optimizer` declare `lr`, and one declares `momentum`.
    pub(crate) fn study_with_branches() -> RecordedStudy {
        let text = |text: &str| Value::Text(text.into());
        let mut space = SearchSpace::new();
        let mut declare = |name: &str, distribution: Distribution, branch: Option<&str>| {
            let condition = |value| Condition { name: "optimizer".into(), values: vec![text(value)] };
            let conditions = branch.map(condition).into_iter().collect();
            let hyperparameter = Hyperparameter { name: name.into(), role: Role::Nuisance, distribution, conditions };
            space.declare(hyperparameter).unwrap();
        };
        declare("optimizer", Distribution::choice(vec![text("sgd"), text("adam")]).unwrap(), None);
        declare("lr", Distribution::log_uniform(1e-3, 1.0).unwrap(), Some("sgd"));
        declare("momentum", Distribution::uniform(0.0, 1.0).unwrap(), Some("sgd"));
        declare("lr", Distribution::log_uniform(1e-4, 1.0).unwrap(), Some("adam"));
        let objective =
            Objective { metric: "loss".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best };
        let workload = WorkloadReference::Builtin { name: "digits_mlp".into() };
        let sgd = [("optimizer", text("sgd")), ("lr", Value::Float(0.5)), ("momentum", Value::Float(0.9))];
        let adam = [("optimizer", text("adam")), ("lr", Value::Float(0.01))];
        RecordedStudy {
            name: "branches".into(),
            definition: StudyDefinition::new(workload, space, objective),
            created: 1.0,
            seconds: 1.5,
            environment: None,
            kept: None,
            trials: vec![trial(1, &sgd, 0.25), trial(2, &adam, 0.125)],
        }
    }

    fn trial(number: u32, params: &[(&str, Value)], loss: f64) -> RecordedTrial {
        let metrics = [("loss".to_string(), Some(loss)), ("seconds".to_string(), Some(7.0))].into_iter().collect();
        let measurements = vec![Measurement { step: 10, seconds: 0.5, metrics }];
        let trial = Trial {
            number,
            configuration: number - 1,
            params: params.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            seed: u64::from(number),
            state: TrialState::Complete,
            reason: None,
            summaries: summarize(&measurements),
            seconds: 1.0,
            started: 2.0,
        };
        RecordedTrial { trial, measurements }
    }
}
