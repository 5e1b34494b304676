//! Training curves: metrics over the training steps, with the best checkpoint, the region of overfitting and the
//! gradient norms.

use super::{metric_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Shade, Style, palette};
use tunebook_analysis::{Curve, Curves, MAX_POINTS};

/// Beside the objective, the validation metrics that get a panel if a trial reported them.
const OTHER_METRICS: [&str; 4] = ["valid/loss", "gradient_norm", "noise_scale", "lr"];
/// A line with at most this many points shows each of them as a disc.
const MAX_DISCS: usize = 30;

/// The names under which the same metric of the training examples may be reported, the better one first: computed on
/// all of them like on the validation examples, or as the mean over batches.
fn training_names(metric: &str) -> Vec<String> {
    match metric.strip_prefix("valid/") {
        Some("loss") => vec!["train/eval_loss".into(), "train/loss".into()],
        Some(name) => vec![format!("train/{name}")],
        None => vec![],
    }
}

/// The colour of the i-th of the drawn trials.
fn color(i: usize) -> &'static str {
    palette::SERIES[i % palette::SERIES.len()]
}

/// Returns one panel for the objective and one for each other metric that a trial reported, each with the same metric
/// of the training examples as dashed lines; and the histogram of gradient norms. Each trial has a colour of its own.
/// `objective` is the metric of the objective, on whose line the best checkpoint is marked.
pub fn curves(study: &str, objective: &str, curves: &Curves) -> Chart {
    let reported = |metric: &str| curves.trials.iter().any(|trial| trial.metrics.contains_key(metric));
    let mut metrics: Vec<&str> = vec![objective];
    metrics.extend(OTHER_METRICS.into_iter().filter(|wanted| *wanted != objective && reported(wanted)));
    let shows_training = |metric: &&&str| training_names(metric).iter().any(|name| name == "train/loss");
    if !metrics.iter().any(|metric| shows_training(&metric)) && objective != "train/loss" && reported("train/loss") {
        metrics.insert(1, "train/loss");
    }
    let mut panels: Vec<Panel> =
        metrics.iter().map(|metric| panel(metric, objective, curves.trials.iter().enumerate())).collect();
    panels.extend(histogram(curves));
    Chart {
        title: format!("{study}: training curves"),
        subtitle: format!(
            "{}; solid: periodic evaluations; dashed: training examples, where train/loss is the online mean over \
             batches{}",
            match curves.trials.len() {
                1 => "1 trial".into(),
                n => format!("{n} trials"),
            },
            thinned_note(curves)
        ),
        columns: panels.len().clamp(1, 2),
        panels,
    }
}

/// Returns one panel for each value of a hyperparameter, with the objective of the best trial of that value. `values`
/// are the texts of the values, one for each trial.
pub fn curves_by_value(
    study: &str,
    objective: &str,
    hyperparameter: &str,
    values: &[String],
    curves: &Curves,
) -> Chart {
    let panels = curves.trials.iter().enumerate().zip(values).map(|((i, trial), value)| {
        let mut panel = panel(objective, objective, std::iter::once((i, trial)));
        panel.x.title = format!("step ({hyperparameter} = {value})");
        panel
    });
    let mut panels: Vec<Panel> = panels.collect();
    // The panels are to be compared, so they have one axis: a logarithmic one if any of them needs it.
    let axis = panels.iter().map(|panel| &panel.y).max_by_key(|axis| axis.scale == AxisScale::Log).cloned();
    if let Some(axis) = axis {
        panels.iter_mut().for_each(|panel| panel.y = axis.clone());
    }
    Chart {
        title: format!("{study}: the best trial for each {hyperparameter}"),
        subtitle: format!(
            "{} values; dashed: training examples; shaded: the trial overfits{}",
            panels.len(),
            thinned_note(curves)
        ),
        columns: panels.len().clamp(1, 2),
        panels,
    }
}

/// The end of a subtitle, which says that not all points of long curves are drawn. Empty if all are.
fn thinned_note(curves: &Curves) -> String {
    match curves.trials.iter().all(|trial| trial.thinned.is_empty()) {
        true => String::new(),
        false => format!("; at most {MAX_POINTS} points of a curve are drawn, its extremes among them"),
    }
}

