//! Training curves: metrics over the training steps.

use super::{metric_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Style, palette};
use tunebook_analysis::Curves;

/// Beside the objective, the metrics that get a panel if a trial reported them.
const OTHER_METRICS: [&str; 4] = ["train/loss", "valid/loss", "gradient_norm", "noise_scale"];
/// A line with at most this many points shows each of them as a disc.
const MAX_DISCS: usize = 30;

/// Returns one panel for the objective and one for each other metric that a trial reported. Each trial has a colour of
/// its own. `objective` is the metric of the objective, on whose line the best checkpoint is marked.
pub fn curves(study: &str, objective: &str, curves: &Curves) -> Chart {
    let mut metrics: Vec<&str> = vec![objective];
    for wanted in OTHER_METRICS {
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
            let style = if points.len() <= MAX_DISCS { Style::LineAndPoints } else { Style::Line };
            let best = trial.best_step.filter(|_| metric == objective);
            let mark: Vec<Point> = points.iter().filter(|p| best.is_some_and(|s| p.x == s as f64)).cloned().collect();
            drawn.push(series(&name, color, style, points));
            if !mark.is_empty() {
                drawn.push(series("best checkpoint", palette::RED, Style::Points(Mark::Star, 13.0), mark));
            }
        }
        Panel::new(Axis::new("step", AxisScale::Linear), metric_axis(metric, &values), drawn)
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
