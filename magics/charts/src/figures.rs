//! From what an analysis found to the chart that shows it.

use crate::chart::{Axis as ChartAxis, AxisScale, Chart, Mark, Panel, Point, Series, Style, palette};
use tunebook_analysis::{Axis, AxisPlot, Curves, Isolation, Place};
use tunebook_study::{Direction, Scale, TrialState, Value};

/// How a study grew, for [`progress`].
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Name of the study.
    pub study: String,
    /// The metric that it optimizes.
    pub metric: String,
    /// Which way.
    pub direction: Direction,
    /// Trials asked for.
    pub asked: usize,
    /// Trials that ended, by number.
    pub trials: Vec<ProgressTrial>,
}

/// One trial of a [`Progress`].
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressTrial {
    /// Its number.
    pub number: u32,
    /// How it ended.
    pub state: TrialState,
    /// Its objective.
    pub objective: Option<f64>,
    /// Its hyperparameters in words.
    pub params: String,
}

/// Values that span more than a decade are read on a logarithmic axis, and so that its title says so.
pub(crate) fn metric_axis(metric: &str, values: &[f64]) -> ChartAxis {
    let (low, high) =
        values.iter().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(*v), high.max(*v)));
    if low > 0.0 && high / low > 10.0 {
        ChartAxis::new(format!("{metric} (log scale)"), AxisScale::Log)
    } else {
        ChartAxis::new(metric, AxisScale::Linear)
    }
}

/// A place just beyond the worst value: there stand the trials that have none.
fn beyond(values: &[f64], direction: Direction, scale: &AxisScale) -> f64 {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    if low > high {
        return 1.0;
    }
    match (direction, scale) {
        (Direction::Minimize, AxisScale::Log) => high * (high / low).powf(0.08).max(1.1),
        (Direction::Maximize, AxisScale::Log) => low / (high / low).powf(0.08).max(1.1),
        (Direction::Minimize, _) => high + (high - low).max(0.02 * high.abs()).max(1e-9) * 0.08,
        (Direction::Maximize, _) => low - (high - low).max(0.02 * high.abs()).max(1e-9) * 0.08,
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Float(x) => crate::ticks::number(significant(*x)),
        other => other.to_string(),
    }
}

/// Four significant digits.
fn significant(x: f64) -> f64 {
    format!("{x:.3e}").parse().unwrap_or(x)
}

pub(crate) fn number(x: f64) -> String {
    crate::ticks::number(significant(x))
}

pub(crate) fn point(x: f64, y: f64, label: String) -> Point {
    Point { x, y, label, interval: None }
}

pub(crate) fn series(name: &str, color: &'static str, style: Style, points: Vec<Point>) -> Series {
    Series { name: name.into(), color, style, points, in_legend: true }
}

/// The objective of each trial in the order of proposal, and the best so far.
pub fn progress(progress: &Progress) -> Chart {
    let complete: Vec<(&ProgressTrial, f64)> = progress
        .trials
        .iter()
        .filter(|t| t.state == TrialState::Complete)
        .filter_map(|t| Some((t, t.objective?)))
        .collect();
    let values: Vec<f64> = complete.iter().map(|(_, y)| *y).collect();
    let y = metric_axis(&progress.metric, &values);
    let cap = beyond(&values, progress.direction, &y.scale);
    let hover =
        |t: &ProgressTrial, what: String| format!("trial {}: {what}\n{}", t.number, t.params.replace(", ", "\n"));
    let mut best: Option<f64> = None;
    let mut running = vec![];
    for (trial, y) in &complete {
        if best.is_none_or(|best| progress.direction.better(*y, best)) {
            best = Some(*y);
        }
        let value = best.unwrap_or(*y);
        running.push(point(
            f64::from(trial.number),
            value,
            format!("best after trial {}: {}", trial.number, number(value)),
        ));
    }
    let of_state = |wanted: TrialState, name: &str, color, mark| {
        let points: Vec<Point> = progress
            .trials
            .iter()
            .filter(|t| t.state == wanted)
            .map(|t| point(f64::from(t.number), cap, hover(t, name.into())))
            .collect();
        series(name, color, Style::Points(mark, 9.0), points)
    };
    let dots = complete.iter().map(|(t, y)| point(f64::from(t.number), *y, hover(t, number(*y)))).collect();
    let mut drawn = vec![
        series("best so far", palette::ORANGE, Style::Steps, running),
        series("complete", palette::BLUE, Style::Points(Mark::Disc, 8.0), dots),
        of_state(TrialState::Infeasible, "infeasible", palette::RED, Mark::Cross),
        of_state(TrialState::Failed, "failed", palette::PURPLE, Mark::Diamond),
    ];
    drawn.retain(|series| !series.points.is_empty());
    let ended = progress.trials.len();
    let outside = ended - complete.len();
    let subtitle = format!(
        "{ended} of {} trials ended{}",
        progress.asked,
        if outside > 0 {
            format!(", {outside} of them without an objective (shown at the edge)")
        } else {
            String::new()
        }
    );
    Chart {
        title: format!("{}: {} by trial", progress.study, progress.metric),
        subtitle,
        panels: vec![Panel::new(ChartAxis::new("trial, in the order of proposal", AxisScale::Linear), y, drawn)],
        columns: 1,
    }
}

