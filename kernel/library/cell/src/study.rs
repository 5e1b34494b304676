//! Runs magics from Rust cells, and reads studies as typed values.

use crate::channel::ask;
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Runs a line magic or a cell magic, and returns its result as JSON, or null if it has none. Its output is shown in
/// the cell.
///
/// # Errors
///
/// The error of the magic.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// let result = tunebook::magic("%isolate depth hidden_layers")?;
/// for point in result["points"].as_array().into_iter().flatten() {
///     println!("{} {}", point["value"], point["objective"]);
/// }
/// # Ok::<(), tunebook::Error>(())
/// ```
pub fn magic(text: &str) -> Result<Value> {
    ask(&json!({ "magic": text }))
}

/// Reads a study with all its trials, in its current state.
///
/// # Errors
///
/// `UnknownStudy` if there is no study with this name.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// let study = tunebook::study("depth")?;
/// for trial in study.complete() {
///     println!("{} {:?} {:?}", trial.number, trial.float("lr"), trial.objective);
/// }
/// # Ok::<(), tunebook::Error>(())
/// ```
pub fn study(name: &str) -> Result<Study> {
    let value = ask(&json!({ "study": name }))?;
    Study::read(&value).ok_or_else(|| Error::new("KernelGone", "the kernel's answer is no study; restart it"))
}

/// A study, as it was when it was read.
#[derive(Clone, PartialEq)]
pub struct Study {
    pub name: String,
    /// The question that the study is to answer, if it was given.
    pub question: Option<String>,
    /// The definition as JSON: workload, search space, objective, sampler and so on.
    pub definition: Value,
    /// The metric of the objective.
    pub metric: String,
    /// Whether smaller or larger values of the objective are better.
    pub direction: Direction,
    /// The trials, ordered by number.
    pub trials: Vec<Trial>,
}

/// The direction of an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smaller is better.
    Minimize,
    /// Larger is better.
    Maximize,
}

/// The state of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrialState {
    /// The trial is running.
    Running,
    /// The trial ended with an objective.
    Complete,
    /// The objective or the training loss became non-finite, training diverged, or the trial ran out of memory.
    Infeasible,
    /// The stopping rule of the study ended the trial early.
    Stopped,
    /// The trial crashed, had an exit status other than 0, ran into its time limit, or ended without an objective.
    Failed,
    /// The user interrupted the trial.
    Cancelled,
}

/// One training run of a study.
#[derive(Clone, PartialEq)]
pub struct Trial {
    /// The number, from 1, in the order of proposal.
    pub number: u32,
    /// The number of the configuration of hyperparameters, from 0. Repeats of one configuration share it.
    pub configuration: u32,
    pub state: TrialState,
    /// The reason for the state. Of a complete trial, what was not recorded, if anything.
    pub reason: Option<String>,
    /// The objective with the sign of the metric. None if the trial is neither complete nor stopped, or if it reported
    /// no finite value.
    pub objective: Option<f64>,
    /// The training step at which the objective was measured.
    pub best_step: Option<u64>,
    /// The values of the active hyperparameters, fixed ones included.
    pub params: BTreeMap<String, Value>,
    /// The seed of all randomness in the trial.
    pub seed: u64,
    /// The duration in seconds.
    pub seconds: f64,
    /// The measurements (step, value) of each metric. A value that was not finite is NaN.
    pub metrics: BTreeMap<String, Vec<(u64, f64)>>,
}

