//! Hyperparameter axis plots (Playbook E5): the objective of every trial against each hyperparameter that varies.

use crate::hyperparameter::{value_in, varied_hyperparameter};
use crate::thinning::{MAX_POINTS, thinned_to};
use crate::{AnalysisError, End, Finding, Flags, ranked};
use serde::Serialize;
use tunebook_study::{
    Direction, Distribution, Hyperparameter, Objective, Scale, StudyDefinition, Trial, TrialState, Value,
};

/// As many trials are marked as the best ones (Playbook E5).
const BEST: usize = 3;
/// The outer share of a range, in u, that is shaded at a suspicious end.
const EDGE: f64 = 0.1;

/// The axis plots of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    /// The metric that judges the trials.
    pub metric: String,
    /// Whether a smaller or a larger objective is better. It is not part of the JSON.
    #[serde(skip)]
    pub direction: Direction,
    /// One plot for each hyperparameter, in the order of declaration, or in the order that was asked for.
    pub plots: Vec<AxisPlot>,
    /// The numbers of the three best trials, the best first.
    pub best: Vec<u32>,
    /// The trials that are suspicious although they are complete.
    pub flags: Flags,
}

/// The plot of one hyperparameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AxisPlot {
    /// The label of the hyperparameter.
    pub hyperparameter: String,
    /// The scale on which its values are drawn.
    pub scale: Scale,
    /// The values of a list, in order. Empty for a range.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Value>,
    /// The ends of the range that the checklist suspects (`boundary`, `instability-edge`).
    pub suspicious: Vec<End>,
    /// The outer tenths of the range at these ends, as values. It is not part of the JSON.
    #[serde(skip)]
    pub shaded: Vec<[f64; 2]>,
    /// One point for each ended trial in which the hyperparameter is active. Of more than [`MAX_POINTS`], the best ones
    /// are kept, and others at equal distances.
    pub points: Vec<AxisPoint>,
    /// How many points there are in all, if some were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinned: Option<usize>,
    /// The values of the best trials among all points. It is not part of the JSON.
    #[serde(skip)]
    pub best_span: ValueSpan,
    /// The values of all points. It is not part of the JSON.
    #[serde(skip)]
    pub tried_span: ValueSpan,
    /// The number of infeasible trials with a larger value than the best trial's. It is 0 if the values are no numbers
    /// or the hyperparameter is not active in the best trial. It is not part of the JSON.
    #[serde(skip)]
    pub infeasible_above: usize,
    /// The same for smaller values.
    #[serde(skip)]
    pub infeasible_below: usize,
}

/// The values that some trials have.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueSpan {
    /// The hyperparameter is active in none of the trials.
    Empty,
    /// Values of a list, in the order of the list.
    Values(Vec<Value>),
    /// The smallest and the largest number.
    Range([f64; 2]),
}

/// One trial in an axis plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AxisPoint {
    /// The number of the trial.
    pub trial: u32,
    /// Its value of the hyperparameter.
    pub value: Value,
    /// Its objective, in the metric's own sign. None if it has none, or if it is neither complete nor stopped.
    pub objective: Option<f64>,
    /// The state in which it ended.
    pub state: TrialState,
}

/// Returns the plots of the hyperparameters that `labels` name, or of all that vary if there are no labels. `findings`
/// are those of the checklist.
///
/// It is an error if a hyperparameter is unknown or does not vary, or if there is nothing to draw: no trial has an
/// objective, is infeasible or was stopped.
pub fn axis(
    definition: &StudyDefinition,
    trials: &[Trial],
    labels: &[String],
    objective: &Objective,
    findings: &[Finding],
    flags: &Flags,
) -> Result<Axis, AnalysisError> {
    let space = &definition.space;
    let chosen: Vec<&Hyperparameter> = if labels.is_empty() {
        space.hyperparameters().iter().filter(|h| varied_hyperparameter(space, &h.label()).is_ok()).collect()
    } else {
        labels.iter().map(|label| varied_hyperparameter(space, label)).collect::<Result<_, _>>()?
    };
    let best: Vec<u32> = ranked(trials, objective).iter().take(BEST).map(|trial| trial.number).collect();
    let is_drawn = |trial: &Trial| matches!(trial.state, TrialState::Infeasible | TrialState::Stopped);
    if best.is_empty() && !trials.iter().any(is_drawn) {
        return Err(AnalysisError::NoObjective { metric: objective.metric.clone() });
    }
    let points_of = |hyperparameter: &Hyperparameter| -> Vec<AxisPoint> {
        let ended = trials.iter().filter(|trial| !trial.state.runs_again());
        ended
            .filter_map(|trial| {
                let value = value_in(space, hyperparameter, trial)?.clone();
                let judged = matches!(trial.state, TrialState::Complete | TrialState::Stopped);
                let objective = objective.of(trial).map(|(y, _)| y).filter(|_| judged);
                Some(AxisPoint { trial: trial.number, value, objective, state: trial.state })
            })
            .collect()
    };
    let plots = chosen.into_iter().map(|h| plot(h, &points_of(h), &best, findings)).collect();
    let (metric, direction) = (objective.metric.clone(), objective.direction);
    Ok(Axis { metric, direction, plots, best, flags: flags.clone() })
}

