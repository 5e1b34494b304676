//! The isolation plot: the best trial for each value of one hyperparameter.

use super::{metric_axis, number, point, series, value_text};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Style, palette};
use tunebook_analysis::{Bucket, Isolation, IsolationPoint};
use tunebook_study::Scale;

/// Draws the best objective of each point with its interval and its budget-matched value, and the objectives of all
/// trials faintly behind them.
pub fn isolation(study: &str, isolation: &Isolation) -> Chart {
    let Isolation { hyperparameter, metric, points, matched_trials, .. } = isolation;
    let names: Vec<String> = points.iter().map(|p| bucket_text(&p.bucket)).collect();
    let is_list = points.iter().any(|p| matches!(p.bucket, Bucket::Value(_)));
    let x_axis = match (is_list, isolation.scale) {
        (true, _) | (_, Scale::Categorical) => Axis::new(hyperparameter, AxisScale::Categories(names.clone())),
        (_, Scale::Linear) => Axis::new(hyperparameter, AxisScale::Linear),
        (_, Scale::Log) => Axis::new(format!("{hyperparameter} (log scale)"), AxisScale::Log),
        (_, Scale::OneMinusLog) => {
            Axis::new(format!("{hyperparameter} (log scale of 1 − value)"), AxisScale::OneMinusLog)
        }
    };
    let x = |i: usize| match &points[i].bucket {
        Bucket::Range([low, high]) if !is_list => middle(&x_axis.scale, *low, *high),
        _ => i as f64,
    };
    let mut single_trials = vec![];
    let (mut best, mut matched) = (vec![], vec![]);
    for (i, p) in points.iter().enumerate() {
        let objectives = p.trials.iter().filter_map(|trial| trial.objective);
        single_trials.extend(objectives.map(|y| point(x(i), y, number(y))));
        let Some(y) = p.objective else { continue };
        let interval = p.interval.map_or(String::new(), |[a, b]| format!("\n95 %: {} to {}", number(a), number(b)));
        let label = format!(
            "{hyperparameter} = {}\nbest of {} trials: {} (trial {}){interval}",
            names[i],
            p.trials.len(),
            number(y),
            p.trial.unwrap_or(0)
        );
        best.push(Point { x: x(i), y, label, interval: p.interval });
        if let Some(y) = p.budget_matched {
            matched.push(point(x(i), y, format!("expected best of {matched_trials} trials: {}", number(y))));
        }
    }
    let all: Vec<f64> = single_trials.iter().chain(&best).map(|p| p.y).collect();
    let mut drawn = vec![
        series("single trials", palette::FAINT, Style::Points(Mark::Ring, 6.0), single_trials),
        series(
            &format!("expected best of {matched_trials} (equal budget)"),
            palette::ORANGE,
            Style::Points(Mark::Dash, 8.0),
            matched,
        ),
        series("best", palette::BLUE, Style::Points(Mark::Disc, 11.0), best),
    ];
    drawn.retain(|series| !series.points.is_empty());
    Chart {
        title: format!("{study}: best {metric} for each {hyperparameter}"),
        subtitle: subtitle(points),
        panels: vec![Panel::new(x_axis, metric_axis(metric, &all), drawn)],
        columns: 1,
    }
}

fn subtitle(points: &[IsolationPoint]) -> String {
    let counts = || points.iter().map(|p| p.trials.len());
    let per_point = match (counts().min(), counts().max()) {
        (Some(a), Some(b)) if a != b => format!("{a} to {b} trials"),
        (Some(a), _) => format!("{a} trials"),
        _ => "no trials".into(),
    };
    let infeasible: usize = points.iter().map(|p| p.infeasible).sum();
    let bars = "95 % interval of the best that another such study would find";
    format!("{per_point} each, {infeasible} infeasible in all; bars: {bars}")
}

/// Returns the middle between two values on a scale.
fn middle(scale: &AxisScale, low: f64, high: f64) -> f64 {
    match scale {
        AxisScale::Log => (low * high).sqrt(),
        AxisScale::OneMinusLog => 1.0 - ((1.0 - low) * (1.0 - high)).sqrt(),
        _ => 0.5 * (low + high),
    }
}

fn bucket_text(bucket: &Bucket) -> String {
    match bucket {
        Bucket::Value(value) => value_text(value),
        Bucket::Range([low, high]) if low == high => number(*low),
        Bucket::Range([low, high]) => format!("{}–{}", number(*low), number(*high)),
    }
}
