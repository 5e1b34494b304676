//! The learning rate past the edge of stability, the training loss above the best rate, and the gradient norms.

use super::{metric_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Shade, Style, Thinning, palette};
use tunebook_analysis::{GradientNorms, MAX_POINTS};

/// Losses above this many times the largest first loss are drawn there, so that one run that explodes does not hide the
/// others.
const HIGHEST_LOSS: f64 = 10.0;

/// A run at a learning rate.
#[derive(Clone, Debug)]
pub struct RateDot {
    pub lr: f64,
    /// The objective with the sign that the run reported; None if it is not known.
    pub objective: Option<f64>,
    pub is_unstable: bool,
}

/// The training loss of a run.
#[derive(Clone, Debug)]
pub struct LossCurve {
    /// The learning rate, and what it is a multiple of.
    pub name: String,
    pub points: Vec<(u64, f64)>,
    pub is_unstable: bool,
}

/// What the chart of a stability study shows. While the study runs, parts of it are empty.
#[derive(Clone, Debug, Default)]
pub struct StabilityFigure {
    pub title: String,
    pub subtitle: String,
    /// The name of the objective.
    pub objective: String,
    pub runs: Vec<RateDot>,
    /// The median objective of each rate below the edge.
    pub medians: Vec<(f64, f64)>,
    /// The best rate and its objective.
    pub best: Option<(f64, f64)>,
    /// The bracket of the edge of stability.
    pub edge: Option<[f64; 2]>,
    pub losses: Vec<LossCurve>,
    pub norms: Option<GradientNorms>,
    /// The gradient norm of steps of one run at the best rate.
    pub norm_of_steps: Vec<(u64, f64)>,
}

/// Draws a stability study.
pub fn stability(figure: &StabilityFigure) -> Chart {
    let mut thinning = Thinning::to(MAX_POINTS);
    let mut panels = vec![rates(figure), losses(figure, &mut thinning)];
    if let Some(norms) = &figure.norms {
        panels.extend([histogram(norms), norms_of_steps(figure, norms, &mut thinning)]);
    }
    let subtitle = format!("{}{}", figure.subtitle, thinning.note());
    Chart { title: figure.title.clone(), subtitle, panels, columns: 2 }
}

fn rates(figure: &StabilityFigure) -> Panel {
    let known: Vec<f64> = figure.runs.iter().filter(|run| !run.is_unstable).filter_map(|run| run.objective).collect();
    let axis = metric_axis(&figure.objective, &known);
    let rim = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rim = if rim.is_finite() { rim } else { 1.0 };
    let dots = figure.runs.iter().filter(|run| !run.is_unstable).filter_map(|run| {
        let y = run.objective?;
        Some(point(run.lr, y, format!("lr {}\n{} {}", number(run.lr), figure.objective, number(y))))
    });
    let crosses = figure.runs.iter().filter(|run| run.is_unstable);
    let crosses = crosses.map(|run| point(run.lr, rim, format!("lr {}\nunstable", number(run.lr))));
    let line =
        figure.medians.iter().map(|(lr, y)| point(*lr, *y, format!("lr {}\nmedian {}", number(*lr), number(*y))));
    let mut drawn = vec![
        series("runs", palette::FAINT, Style::Points(Mark::Ring, 7.0), dots.collect()),
        series("median of the seeds", palette::BLUE, Style::LineAndPoints, line.collect()),
        series("unstable runs", palette::RED, Style::Points(Mark::Cross, 9.0), crosses.collect()),
    ];
    if let Some((lr, y)) = figure.best {
        let label = format!("best: lr {}\n{} {}", number(lr), figure.objective, number(y));
        drawn.push(series("best", palette::GREEN, Style::Points(Mark::Star, 14.0), vec![point(lr, y, label)]));
    }
    drawn.retain(|series| !series.points.is_empty());
    let mut panel = Panel::new(Axis::new("learning rate (log scale)", AxisScale::Log), axis, drawn);
    if let Some(range) = figure.edge {
        panel.shades.push(Shade { range, label: "edge".into(), color: palette::RED });
    }
    panel
}

