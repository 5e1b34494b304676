//! The gradient noise scale over training.

use super::{number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Style, palette};
use tunebook_analysis::{NoisePoint, RunNoise};

/// Draws B_simple = tr(Σ)/|G|² against the training step, and beside it tr(Σ) and |G|². `run` is the noise scale of
/// the run.
pub fn noise(workload: &str, optimizer: &str, points: &[NoisePoint], run: &RunNoise) -> Chart {
    // The axis is logarithmic, because the noise scale changes most in the first steps. It has no
    // place for step 0.
    let x = |step: u64| if step == 0 { 0.5 } else { step as f64 };
    let steps = || Axis::new("step (log scale; step 0 is drawn at 0.5)", AxisScale::Log);
    let scale: Vec<Point> = points
        .iter()
        .filter_map(|p| {
            let y = p.b_simple?;
            let label = format!("step {}\nnoise scale {} examples", p.step, number(y));
            let interval = p.interval.and_then(|[low, high]| Some([low?, high?]));
            Some(Point { x: x(p.step), y, label, interval })
        })
        .collect();
    let bounds: Vec<Point> = points
        .iter()
        .filter(|p| p.b_simple.is_none())
        .filter_map(|p| {
            let y = p.interval?[0].filter(|low| *low > 0.0)?;
            Some(point(x(p.step), y, format!("step {}\nnoise scale at least {} examples", p.step, number(y))))
        })
        .collect();
    let mut drawn = vec![];
    if let (Some(median), Some(steps)) = (run.critical_batch_size, run.steps) {
        let line = steps.map(|step| point(x(step), median, format!("median: {}", number(median))));
        drawn.push(series("median of the second half", palette::ORANGE, Style::Dashed, line.to_vec()));
    }
    let unresolved = points.len() - scale.len();
    drawn.push(series("noise scale", palette::BLUE, Style::LineAndPoints, scale));
    drawn.push(series("at least (not resolvable)", palette::SKY, Style::Points(Mark::Diamond, 9.0), bounds));
    drawn.retain(|series| series.name == "noise scale" || !series.points.is_empty());
    let of = |name: &str, color, value: fn(&NoisePoint) -> f64| {
        let positive = points.iter().filter(|p| value(p) > 0.0);
        let at = |p: &NoisePoint| {
            let y = value(p);
            point(x(p.step), y, format!("step {}\n{name} {}", p.step, number(y)))
        };
        series(name, color, Style::LineAndPoints, positive.map(at).collect())
    };
    let parts = vec![
        of("variance of the gradient of one example", palette::PURPLE, |p| p.tr_sigma),
        of("squared norm of the true gradient", palette::GREEN, |p| p.g_squared),
    ];
    let subtitle = match unresolved {
        0 => "estimates from two batch sizes; bars: 95 % interval".to_string(),
        n => format!(
            "estimates from two batch sizes; bars: 95 % interval; not resolvable at {n} of {} steps",
            points.len()
        ),
    };
    Chart {
        title: format!("{workload}: gradient noise scale with {optimizer}"),
        subtitle,
        panels: vec![
            Panel::new(steps(), Axis::new("noise scale, examples (log scale)", AxisScale::Log), drawn),
            Panel::new(steps(), Axis::new("its parts (log scale)", AxisScale::Log), parts),
        ],
        columns: 2,
    }
}
