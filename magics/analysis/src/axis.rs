//! Hyperparameter axis plots (Playbook E5): the objective of every trial against each hyperparameter that varies.

use crate::isolation::{declared, value_in};
use crate::{AnalysisError, ranked, thinned};
use serde::Serialize;
use tunebook_study::{Distribution, Objective, Scale, StudyDefinition, Trial, TrialState, Value};

/// The answer: one plot a hyperparameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    /// The metric.
    pub metric: String,
    /// In the order of declaration, or as asked for.
    pub plots: Vec<AxisPlot>,
    /// Numbers of the three best trials, the best first.
    pub best: Vec<u32>,
}

/// One hyperparameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AxisPlot {
    /// Its label.
    pub hyperparameter: String,
    /// How its axis is drawn.
    pub scale: Scale,
    /// The values of a list, in order; empty for a range.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Value>,
    /// One a trial in which it is active.
    pub points: Vec<AxisPoint>,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AxisPoint {
    /// Its number.
    pub trial: u32,
    /// Its value of the hyperparameter.
    pub value: Value,
    /// Its objective; null where it has none, or is infeasible.
    pub objective: Option<f64>,
    /// How it ended.
    pub state: TrialState,
}

/// The plots of the labels, or of all that vary.
pub fn axis(
    definition: &StudyDefinition,
    trials: &[Trial],
    labels: &[String],
    objective: &Objective,
) -> Result<Axis, AnalysisError> {
    let space = &definition.space;
    let chosen: Vec<_> = if labels.is_empty() {
        space.hyperparameters().iter().filter(|h| declared(space, &h.label()).is_ok()).collect()
    } else {
        labels.iter().map(|label| declared(space, label)).collect::<Result<_, _>>()?
    };
    if ranked(trials, objective).is_empty() {
        return Err(AnalysisError::NoObjective { metric: objective.metric.clone() });
    }
    let ended = |trial: &&Trial| !trial.state.runs_again();
    let plot = |hyperparameter: &tunebook_study::Hyperparameter| {
        let points: Vec<AxisPoint> = trials
            .iter()
            .filter(ended)
            .filter_map(|trial| {
                let value = value_in(space, hyperparameter, trial)?.clone();
                let judged = matches!(trial.state, TrialState::Complete | TrialState::Stopped);
                let objective = objective.of(trial).map(|(y, _)| y).filter(|_| judged);
                Some(AxisPoint { trial: trial.number, value, objective, state: trial.state })
            })
            .collect();
        let categories = match &hyperparameter.distribution {
            Distribution::Choice { values } => values.clone(),
            _ => vec![],
        };
        AxisPlot {
            hyperparameter: hyperparameter.label(),
            scale: hyperparameter.distribution.scale(),
            categories,
            points: thinned(&points),
        }
    };
    let best = ranked(trials, objective).iter().take(3).map(|trial| trial.number).collect();
    Ok(Axis { metric: objective.metric.clone(), plots: chosen.into_iter().map(plot).collect(), best })
}