fn losses(figure: &StabilityFigure, thinning: &mut Thinning) -> Panel {
    let first = figure.losses.iter().filter_map(|curve| curve.points.first()).map(|(_, loss)| *loss);
    let highest = HIGHEST_LOSS * first.fold(0.0, f64::max);
    let colors = [palette::BLUE, palette::ORANGE, palette::RED, palette::PURPLE, palette::SKY];
    let mut drawn: Vec<Series> = vec![];
    let mut values = vec![];
    let mut ends: Vec<Point> = vec![];
    for (curve, color) in figure.losses.iter().zip(colors.iter().cycle()) {
        let place = |loss: f64| if highest > 0.0 { loss.min(highest) } else { loss };
        let kept = thinning.keep_curve(&curve.points);
        let label = |step: u64, loss: f64| format!("{}, step {step}\ntrain/loss {}", curve.name, number(loss));
        let points: Vec<Point> =
            kept.iter().map(|(step, loss)| point(*step as f64, place(*loss), label(*step, *loss))).collect();
        values.extend(points.iter().map(|point| point.y));
        ends.extend(points.last().filter(|_| curve.is_unstable).cloned());
        drawn.push(series(&curve.name, color, Style::Line, points));
    }
    if !ends.is_empty() {
        drawn.push(series("unstable runs", palette::RED, Style::Points(Mark::Cross, 9.0), ends));
        if let Some(last) = drawn.last_mut() {
            last.in_legend = false;
        }
    }
    drawn.retain(|series| !series.points.is_empty());
    Panel::new(Axis::new("step", AxisScale::Linear), metric_axis("train/loss", &values), drawn)
}

fn histogram(norms: &GradientNorms) -> Panel {
    let (edges, counts) = &norms.histogram;
    let bar = |i: usize, count: usize| {
        let label = format!("norm {} to {}\n{count} steps", number(edges[i]), number(edges[i + 1]));
        point(edges[i], count as f64, label)
    };
    let mut bars: Vec<Point> = counts.iter().enumerate().map(|(i, count)| bar(i, *count)).collect();
    bars.extend(edges.last().map(|edge| point(*edge, 0.0, String::new())));
    let most = counts.iter().copied().max().unwrap_or(0) as f64;
    let threshold = [0.0, most].map(|y| point(norms.p90, y, format!("90th percentile {}", number(norms.p90)))).to_vec();
    Panel::new(
        Axis::new("gradient norm before clipping (log scale)", AxisScale::Log),
        Axis::new("steps", AxisScale::Linear),
        vec![
            series("norms at 1 ×", palette::BLUE, Style::Steps, bars),
            series("90th percentile", palette::ORANGE, Style::Dashed, threshold),
        ],
    )
}

fn norms_of_steps(figure: &StabilityFigure, norms: &GradientNorms, thinning: &mut Thinning) -> Panel {
    let kept = thinning.keep_curve(&figure.norm_of_steps);
    let at = |(step, norm): &(u64, f64)| point(*step as f64, *norm, format!("step {step}\nnorm {}", number(*norm)));
    let points: Vec<Point> = kept.iter().map(at).collect();
    let values: Vec<f64> = points.iter().map(|point| point.y).collect();
    let ends = [points.first(), points.last()];
    let threshold = ends.into_iter().flatten();
    let threshold = threshold.map(|end| point(end.x, norms.p90, format!("90th percentile {}", number(norms.p90))));
    let threshold: Vec<Point> = threshold.collect();
    Panel::new(
        Axis::new("step", AxisScale::Linear),
        metric_axis("gradient norm before clipping", &values),
        vec![
            series("norms at 1 ×", palette::BLUE, Style::Line, points),
            series("90th percentile", palette::ORANGE, Style::Dashed, threshold),
        ],
    )
}