/// Concludes from the points of a hyperparameter. `best`: the numbers of the best trials, the best first.
fn plot(hyperparameter: &Hyperparameter, points: &[AxisPoint], best: &[u32], findings: &[Finding]) -> AxisPlot {
    let label = hyperparameter.label();
    let is_suspected = |finding: &&Finding| {
        ["boundary", "instability-edge"].contains(&finding.id) && finding.hyperparameter.as_ref() == Some(&label)
    };
    let suspicious: Vec<End> = findings.iter().filter(is_suspected).filter_map(|finding| finding.side).collect();
    let categories = match &hyperparameter.distribution {
        Distribution::Choice { values } => values.clone(),
        _ => vec![],
    };
    let best_value = best.first().and_then(|number| points.iter().find(|point| point.trial == *number)?.value.as_f64());
    let infeasible = |is_beyond: fn(f64, f64) -> bool| {
        let infeasible = points.iter().filter(|point| point.state == TrialState::Infeasible);
        let values = infeasible.filter_map(|point| point.value.as_f64());
        values.filter(|value| best_value.is_some_and(|best| is_beyond(*value, best))).count()
    };
    AxisPlot {
        shaded: suspicious.iter().filter_map(|end| outer_tenth(&hyperparameter.distribution, *end)).collect(),
        suspicious,
        hyperparameter: label,
        scale: hyperparameter.distribution.scale(),
        best_span: span(&categories, points.iter().filter(|point| best.contains(&point.trial))),
        tried_span: span(&categories, points.iter()),
        categories,
        points: with_the_best(points, best),
        thinned: (points.len() > MAX_POINTS).then_some(points.len()),
        infeasible_above: infeasible(|value, best| value > best),
        infeasible_below: infeasible(|value, best| value < best),
    }
}

/// Thins the points, which are in the order of their trials, and keeps those of the best trials.
fn with_the_best(points: &[AxisPoint], best: &[u32]) -> Vec<AxisPoint> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let is_best = |point: &&AxisPoint| best.contains(&point.trial);
    let mut kept = thinned_to(points, MAX_POINTS - BEST);
    kept.retain(|point| !is_best(&point));
    kept.extend(points.iter().filter(is_best).cloned());
    kept.sort_by_key(|point| point.trial);
    kept
}

/// Returns the outer tenth of a range at one end of its values.
fn outer_tenth(range: &Distribution, end: End) -> Option<[f64; 2]> {
    // Of 1 − v, a large coordinate is a small value.
    let is_reversed = range.scale() == Scale::OneMinusLog;
    let ends = if (end == End::Low) != is_reversed { [0.0, EDGE] } else { [1.0 - EDGE, 1.0] };
    let [a, b] = ends.map(|u| range.from_unit(u).as_f64());
    Some([a?.min(b?), a?.max(b?)])
}

fn span<'a>(categories: &[Value], points: impl Iterator<Item = &'a AxisPoint>) -> ValueSpan {
    let values: Vec<&Value> = points.map(|point| &point.value).collect();
    if !categories.is_empty() {
        let tried: Vec<Value> =
            categories.iter().filter(|category| values.iter().any(|v| v.same_as(category))).cloned().collect();
        return if tried.is_empty() { ValueSpan::Empty } else { ValueSpan::Values(tried) };
    }
    let numbers = values.iter().filter_map(|value| value.as_f64());
    let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high { ValueSpan::Empty } else { ValueSpan::Range([low, high]) }
}