impl Study {
    /// The complete trial with the best objective. Of equal trials it is the one with the lowest number.
    pub fn best(&self) -> Option<&Trial> {
        let objective = |trial: &Trial| match self.direction {
            Direction::Minimize => trial.objective,
            Direction::Maximize => trial.objective.map(|objective| -objective),
        };
        let complete = self.complete().filter_map(|trial| Some((objective(trial)?, trial)));
        complete.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, trial)| trial)
    }

    /// The complete trials, ordered by number.
    pub fn complete(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| trial.state == TrialState::Complete)
    }

    /// The trial with a number.
    pub fn trial(&self, number: u32) -> Option<&Trial> {
        self.trials.iter().find(|trial| trial.number == number)
    }

    /// Reads the answer of the kernel. None if it is not a study.
    fn read(value: &Value) -> Option<Self> {
        let objective = &value["definition"]["objective"];
        let direction = match objective["direction"].as_str()? {
            "minimize" => Direction::Minimize,
            "maximize" => Direction::Maximize,
            _ => return None,
        };
        Some(Self {
            name: value["name"].as_str()?.into(),
            question: value["definition"]["question"].as_str().map(String::from),
            definition: value["definition"].clone(),
            metric: objective["metric"].as_str()?.into(),
            direction,
            trials: value["trials"].as_array()?.iter().map(Trial::read).collect::<Option<_>>()?,
        })
    }
}

/// A line about the study, and one about the best trial.
impl fmt::Debug for Study {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, complete) = (self.trials.len(), self.complete().count());
        write!(f, "study {}: {all} trials, {complete} complete", self.name)?;
        match self.best() {
            Some(best) => write!(f, "; best by {}:\n{best:?}", self.metric),
            None => Ok(()),
        }
    }
}

impl TrialState {
    /// The name of the state, as in the tables of magics.
    pub fn as_str(self) -> &'static str {
        match self {
            TrialState::Running => "running",
            TrialState::Complete => "complete",
            TrialState::Infeasible => "infeasible",
            TrialState::Stopped => "stopped",
            TrialState::Failed => "failed",
            TrialState::Cancelled => "cancelled",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Running, Self::Complete, Self::Infeasible, Self::Stopped, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl fmt::Display for TrialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Trial {
    /// The value of a numeric hyperparameter. None if it is not a number, or not active in this trial. The next three
    /// methods do the same for other types.
    pub fn float(&self, hyperparameter: &str) -> Option<f64> {
        self.params.get(hyperparameter)?.as_f64()
    }

    /// The value of an integer hyperparameter.
    pub fn int(&self, hyperparameter: &str) -> Option<i64> {
        self.params.get(hyperparameter)?.as_i64()
    }

    /// The value of a hyperparameter that is a text.
    pub fn text(&self, hyperparameter: &str) -> Option<&str> {
        self.params.get(hyperparameter)?.as_str()
    }

    /// The value of a hyperparameter that is true or false.
    pub fn flag(&self, hyperparameter: &str) -> Option<bool> {
        self.params.get(hyperparameter)?.as_bool()
    }

    /// The measurements (step, value) of a metric; empty if there are none.
    pub fn curve(&self, metric: &str) -> &[(u64, f64)] {
        self.metrics.get(metric).map_or(&[], Vec::as_slice)
    }

    fn read(value: &Value) -> Option<Self> {
        let number = |field: &str| u32::try_from(value[field].as_u64()?).ok();
        let point = |point: &Value| Some((point[0].as_u64()?, point[1].as_f64().unwrap_or(f64::NAN)));
        let curve = |(name, points): (&String, &Value)| {
            Some((name.clone(), points.as_array()?.iter().map(point).collect::<Option<_>>()?))
        };
        let own = |map: &Map<String, Value>| map.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self {
            number: number("number")?,
            configuration: number("configuration")?,
            state: TrialState::read(value["state"].as_str()?)?,
            reason: value["reason"].as_str().map(String::from),
            objective: value["objective"].as_f64(),
            best_step: value["best_step"].as_u64(),
            params: own(value["params"].as_object()?),
            seed: value["seed"].as_u64()?,
            seconds: value["seconds"].as_f64()?,
            metrics: value["metrics"].as_object()?.iter().map(curve).collect::<Option<_>>()?,
        })
    }
}

/// A line with the state, the objective and the hyperparameters.
impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trial {} {}", self.number, self.state)?;
        if let (Some(objective), Some(step)) = (self.objective, self.best_step) {
            write!(f, ", {objective} at step {step}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ", {reason}")?;
        }
        for (at, (name, value)) in self.params.iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { ": " } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: u32, state: &str, objective: Value) -> Value {
        json!({ "number": number, "configuration": number - 1, "state": state, "reason": null, "objective": objective,
            "best_step": objective.as_f64().map(|_| 200),
            "params": { "lr": 0.1, "hidden_layers": 2, "optimizer": "adam", "nesterov": true },
            "seed": u64::MAX, "seconds": 1.5, "metrics": { "valid/error": [[100, 0.5], [200, null]] } })
    }

