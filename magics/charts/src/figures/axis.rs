//! Hyperparameter axis plots: the objective of each trial against each hyperparameter.

use super::rim::{Rim, better_part};
use super::{metric_axis, number, point, series, value_text};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Shade, Style, palette};
use tunebook_analysis::{AxisPlot, AxisPoint};
use tunebook_study::{Scale, TrialState, Value};

/// Draws one panel for each hyperparameter. Infeasible trials are crosses at the rim, which lies just beyond the better
/// three quarters of the objectives. Worse trials are drawn at the rim too, and counted.
pub fn axis(study: &str, axis: &tunebook_analysis::Axis) -> Chart {
    let values: Vec<f64> = axis
        .plots
        .iter()
        .flat_map(|plot| &plot.points)
        .filter(|p| p.state == TrialState::Complete)
        .filter_map(|p| p.objective)
        .collect();
    let matter = better_part(&values, axis.direction);
    let y = metric_axis(&axis.metric, &matter);
    let rim = Rim::around(&matter, axis.direction, &y.scale);
    let panels: Vec<Panel> = axis.plots.iter().map(|plot| panel(plot, axis, &y, &rim)).collect();
    let most = |chosen: &dyn Fn(&AxisPoint) -> bool| {
        axis.plots.iter().map(|plot| plot.points.iter().filter(|p| chosen(p)).count()).max().unwrap_or(0)
    };
    let infeasible = most(&|p| p.state == TrialState::Infeasible);
    let beyond = |state: TrialState| most(&|p| p.state == state && p.objective.is_some_and(|y| rim.is_beyond(y)));
    let clipped: String = [(TrialState::Stopped, "stopped early"), (TrialState::Complete, "much worse")]
        .into_iter()
        .map(|(state, what)| (beyond(state), what))
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!(", {count} {what}"))
        .collect();
    let thinned = axis.plots.iter().filter_map(|plot| Some((plot.points.len(), plot.thinned?)));
    let each = match thinned.max_by_key(|(_, all)| *all) {
        Some((drawn, all)) => format!("{drawn} of {all} trials are drawn: of these"),
        None => "one point for each trial;".into(),
    };
    let stars = if axis.best.is_empty() { "" } else { "; stars: the three best" };
    let subtitle = format!("{each} {infeasible} infeasible{clipped} at the rim{stars}");
    let columns = panels.len().clamp(1, 3);
    Chart { title: format!("{study}: {} against each hyperparameter", axis.metric), subtitle, panels, columns }
}

/// Draws one hyperparameter. Suspicious ends of its range are shaded.
fn panel(plot: &AxisPlot, axis: &tunebook_analysis::Axis, y: &Axis, rim: &Rim) -> Panel {
    let name = &plot.hyperparameter;
    let x_axis = match plot.scale {
        Scale::Linear => Axis::new(name, AxisScale::Linear),
        Scale::Log => Axis::new(format!("{name} (log scale)"), AxisScale::Log),
        Scale::OneMinusLog => Axis::new(format!("{name} (log scale of 1 − value)"), AxisScale::OneMinusLog),
        Scale::Categorical => Axis::new(name, AxisScale::Categories(plot.categories.iter().map(value_text).collect())),
    };
    let x = |value: &Value| match plot.scale {
        Scale::Categorical => plot.categories.iter().position(|c| c.same_as(value)).map(|i| i as f64),
        _ => value.as_f64(),
    };
    // A trial without an objective is drawn at `otherwise`, or not at all.
    let points = |wanted: &dyn Fn(&AxisPoint) -> bool, otherwise: Option<f64>| -> Vec<Point> {
        let chosen = plot.points.iter().filter(|p| wanted(p));
        chosen
            .filter_map(|p| {
                let y = p.objective.map(|y| if rim.is_beyond(y) { rim.worse() } else { y }).or(otherwise)?;
                let result = p.objective.map_or(p.state.to_string(), number);
                let label = format!("trial {}\n{name} = {}\n{result}", p.trial, value_text(&p.value));
                Some(point(x(&p.value)?, y, label))
            })
            .collect()
    };
    let is_best = |p: &AxisPoint| axis.best.contains(&p.trial);
    let is_chance = |p: &AxisPoint| axis.flags.worse_than_chance.contains(&p.trial);
    let stopped = points(&|p| p.state == TrialState::Stopped, None);
    let is_worse = |p: &AxisPoint| p.objective.is_some_and(|y| rim.is_beyond(y));
    let is_complete = |p: &AxisPoint| p.state == TrialState::Complete && !is_best(p) && !is_chance(p);
    let complete = points(&|p| is_complete(p) && !is_worse(p), None);
    let worse = points(&|p| is_complete(p) && is_worse(p), None);
    let infeasible = points(&|p| p.state == TrialState::Infeasible, Some(rim.worse()));
    let untrained = points(&|p| p.state == TrialState::Complete && !is_best(p) && is_chance(p), None);
    let best_three = points(&|p| p.state == TrialState::Complete && is_best(p), None);
    let mut drawn = vec![
        series("stopped early", palette::FAINT, Style::Points(Mark::Ring, 8.0), stopped),
        series("complete", palette::BLUE, Style::Points(Mark::Disc, 7.0), complete),
        series("much worse", palette::FAINT, Style::Points(Mark::Diamond, 7.0), worse),
        series("no better than untrained", palette::RED, Style::Points(Mark::Ring, 8.0), untrained),
        series("infeasible", palette::RED, Style::Points(Mark::Cross, 9.0), infeasible),
        series("best three", palette::ORANGE, Style::Points(Mark::Star, 13.0), best_three),
    ];
    drawn.retain(|series| !series.points.is_empty());
    let shade = |range: &[f64; 2]| Shade { range: *range, label: "too narrow?".into(), color: palette::ORANGE };
    let shades = plot.shaded.iter().map(shade).collect();
    Panel { shades, ..Panel::new(x_axis, y.clone(), drawn) }
}