/// Returns the panel of a metric, with the same metric of the training examples.
fn panel<'a>(metric: &str, objective: &str, trials: impl Iterator<Item = (usize, &'a Curve)> + Clone) -> Panel {
    let beside = training_names(metric);
    let beside = beside.iter().find(|name| trials.clone().any(|(_, trial)| trial.metrics.contains_key(*name)));
    let (mut drawn, mut best_checkpoints, mut values, mut shades) = (vec![], vec![], vec![], vec![]);
    for (i, trial) in trials {
        let name = format!("trial {}", trial.trial);
        if let Some((line, beside)) = beside.and_then(|beside| Some((trial.metrics.get(beside)?, beside))) {
            let points = line_of(line, &name, beside);
            values.extend(points.iter().map(|point| point.y));
            // The legend names the trial once, by its solid line.
            let dashed = series(&format!("{name} (training)"), color(i), Style::Dashed, points);
            drawn.push(Series { in_legend: false, ..dashed });
        }
        let Some(line) = trial.metrics.get(metric) else { continue };
        let points = line_of(line, &name, metric);
        values.extend(points.iter().map(|point| point.y));
        let style = if points.len() <= MAX_DISCS { Style::LineAndPoints } else { Style::Line };
        let best = trial.best_step.filter(|_| metric == objective);
        best_checkpoints.extend(points.iter().filter(|p| best.is_some_and(|s| p.x == s as f64)).cloned());
        drawn.push(series(&name, color(i), style, points));
        if let Some(region) = trial.overfitting.filter(|_| metric == objective && shades.is_empty()) {
            let range = [region.from as f64, region.to as f64];
            shades.push(Shade { range, label: format!("{name} overfits"), color: palette::RED });
        }
    }
    if !best_checkpoints.is_empty() {
        drawn.push(series("best checkpoint", palette::RED, Style::Points(Mark::Star, 13.0), best_checkpoints));
    }
    let mut axis = metric_axis(metric, &values);
    if let Some(beside) = beside {
        axis.title = format!("{} · dashed: {beside}", axis.title);
    }
    Panel { shades, ..Panel::new(Axis::new("step", AxisScale::Linear), axis, drawn) }
}

fn line_of(line: &[(u64, f64)], trial: &str, metric: &str) -> Vec<Point> {
    let label = |step: u64, y: f64| format!("{trial}, step {step}\n{metric} {}", number(y));
    line.iter().map(|(step, y)| point(*step as f64, *y, label(*step, *y))).collect()
}

/// Returns the histogram of the gradient norms of all steps, with the 90th percentile of each trial. None if no trial
/// has kept its norms.
fn histogram(curves: &Curves) -> Option<Panel> {
    let mut drawn = vec![];
    for (i, trial) in curves.trials.iter().enumerate() {
        let Some(norms) = &trial.gradient_norms else { continue };
        let name = format!("trial {}", trial.trial);
        let most = norms.histogram.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        let percent = |share: f64| 100.0 * share;
        let bars = norms.histogram.iter().map(|(low, share)| {
            let label = format!(
                "{name}: norm {} to {}\n{:.1} % of steps",
                number(*low),
                number(low * norms.ratio),
                percent(*share)
            );
            point(*low, percent(*share), label)
        });
        let bars = bars.chain(norms.histogram.last().map(|(low, _)| point(low * norms.ratio, 0.0, String::new())));
        drawn.push(series(&name, color(i), Style::Steps, bars.collect()));
        let label = format!("{name}: 90 % of the norms are at most {}", number(norms.p90));
        let line = [0.0, percent(most)].map(|y| point(norms.p90, y, label.clone()));
        let line = series("90th percentile", color(i), Style::Dashed, line.to_vec());
        drawn.push(Series { in_legend: false, ..line });
    }
    (!drawn.is_empty()).then(|| {
        let x = Axis::new("gradient norm (log scale) · dashed: 90th percentile", AxisScale::Log);
        Panel::new(x, Axis::new("% of steps", AxisScale::Linear), drawn)
    })
}
