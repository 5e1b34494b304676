//! The optimization history: the objective of each trial in the order of proposal, and the best so far.

use super::{beyond_worst, metric_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Style, palette};
use tunebook_analysis::{HistoryTrial, OptimizationHistory};
use tunebook_study::{Params, TrialState};

/// Draws the history of a study. `asked` is the number of trials that the user asked for. `describe` returns the
/// hyperparameters of a trial as text, separated by commas.
pub fn optimization_history(
    study: &str,
    asked: usize,
    history: &OptimizationHistory,
    describe: &dyn Fn(&Params) -> String,
) -> Chart {
    let OptimizationHistory { metric, direction, trials } = history;
    let complete: Vec<(&HistoryTrial, f64)> = trials.iter().filter_map(|t| Some((t, t.objective?))).collect();
    let values: Vec<f64> = complete.iter().map(|(_, y)| *y).collect();
    let y = metric_axis(metric, &values);
    let edge = beyond_worst(&values, *direction, &y.scale);
    let x = |trial: &HistoryTrial| f64::from(trial.number);
    let label = |trial: &HistoryTrial, result: String| {
        format!("trial {}: {result}\n{}", trial.number, describe(&trial.params).replace(", ", "\n"))
    };
    let best_so_far = complete
        .iter()
        .filter_map(|(t, _)| {
            let best = t.best_so_far?;
            Some(point(x(t), best, format!("best after trial {}: {}", t.number, number(best))))
        })
        .collect();
    let of_state = |wanted: TrialState, name: &str, color, mark| {
        let chosen = trials.iter().filter(|t| t.state == wanted);
        let points: Vec<Point> = chosen.map(|t| point(x(t), edge, label(t, name.into()))).collect();
        series(name, color, Style::Points(mark, 9.0), points)
    };
    let discs = complete.iter().map(|(t, y)| point(x(t), *y, label(t, number(*y)))).collect();
    let mut drawn = vec![
        series("best so far", palette::ORANGE, Style::Steps, best_so_far),
        series("complete", palette::BLUE, Style::Points(Mark::Disc, 8.0), discs),
        of_state(TrialState::Infeasible, "infeasible", palette::RED, Mark::Cross),
        of_state(TrialState::Failed, "failed", palette::PURPLE, Mark::Diamond),
    ];
    drawn.retain(|series| !series.points.is_empty());
    let ended = trials.len();
    let without = match ended - complete.len() {
        0 => String::new(),
        n => format!(", {n} of them without an objective (shown at the edge)"),
    };
    Chart {
        title: format!("{study}: {metric} by trial"),
        subtitle: format!("{ended} of {} trials ended{without}", asked.max(ended)),
        panels: vec![Panel::new(Axis::new("trial, in the order of proposal", AxisScale::Linear), y, drawn)],
        columns: 1,
    }
}
