//! The isolation plot: the best trial for each value of one hyperparameter.

use super::rim::Rim;
use super::{metric_axis, number, point, series, value_text};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Style, palette};
use tunebook_analysis::{Bucket, Isolation, IsolationPoint, counted};
use tunebook_study::{Direction, Params, Scale};

/// Draws the best objective of each point with its interval and its budget-matched value, and the objectives of all
/// trials faintly behind them. Trials that are much worse than the best ones are drawn at the rim and counted. A line
/// goes through the best of the baseline. `describe` returns a configuration as text.
pub fn isolation(study: &str, isolation: &Isolation, describe: &dyn Fn(&Params) -> String) -> Chart {
    let Isolation { hyperparameter, metric, points, matched, direction, .. } = isolation;
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
    let worse_end = |p: &IsolationPoint| {
        let [low, high] = p.interval?;
        if *direction == Direction::Minimize { high } else { low }
    };
    let matter: Vec<f64> =
        points.iter().flat_map(|p| [p.objective, p.budget_matched, worse_end(p)]).flatten().collect();
    let y_axis = metric_axis(metric, &matter);
    let rim = Rim::around(&matter, *direction, &y_axis.scale);
    let (mut single_trials, mut beyond) = (vec![], vec![]);
    let (mut best, mut expected) = (vec![], vec![]);
    // The ends of bars that go on beyond the axis.
    let mut cut = [vec![], vec![]];
    for (i, p) in points.iter().enumerate() {
        for trial in &p.trials {
            let Some(y) = trial.objective else { continue };
            let label = format!("trial {}: {}", trial.number, number(y));
            match rim.is_beyond(y) {
                true => beyond.push(point(x(i), rim.worse(), label)),
                false => single_trials.push(point(x(i), y, label)),
            }
        }
        let Some(y) = p.objective else { continue };
        let interval = p.interval.map_or(String::new(), |ends| {
            let [low, high] = ends.map(|end| end.map_or("open".into(), number));
            format!("\nwhere the best lies if the study is repeated, 95 %: {low} to {high}")
        });
        let seeds = p.seeds.map_or(String::new(), |[a, b]| format!("\nits seeds: {} to {}", number(a), number(b)));
        let label = format!(
            "{hyperparameter} = {}{}\nbest of {} configurations: {} (trial {}){seeds}{interval}\n{}",
            names[i],
            if p.is_baseline { " (baseline)" } else { "" },
            p.configurations,
            number(y),
            p.trial.unwrap_or(0),
            p.params.as_ref().map_or(String::new(), describe)
        );
        if let Some(ends) = p.interval {
            for (side, at) in rim.bar(ends).into_iter().enumerate().filter(|(side, _)| rim.is_cut(ends)[*side]) {
                cut[side].push(point(x(i), at, label.clone()));
            }
        }
        best.push(Point { x: x(i), y, label, interval: p.interval.map(|ends| rim.bar(ends)) });
        if let Some(y) = p.budget_matched {
            expected.push(point(x(i), y, format!("expected best of {matched} configurations: {}", number(y))));
        }
    }
    let clipped = beyond.len();
    let baseline = points.iter().find(|p| p.is_baseline).and_then(|p| p.objective).map_or(vec![], |y| {
        let label = format!("baseline: {}", number(y));
        [0, points.len() - 1].map(|i| point(x(i), y, label.clone())).to_vec()
    });
    let [cut_below, cut_above] = cut;
    let goes_on = "the bar continues beyond the axis";
    let mut drawn = vec![
        series("baseline", palette::GREEN, Style::Dashed, baseline),
        series("single trials", palette::FAINT, Style::Points(Mark::Ring, 6.0), single_trials),
        series("worse trials, at the rim", palette::FAINT, Style::Points(Mark::Diamond, 6.0), beyond),
        series(
            &format!("expected best of {matched} (equal budget)"),
            palette::ORANGE,
            Style::Points(Mark::Dash, 8.0),
            expected,
        ),
        series(goes_on, palette::BLUE, Style::Points(Mark::Down, 9.0), cut_below),
        series(goes_on, palette::BLUE, Style::Points(Mark::Up, 9.0), cut_above),
        series("best", palette::BLUE, Style::Points(Mark::Disc, 11.0), best),
    ];
    drawn.retain(|series| !series.points.is_empty());
    Chart {
        title: format!("{study}: best {metric} for each {hyperparameter}"),
        subtitle: subtitle(isolation, clipped),
        panels: vec![Panel::new(x_axis, y_axis, drawn)],
        columns: 1,
    }
    .thinned()
}

fn subtitle(isolation: &Isolation, clipped: usize) -> String {
    let points = &isolation.points;
    let what = if isolation.has_seeds() { "configuration" } else { "trial" };
    let counts = || points.iter().map(|p| p.configurations);
    let per_point = match (counts().min(), counts().max()) {
        (Some(a), Some(b)) if a != b => format!("{a} to {b} {what}s"),
        (Some(a), _) => counted(a, what),
        _ => format!("no {what}s"),
    };
    let infeasible: usize = points.iter().map(|p| p.infeasible).sum();
    let at_rim = match clipped {
        0 => String::new(),
        n => format!("; {} at the rim", counted(n, "worse trial")),
    };
    let bars = match points.iter().any(|p| p.interval.is_some()) {
        true => "; bars: where the best lies if the study is repeated (95 %)",
        false => "",
    };
    let all: usize = counts().sum();
    let share = 100.0 * infeasible as f64 / all.max(1) as f64;
    let infeasible =
        if infeasible > 0 { format!("{infeasible} infeasible in all ({share:.0} %)") } else { "0 infeasible".into() };
    let failed: usize = points.iter().map(|p| p.failed).sum();
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{per_point} each, {infeasible}{failed}{at_rim}{bars}")
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
