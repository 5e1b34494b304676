//! The chart of `%noise`: the gradient noise scale over training.

use crate::chart::{Axis, AxisScale, Chart, Panel, Point, Style, palette};
use crate::figures::{number, series};
use tunebook_analysis::NoisePoint;

/// The noise scale against steps, and what it is the ratio of.
pub fn noise(workload: &str, optimizer: &str, points: &[NoisePoint], mean: Option<f64>) -> Chart {
    // Step 0 stands at 1: most happens in the first steps, so the axis is logarithmic.
    let x = |step: u64| step.max(1) as f64;
    let steps = || Axis::new("step (log scale)", AxisScale::Log);
    let scale: Vec<Point> = points
        .iter()
        .filter_map(|p| {
            let y = p.noise_scale?;
            let label = format!("step {}\nnoise scale {} examples", p.step, number(y));
            Some(Point { x: x(p.step), y, label, interval: p.interval })
        })
        .collect();
    let mut drawn = vec![];
    if let (Some(mean), Some(first), Some(last)) = (mean, scale.first(), scale.last()) {
        let line = [first.x, last.x].map(|x| Point {
            x,
            y: mean,
            label: format!("over the run: {}", number(mean)),
            interval: None,
        });
        drawn.push(series("over the run", palette::ORANGE, Style::Dashed, line.to_vec()));
    }
    let unresolved = points.len() - scale.len();
    drawn.push(series("noise scale", palette::BLUE, Style::LineAndPoints, scale));
    let of = |name: &str, color, value: fn(&NoisePoint) -> f64| {
        let positive = points.iter().filter(|p| value(p) > 0.0);
        let at = |p: &NoisePoint| {
            let y = value(p);
            Point { x: x(p.step), y, label: format!("step {}\n{name} {}", p.step, number(y)), interval: None }
        };
        series(name, color, Style::LineAndPoints, positive.map(at).collect())
    };
    let parts = vec![
        of("variance of the gradient of one example", palette::PURPLE, |p| p.variance),
        of("squared norm of the true gradient", palette::GREEN, |p| p.squared_gradient),
    ];
    let subtitle = match unresolved {
        0 => "two-batch estimates; bars: 95 %".to_string(),
        n => format!("two-batch estimates; bars: 95 %; at {n} of {} steps it cannot be resolved", points.len()),
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