    fn depth(direction: &str, trials: Vec<Value>) -> Value {
        let objective = json!({ "metric": "valid/error", "direction": direction, "judged": "best" });
        json!({ "name": "depth", "definition": { "objective": objective, "question": "How deep?", "seed": 0 },
            "trials": trials })
    }

    #[test]
    fn the_best_trial_of_a_study_is_a_complete_one() {
        let trials = || {
            let objectives = [("complete", 0.3), ("infeasible", 0.1), ("complete", 0.2), ("complete", 0.2)];
            let trials = objectives.iter().zip(1..).map(|((state, objective), n)| trial(n, state, json!(objective)));
            trials.chain([trial(5, "complete", Value::Null)]).collect()
        };
        let study = Study::read(&depth("minimize", trials())).unwrap();
        assert_eq!((study.name.as_str(), study.question.as_deref()), ("depth", Some("How deep?")));
        assert_eq!((study.metric.as_str(), &study.definition["seed"]), ("valid/error", &json!(0)));
        assert_eq!(study.best().unwrap().number, 3);
        assert_eq!(study.complete().map(|trial| trial.number).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(study.trial(2).unwrap().state, TrialState::Infeasible);
        assert_eq!(Study::read(&depth("maximize", trials())).unwrap().best().unwrap().number, 1);
        assert_eq!(Study::read(&depth("minimize", vec![])).unwrap().best(), None);
    }

    #[test]
    fn hyperparameters_are_read_by_type() {
        let study = Study::read(&depth("minimize", vec![trial(1, "complete", json!(0.25))])).unwrap();
        let trial = &study.trials[0];
        assert_eq!(
            (trial.float("lr"), trial.float("hidden_layers"), trial.int("hidden_layers")),
            (Some(0.1), Some(2.0), Some(2))
        );
        assert_eq!(
            (trial.text("optimizer"), trial.flag("nesterov"), trial.float("beta1")),
            (Some("adam"), Some(true), None)
        );
        assert_eq!((trial.seed, trial.objective, trial.best_step), (u64::MAX, Some(0.25), Some(200)));
        assert_eq!(trial.curve("valid/error")[0], (100, 0.5));
        assert!(trial.curve("valid/error")[1].1.is_nan() && trial.curve("none").is_empty());
    }

    #[test]
    fn studies_and_trials_have_a_short_debug_text() {
        let study = Study::read(&depth("minimize", vec![trial(1, "complete", json!(0.25))])).unwrap();
        let expected = "study depth: 1 trials, 1 complete; best by valid/error:\ntrial 1 complete, 0.25 at step 200: \
                        hidden_layers=2 lr=0.1 nesterov=true optimizer=\"adam\"";
        assert_eq!(format!("{study:?}"), expected);
    }

    #[test]
    fn json_that_is_no_study_is_refused() {
        let mut odd = trial(1, "complete", json!(0.25));
        odd["state"] = json!("lost");
        for value in [json!(null), json!({ "name": "depth" }), depth("sideways", vec![]), depth("minimize", vec![odd])]
        {
            assert_eq!(Study::read(&value), None, "{value}");
        }
    }
}
