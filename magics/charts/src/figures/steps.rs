//! The training error of constant learning rates over the steps, and the steps to fit against the learning rate.

use super::{metric_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Style, palette};
use tunebook_analysis::{FitTrial, InitialSteps};

/// Colours from small to large learning rates.
const RAMP: [&str; 7] = ["#7b4fb0", "#4f74cf", "#1f9fc7", "#009e73", "#a3a82c", "#e69f00", "#d55e00"];
/// A line with at most this many points shows each of them as a disc.
const MAX_DISCS: usize = 12;

/// The legend names about so many learning rates at most.
const MAX_NAMES: usize = 5;

/// The texts above the chart.
#[derive(Clone, Debug)]
pub struct StepsCaption<'a> {
    pub name: &'a str,
    /// The metric of the training examples.
    pub metric: &'a str,
    /// A trial fits where the metric is at most this.
    pub at_most: f64,
    /// The largest number of steps of a trial.
    pub limit: u64,
    /// A remark that ends the subtitle. It may be empty.
    pub note: &'a str,
}

/// Draws the curve of each learning rate of the grid, and the steps to fit of the grid and of the seeds. A trial that
/// does not fit is a cross at the largest number of steps.
pub fn steps(caption: &StepsCaption<'_>, grid: &[FitTrial], seeds: &[FitTrial], found: &InitialSteps) -> Chart {
    let StepsCaption { name, metric, at_most, limit, note } = caption;
    let mut rates: Vec<&FitTrial> = grid.iter().collect();
    rates.sort_by(|a, b| a.learning_rate.total_cmp(&b.learning_rate));
    let values: Vec<f64> = rates.iter().flat_map(|trial| trial.curve.iter().map(|(_, y)| *y)).collect();
    let color = |i: usize| RAMP[if rates.len() < 2 { 0 } else { i * (RAMP.len() - 1) / (rates.len() - 1) }];
    let mut curves = vec![];
    for (i, trial) in rates.iter().enumerate() {
        let rate = number(trial.learning_rate);
        let label = |step: u64, y: f64| format!("lr {rate}, step {step}\n{metric} {}", number(y));
        let trained = trial.curve.iter().filter(|(step, _)| *step > 0);
        let points: Vec<Point> = trained.map(|(s, y)| point(*s as f64, *y, label(*s, *y))).collect();
        let style = if points.len() <= MAX_DISCS { Style::LineAndPoints } else { Style::Line };
        // The colours go from small to large rates, so that the ends and every third rate tell the others.
        let in_legend = rates.len() <= MAX_NAMES || i + 1 == rates.len() || i % rates.len().div_ceil(MAX_NAMES) == 0;
        curves.push(Series { in_legend, ..series(&format!("lr {rate}"), color(i), style, points) });
    }
    let stars = rates.iter().filter_map(|trial| {
        let (step, y) = trial.curve.iter().find(|(step, _)| Some(*step) == trial.steps)?;
        Some(point(*step as f64, *y, format!("lr {} fits after {step} steps", number(trial.learning_rate))))
    });
    curves.push(series("fits", palette::INK, Style::Points(Mark::Star, 11.0), stars.collect()));
    let to_fit = |trials: &[&FitTrial], name: &str, color, mark, size| {
        let points = trials.iter().filter_map(|trial| {
            let steps = trial.steps? as f64;
            let label = format!("lr {}\n{name} (trial {}): {steps} steps", number(trial.learning_rate), trial.trial);
            Some(point(trial.learning_rate, steps, label))
        });
        series(name, color, Style::Points(mark, size), points.collect())
    };
    let of_seeds: Vec<&FitTrial> = seeds.iter().collect();
    let not: Vec<Point> = rates
        .iter()
        .chain(&of_seeds)
        .filter(|trial| trial.steps.is_none() && !trial.state.runs_again())
        .map(|trial| {
            let least = trial.least.map_or("nothing".into(), |(value, _)| number(value));
            let label =
                format!("lr {} does not fit in {limit} steps\nleast {metric}: {least}", number(trial.learning_rate));
            point(trial.learning_rate, *limit as f64, label)
        })
        .collect();
    let mut drawn = vec![
        to_fit(&rates, "one trial a rate", palette::BLUE, Mark::Disc, 8.0),
        to_fit(&of_seeds, "additional seeds", palette::GREEN, Mark::Ring, 9.0),
        series("does not fit", palette::RED, Style::Points(Mark::Cross, 9.0), not),
    ];
    if let (Ok(steps), Some(fastest)) = (&found.steps, &found.fastest) {
        let steps = *steps as f64;
        let interval = found.interval.map(|[low, high]| [low.unwrap_or(steps), high.unwrap_or(steps)]);
        let label = format!("initial number of steps: {steps}");
        let middle = Point { x: fastest.learning_rate, y: steps, label, interval };
        drawn.push(series("initial number", palette::ORANGE, Style::Points(Mark::Star, 13.0), vec![middle]));
    }
    for drawn in [&mut curves, &mut drawn] {
        drawn.retain(|series| !series.points.is_empty());
    }
    let note = if note.is_empty() { String::new() } else { format!("; {note}") };
    let log = |what: &str| Axis::new(format!("{what} (log scale)"), AxisScale::Log);
    Chart {
        title: format!("{name}: steps until the training examples fit"),
        subtitle: format!(
            "{} learning rates, {} additional seeds of the fastest; a trial fits if {metric} ≤ {} at two evaluations \
             in a row{note}",
            grid.len(),
            seeds.len(),
            number(*at_most)
        ),
        panels: vec![
            Panel::new(log("step"), metric_axis(metric, &values), curves),
            Panel::new(log("learning rate"), log("steps until it fits"), drawn),
        ],
        columns: 2,
    }
}