/// The best over the nuisances for each value, with all trials faint behind it. `behind`: for each point the objectives
/// of its trials.
pub fn isolation(study: &str, isolation: &Isolation, scale: Scale, behind: &[Vec<f64>]) -> Chart {
    let names: Vec<String> = isolation.points.iter().map(|p| place_text(&p.place)).collect();
    let categorical = isolation.points.iter().any(|p| matches!(p.place, Place::Value(_)));
    let title = |unit: &str| format!("{}{unit}", isolation.hyperparameter);
    let x_axis = match (categorical, scale) {
        (true, _) | (_, Scale::Categorical) => ChartAxis::new(title(""), AxisScale::Categories(names.clone())),
        (_, Scale::Linear) => ChartAxis::new(title(""), AxisScale::Linear),
        (_, Scale::Log) => ChartAxis::new(title(" (log scale)"), AxisScale::Log),
        (_, Scale::OneMinusLog) => ChartAxis::new(title(" (log scale of 1 − value)"), AxisScale::OneMinusLog),
    };
    let x = |i: usize| match &isolation.points[i].place {
        Place::Range([low, high]) if !categorical => middle(&x_axis.scale, *low, *high),
        _ => i as f64,
    };
    let mut faint = vec![];
    let (mut best, mut matched) = (vec![], vec![]);
    for (i, p) in isolation.points.iter().enumerate() {
        for y in behind.get(i).into_iter().flatten() {
            faint.push(point(x(i), *y, number(*y)));
        }
        let Some(y) = p.objective else { continue };
        let interval = p.interval.map_or(String::new(), |[a, b]| format!("\n95 %: {} to {}", number(a), number(b)));
        let label = format!(
            "{} = {}\nbest of {} trials: {} (trial {}){interval}",
            isolation.hyperparameter,
            names[i],
            p.trials,
            number(y),
            p.trial.unwrap_or(0)
        );
        best.push(Point { x: x(i), y, label, interval: p.interval });
        if let Some(y) = p.budget_matched {
            let label = format!("expected best of {} trials: {}", isolation.matched_trials, number(y));
            matched.push(point(x(i), y, label));
        }
    }
    let all: Vec<f64> = faint.iter().chain(&best).map(|p| p.y).collect();
    let mut counts: Vec<usize> = isolation.points.iter().map(|p| p.trials).collect();
    counts.sort_unstable();
    let infeasible: usize = isolation.points.iter().map(|p| p.infeasible).sum();
    let per_value = match (counts.first(), counts.last()) {
        (Some(a), Some(b)) if a != b => format!("{a} to {b} trials"),
        (Some(a), _) => format!("{a} trials"),
        _ => "no trials".into(),
    };
    let subtitle = format!(
        "{per_value} each, {infeasible} infeasible in all; bars: 95 % of the bests that another such study would find"
    );
    let matched_name = format!("expected best of {} (equal budget)", isolation.matched_trials);
    let mut drawn = vec![
        series("single trials", palette::FAINT, Style::Points(Mark::Ring, 6.0), faint),
        series(&matched_name, palette::ORANGE, Style::Points(Mark::Dash, 8.0), matched),
        series("best", palette::BLUE, Style::Points(Mark::Disc, 11.0), best),
    ];
    drawn.retain(|series| !series.points.is_empty());
    Chart {
        title: format!("{study}: best {} for each {}", isolation.metric, isolation.hyperparameter),
        subtitle,
        panels: vec![Panel::new(x_axis, metric_axis(&isolation.metric, &all), drawn)],
        columns: 1,
    }
}

/// Halfway on the scale.
fn middle(scale: &AxisScale, low: f64, high: f64) -> f64 {
    match scale {
        AxisScale::Log => (low * high).sqrt(),
        AxisScale::OneMinusLog => 1.0 - ((1.0 - low) * (1.0 - high)).sqrt(),
        _ => 0.5 * (low + high),
    }
}

fn place_text(place: &Place) -> String {
    match place {
        Place::Value(value) => value_text(value),
        Place::Range([low, high]) => format!("{}–{}", number(*low), number(*high)),
    }
}

/// What [`axis`] needs beside the analysis.
#[derive(Clone, Copy, Debug)]
pub struct AxisPicture<'a> {
    /// Name of the study.
    pub study: &'a str,
    /// Which way the objective is better.
    pub direction: Direction,
}

/// The objective of each trial against each hyperparameter.
pub fn axis(about: AxisPicture<'_>, axis: &Axis) -> Chart {
    let values: Vec<f64> = axis
        .plots
        .iter()
        .flat_map(|plot| &plot.points)
        .filter(|p| p.state == TrialState::Complete)
        .filter_map(|p| p.objective)
        .collect();
    let y = metric_axis(&axis.metric, &values);
    let cap = beyond(&values, about.direction, &y.scale);
    let panels: Vec<Panel> = axis.plots.iter().map(|plot| axis_panel(plot, axis, &y, cap)).collect();
    let count = |state: TrialState| {
        axis.plots.iter().map(|plot| plot.points.iter().filter(|p| p.state == state).count()).max().unwrap_or(0)
    };
    let subtitle = format!(
        "one point a trial; {} infeasible at the edge; stars: the three best trials",
        count(TrialState::Infeasible)
    );
    let columns = panels.len().clamp(1, 3);
    Chart { title: format!("{}: {} against each hyperparameter", about.study, axis.metric), subtitle, panels, columns }
}

