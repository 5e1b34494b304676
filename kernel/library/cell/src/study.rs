//! Magics and studies: what Rust cells learn of what magics know.

use crate::channel::ask;
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Runs a magic, a line or a whole cell; gives its result as JSON, or null where it has none. What it shows, it shows in the cell.
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

/// A study with all its trials, as it stands now.
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

/// A study.
#[derive(Clone, PartialEq)]
pub struct Study {
    /// Its name.
    pub name: String,
    /// What it is to answer.
    pub question: Option<String>,
    /// All of its definition: workload, space, objective, sampler, …
    pub definition: Value,
    /// The metric by which trials are judged.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// By number.
    pub trials: Vec<Trial>,
}

/// Which way an objective is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smaller is better.
    Minimize,
    /// Larger is better.
    Maximize,
}

/// How a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrialState {
    /// Under way.
    Running,
    /// Ended with an objective.
    Complete,
    /// Its objective or training loss became non-finite, it diverged, or it ran out of memory.
    Infeasible,
    /// Ended early by the study's stopping rule.
    Stopped,
    /// Crash, non-zero exit, time-out, or an end without the objective.
    Failed,
    /// Interrupted.
    Cancelled,
}

/// One training run of a study.
#[derive(Clone, PartialEq)]
pub struct Trial {
    /// From 1, in the order of proposal.
    pub number: u32,
    /// Which setting of the hyperparameters, from 0: repeats of one share it.
    pub configuration: u32,
    /// How it stands.
    pub state: TrialState,
    /// Why it stands so, where it is not complete.
    pub reason: Option<String>,
    /// The objective in the metric's own sign; `None` where no finite value was reported.
    pub objective: Option<f64>,
    /// The step of the objective.
    pub best_step: Option<u64>,
    /// Active hyperparameters, the fixed ones included.
    pub params: BTreeMap<String, Value>,
    /// Seed of all its randomness.
    pub seed: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// What it reported: (step, value) by metric; NaN where a value was not finite.
    pub metrics: BTreeMap<String, Vec<(u64, f64)>>,
}

impl Study {
    /// The best complete trial; of equals the first.
    pub fn best(&self) -> Option<&Trial> {
        let objective = |trial: &Trial| match self.direction {
            Direction::Minimize => trial.objective,
            Direction::Maximize => trial.objective.map(|objective| -objective),
        };
        let complete = self.complete().filter_map(|trial| Some((objective(trial)?, trial)));
        complete.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, trial)| trial)
    }

    /// The trials that are complete, by number.
    pub fn complete(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| trial.state == TrialState::Complete)
    }

    /// The trial of a number.
    pub fn trial(&self, number: u32) -> Option<&Trial> {
        self.trials.iter().find(|trial| trial.number == number)
    }

    /// From the kernel's answer; `None`: it is not what is expected.
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

/// A line on the whole, and one on the best trial.
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
    /// `complete`, `infeasible`, …
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
    /// A hyperparameter that is a number; `None` where it is none, or not active in this trial.
    pub fn float(&self, hyperparameter: &str) -> Option<f64> {
        self.params.get(hyperparameter)?.as_f64()
    }

    /// A hyperparameter that is a whole number.
    pub fn int(&self, hyperparameter: &str) -> Option<i64> {
        self.params.get(hyperparameter)?.as_i64()
    }

    /// A hyperparameter that is a text.
    pub fn text(&self, hyperparameter: &str) -> Option<&str> {
        self.params.get(hyperparameter)?.as_str()
    }

    /// A hyperparameter that is true or false.
    pub fn flag(&self, hyperparameter: &str) -> Option<bool> {
        self.params.get(hyperparameter)?.as_bool()
    }

    /// What was reported of a metric: (step, value); empty where nothing was.
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

/// A line: state, objective, hyperparameters.
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
            "best_step": objective.as_f64().map(|_| 200), "params": { "lr": 0.1, "hidden_layers": 2, "optimizer": "adam",
            "nesterov": true }, "seed": u64::MAX, "seconds": 1.5,
            "metrics": { "valid/error": [[100, 0.5], [200, null]] } })
    }

    fn depth(direction: &str, trials: Vec<Value>) -> Value {
        let objective = json!({ "metric": "valid/error", "direction": direction, "judged": "best" });
        json!({ "name": "depth", "definition": { "objective": objective, "question": "How deep?", "seed": 0 },
            "trials": trials })
    }

    #[test]
    fn a_study_is_read_and_its_best_trial_is_a_complete_one() {
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
    fn the_values_of_a_trial_have_types() {
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
    fn a_study_and_a_trial_are_short_as_values_of_a_cell() {
        let study = Study::read(&depth("minimize", vec![trial(1, "complete", json!(0.25))])).unwrap();
        let expected = "study depth: 1 trials, 1 complete; best by valid/error:\ntrial 1 complete, 0.25 at step 200: \
                        hidden_layers=2 lr=0.1 nesterov=true optimizer=\"adam\"";
        assert_eq!(format!("{study:?}"), expected);
    }

    #[test]
    fn what_is_no_study_is_not_taken_for_one() {
        let mut odd = trial(1, "complete", json!(0.25));
        odd["state"] = json!("lost");
        for value in [json!(null), json!({ "name": "depth" }), depth("sideways", vec![]), depth("minimize", vec![odd])]
        {
            assert_eq!(Study::read(&value), None, "{value}");
        }
    }
}
