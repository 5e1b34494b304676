//! The optimization history: the objective of each trial in the order of proposal, and the best so far.

use super::rim::{Rim, better_part};
use super::{metric_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Style, Thinning, palette};
use tunebook_analysis::{HistoryTrial, OptimizationHistory, counted};
use tunebook_study::{Params, TrialState};

/// Draws the history of a study. `asked` is the number of trials that the user asked for. `describe` returns the
/// hyperparameters of a trial as text, separated by commas. Of each kind, at most `most` points are drawn.
pub fn optimization_history(
    study: &str,
    asked: usize,
    history: &OptimizationHistory,
    describe: &dyn Fn(&Params) -> String,
    most: usize,
) -> Chart {
    let OptimizationHistory { metric, direction, trials } = history;
    let complete: Vec<(&HistoryTrial, f64)> = trials.iter().filter_map(|t| Some((t, t.objective?))).collect();
    let values: Vec<f64> = complete.iter().map(|(_, y)| *y).collect();
    let matter = better_part(&values, *direction);
    let y = metric_axis(metric, &matter);
    let rim = Rim::around(&matter, *direction, &y.scale);
    let edge = rim.worse();
    let x = |trial: &HistoryTrial| f64::from(trial.number);
    let label = |trial: &HistoryTrial, result: String| {
        format!("trial {}: {result}\n{}", trial.number, describe(&trial.params).replace(", ", "\n"))
    };
    // The line has a point where the best changes, and one at the end.
    let last = complete.len().saturating_sub(1);
    let mut known = None;
    let best_so_far: Vec<Point> = complete
        .iter()
        .enumerate()
        .filter_map(|(i, (t, _))| {
            let best = t.best_so_far?;
            if known.replace(best) == Some(best) && i != last {
                return None;
            }
            let at = if rim.is_beyond(best) { edge } else { best };
            Some(point(x(t), at, format!("best after trial {}: {}", t.number, number(best))))
        })
        .collect();
    // Only what is drawn gets a label: labels take most of the time.
    let mut thinning = Thinning::to(most);
    let best_so_far = thinning.keep(&best_so_far);
    let (worse, discs): (Vec<_>, Vec<_>) = complete.iter().partition(|(_, y)| rim.is_beyond(*y));
    let clipped = worse.len();
    let discs = thinning.keep(&discs).iter().map(|(t, y)| point(x(t), *y, label(t, number(*y)))).collect();
    let worse = thinning.keep(&worse).iter().map(|(t, y)| point(x(t), edge, label(t, number(*y)))).collect();
    let mut of_state = |wanted: TrialState, name: &str, color, mark| {
        let chosen: Vec<&HistoryTrial> = trials.iter().filter(|t| t.state == wanted).collect();
        let points = thinning.keep(&chosen).iter().map(|t| point(x(t), edge, label(t, name.into()))).collect();
        series(name, color, Style::Points(mark, 9.0), points)
    };
    let mut drawn = vec![
        series("best so far", palette::ORANGE, Style::Steps, best_so_far),
        series("complete", palette::BLUE, Style::Points(Mark::Disc, 8.0), discs),
        series("much worse", palette::FAINT, Style::Points(Mark::Diamond, 8.0), worse),
        of_state(TrialState::Infeasible, "infeasible", palette::RED, Mark::Cross),
        of_state(TrialState::Failed, "failed", palette::PURPLE, Mark::Down),
        of_state(TrialState::Stopped, "stopped early", palette::FAINT, Mark::Ring),
    ];
    drawn.retain(|series| !series.points.is_empty());
    let ended = trials.len();
    let without = match ended - complete.len() {
        0 => String::new(),
        n => format!(", {n} of them without an objective (shown at the rim)"),
    };
    let at_rim = match clipped {
        0 => String::new(),
        n => format!(", {} at the rim", counted(n, "much worse one")),
    };
    let best = trials.last().and_then(|last| last.best_so_far).map_or(String::new(), |best| {
        let with = trials.iter().find(|t| t.best_so_far == Some(best)).map_or(0, |t| t.number);
        format!("Best {} with trial {with}; ", number(best))
    });
    Chart {
        title: format!("{study}: {metric} by trial"),
        subtitle: format!("{best}{ended} of {} trials ended{without}{at_rim}{}", asked.max(ended), thinning.note()),
        panels: vec![Panel::new(Axis::new("trial, in the order of proposal", AxisScale::Linear), y, drawn)],
        columns: 1,
    }
}