fn axis_panel(plot: &AxisPlot, axis: &Axis, y: &ChartAxis, cap: f64) -> Panel {
    let name = &plot.hyperparameter;
    let x = match plot.scale {
        Scale::Linear => ChartAxis::new(name, AxisScale::Linear),
        Scale::Log => ChartAxis::new(format!("{name} (log scale)"), AxisScale::Log),
        Scale::OneMinusLog => ChartAxis::new(format!("{name} (log scale of 1 − value)"), AxisScale::OneMinusLog),
        Scale::Categorical => {
            ChartAxis::new(name, AxisScale::Categories(plot.categories.iter().map(value_text).collect()))
        }
    };
    let place = |value: &Value| match plot.scale {
        Scale::Categorical => plot.categories.iter().position(|c| c.same_as(value)).map(|i| i as f64),
        _ => value.as_f64(),
    };
    let points = |wanted: &dyn Fn(&tunebook_analysis::AxisPoint) -> bool, missing: Option<f64>| -> Vec<Point> {
        plot.points
            .iter()
            .filter(|p| wanted(p))
            .filter_map(|p| {
                let y = p.objective.or(missing)?;
                let what = p.objective.map_or(p.state.to_string(), number);
                Some(point(
                    place(&p.value)?,
                    y,
                    format!("trial {}\n{name} = {}\n{what}", p.trial, value_text(&p.value)),
                ))
            })
            .collect()
    };
    let complete = |p: &tunebook_analysis::AxisPoint| p.state == TrialState::Complete;
    let is_best = |p: &tunebook_analysis::AxisPoint| axis.best.contains(&p.trial);
    let of_state = |state: TrialState| move |p: &tunebook_analysis::AxisPoint| p.state == state;
    let mut drawn = vec![
        series(
            "stopped early",
            palette::FAINT,
            Style::Points(Mark::Ring, 8.0),
            points(&of_state(TrialState::Stopped), None),
        ),
        series(
            "complete",
            palette::BLUE,
            Style::Points(Mark::Disc, 7.0),
            points(&|p| complete(p) && !is_best(p), None),
        ),
        series(
            "infeasible",
            palette::RED,
            Style::Points(Mark::Cross, 9.0),
            points(&of_state(TrialState::Infeasible), Some(cap)),
        ),
        series(
            "best three",
            palette::ORANGE,
            Style::Points(Mark::Star, 13.0),
            points(&|p| complete(p) && is_best(p), None),
        ),
    ];
    drawn.retain(|series| !series.points.is_empty());
    Panel::new(x, y.clone(), drawn)
}

/// Training curves: the objective, the training loss and the gradient norm over the steps, a colour a trial.
pub fn curves(study: &str, objective: &str, curves: &Curves) -> Chart {
    let mut metrics: Vec<&str> = vec![objective];
    for wanted in ["train/loss", "valid/loss", "gradient_norm", "noise_scale"] {
        if wanted != objective && curves.trials.iter().any(|t| t.metrics.contains_key(wanted)) {
            metrics.push(wanted);
        }
    }
    let panel = |metric: &str| {
        let values: Vec<f64> =
            curves.trials.iter().filter_map(|t| t.metrics.get(metric)).flatten().map(|(_, y)| *y).collect();
        let mut drawn = vec![];
        for (i, trial) in curves.trials.iter().enumerate() {
            let Some(line) = trial.metrics.get(metric) else { continue };
            let color = palette::SERIES[i % palette::SERIES.len()];
            let name = format!("trial {}", trial.trial);
            let label = |step: u64, y: f64| format!("{name}, step {step}\n{metric} {}", number(y));
            let points: Vec<Point> = line.iter().map(|(s, y)| point(*s as f64, *y, label(*s, *y))).collect();
            let style = if points.len() <= 30 { Style::LineAndPoints } else { Style::Line };
            let best = trial.best_step.filter(|_| metric == objective);
            let mark: Vec<Point> = points.iter().filter(|p| best.is_some_and(|s| p.x == s as f64)).cloned().collect();
            drawn.push(series(&name, color, style, points));
            if !mark.is_empty() {
                drawn.push(series("best checkpoint", palette::RED, Style::Points(Mark::Star, 13.0), mark));
            }
        }
        Panel::new(ChartAxis::new("step", AxisScale::Linear), metric_axis(metric, &values), drawn)
    };
    let panels: Vec<Panel> = metrics.iter().map(|metric| panel(metric)).collect();
    Chart {
        title: format!("{study}: training curves"),
        subtitle: format!(
            "{} trials; validation metrics are measured at evaluations, train/loss is the mean since the last one",
            curves.trials.len()
        ),
        columns: panels.len().clamp(1, 2),
        panels,
    }
}
