//! A study as JSON, for Rust cells that call `tunebook::study("depth")`. The crate `tunebook` parses it into typed
//! values.
//!
//! ```text
//! { "name", "definition" (as in the result of `%study`), "trials": [{ "number", "configuration", "state", "reason",
//!   "objective", "best_step", "params": { … }, "seed", "seconds", "metrics": { name: [[step, value], …] } }] }
//! ```
//!
//! A number that is not finite or not known is null. Only a trial that is complete or stopped has an objective; the
//! metrics of the others hold what they reported.

use crate::error::{ErrorName, MagicError, Result};
use crate::magic::Context;
use serde_json::{Map, Value, json};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Measurement, Objective, Trial, TrialState};

/// The study with this name, with all its trials and all measurements that they reported.
pub fn study_as_json(context: &Context, name: &str) -> Result<Value> {
    let (store, study) = context.find_study(name)?.map_err(|help| {
        // A Rust cell gets only the message, so the help is appended to it.
        let message = format!("there is no study `{name}`");
        let message = help.map_or(message.clone(), |help| format!("{message}; {help}"));
        MagicError::new(ErrorName::UnknownStudy, message, None)
    })?;
    let trials: Result<Vec<Value>> =
        store.trials(&study)?.iter().map(|trial| trial_as_json(&store, &study, trial)).collect();
    Ok(json!({ "name": study.name, "definition": study.definition, "trials": trials? }))
}

fn trial_as_json(store: &Store, study: &StudyRecord, trial: &Trial) -> Result<Value> {
    let objective: &Objective = &study.definition.objective;
    let has_objective = matches!(trial.state, TrialState::Complete | TrialState::Stopped);
    let (value, step) = objective.of(trial).filter(|_| has_objective).unzip();
    Ok(json!({
        "number": trial.number,
        "configuration": trial.configuration,
        "state": trial.state,
        "reason": trial.reason,
        "objective": value,
        "best_step": step,
        "params": trial.params,
        "seed": trial.seed,
        "seconds": trial.seconds,
        "metrics": by_metric(&store.measurements(study, trial.number)?),
    }))
}

/// The measurements as a curve `[[step, value], …]` for each metric.
fn by_metric(measurements: &[Measurement]) -> Map<String, Value> {
    let mut curves = Map::new();
    for measurement in measurements {
        for (name, value) in &measurement.metrics {
            let curve = curves.entry(name.as_str()).or_insert_with(|| json!([]));
            if let Value::Array(points) = curve {
                points.push(json!([measurement.step, value]));
            }
        }
    }
    curves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, definition};
    use tunebook_study::store::NewTrial;

    #[test]
    fn a_study_contains_all_measurements_of_its_trials() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let mut store = context.store().unwrap();
        let study = store.create_study("depth", &definition()).unwrap();
        let mut writer = store.write(study).unwrap();
        let seed = (1_u64 << 60) + 1;
        let trial = NewTrial { number: 1, configuration: 0, params: [("lr".to_string(), 0.1.into())].into(), seed };
        writer.start(&trial).unwrap();
        for (step, error) in [(10, Some(0.5)), (20, Some(0.25)), (30, None)] {
            let metrics = [("valid/error".to_string(), error), ("lr".to_string(), Some(0.1))].into();
            writer.measured(1, &Measurement { step, seconds: 0.5, metrics }).unwrap();
        }
        writer.finish(1, TrialState::Complete, None, 1.5).unwrap();
        writer.start(&NewTrial { number: 2, configuration: 1, ..trial }).unwrap();
        writer.finish(2, TrialState::Failed, Some("out of luck"), 0.5).unwrap();
        drop(writer);

        let value = study_as_json(&context, "depth").unwrap();
        assert_eq!((&value["name"], &value["definition"]["question"]), (&json!("depth"), &json!("how fast?")));
        assert_eq!(value["definition"]["objective"]["direction"], "minimize");
        let expected = json!({ "number": 1, "configuration": 0, "state": "complete", "reason": null, "objective": 0.25,
            "best_step": 20, "params": { "lr": 0.1 }, "seed": seed, "seconds": 1.5,
            "metrics": { "valid/error": [[10, 0.5], [20, 0.25], [30, null]],
                "lr": [[10, 0.1], [20, 0.1], [30, 0.1]] } });
        assert_eq!(value["trials"][0], expected);
        let failed = &value["trials"][1];
        assert_eq!((&failed["state"], &failed["reason"]), (&json!("failed"), &json!("out of luck")));
        assert_eq!((&failed["objective"], &failed["metrics"]), (&Value::Null, &json!({})));
    }

    #[test]
    fn only_a_complete_or_a_stopped_trial_has_an_objective() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let mut store = context.store().unwrap();
        let study = store.create_study("depth", &definition()).unwrap();
        let mut writer = store.write(study).unwrap();
        let states = [
            (TrialState::Complete, true),
            (TrialState::Stopped, true),
            (TrialState::Infeasible, false),
            (TrialState::Failed, false),
            (TrialState::Cancelled, false),
        ];
        for ((state, _), number) in states.iter().zip(1..) {
            writer.start(&NewTrial { number, configuration: number, params: Default::default(), seed: 0 }).unwrap();
            let metrics = [("valid/error".to_string(), Some(0.5))].into();
            writer.measured(number, &Measurement { step: 10, seconds: 0.5, metrics }).unwrap();
            writer.finish(number, *state, None, 1.0).unwrap();
        }
        drop(writer);
        let value = study_as_json(&context, "depth").unwrap();
        for (i, (state, has_objective)) in states.into_iter().enumerate() {
            let trial = &value["trials"][i];
            let expected = if has_objective { (json!(0.5), json!(10)) } else { (Value::Null, Value::Null) };
            assert_eq!((trial["objective"].clone(), trial["best_step"].clone()), expected, "{state}");
            assert_eq!(trial["metrics"], json!({ "valid/error": [[10, 0.5]] }), "{state}");
        }
    }

    #[test]
    fn an_unknown_study_is_an_error_that_suggests_another() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let error = study_as_json(&context, "depth").unwrap_err();
        assert_eq!(error.name.as_str(), "UnknownStudy");
        assert!(
            error.message.contains("no study `depth`; ") && error.message.contains("contains no study yet"),
            "{error}"
        );
        context.store().unwrap().create_study("depth", &definition()).unwrap();
        let error = study_as_json(&context, "dept").unwrap_err();
        assert_eq!(error.message, "there is no study `dept`; did you mean `depth`?");
    }
}
