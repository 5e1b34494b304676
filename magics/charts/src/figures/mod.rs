//! Figures: one function for each analysis, which returns the chart that shows its result.

mod axis;
mod best_of_k;
mod best_steps;
mod curves;
mod history;
mod importance;
mod isolation;
mod noise;
mod replay;
mod reruns;
mod rim;
mod scaling;
mod stability;
mod steps;
mod throughput;

pub use axis::axis;
pub use best_of_k::best_of_k;
pub use best_steps::best_steps;
pub use curves::{curves, curves_by_value};
pub use history::optimization_history;
pub use importance::importance;
pub use isolation::isolation;
pub use noise::noise;
pub use replay::{ReplayedTrial, replay};
pub use reruns::{RerunArm, reruns};
pub use scaling::{ScalingCaption, scaling};
pub use stability::{LossCurve, RateDot, StabilityFigure, stability};
pub use steps::{StepsCaption, steps};
pub use throughput::{ThroughputCurve, throughput};

use crate::chart::{Axis, AxisScale, Point, Series, Style};
use crate::ticks;
use tunebook_study::Value;

/// An axis of a metric is logarithmic if its largest value is more than this many times its smallest.
const LOG_FROM: f64 = 10.0;

/// Returns the axis of a metric. It is logarithmic, and its title says so, if the values are positive and span more
/// than a decade.
fn metric_axis(metric: &str, values: &[f64]) -> Axis {
    let (low, high) =
        values.iter().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(*v), high.max(*v)));
    if low > 0.0 && high / low > LOG_FROM {
        Axis::new(format!("{metric} (log scale)"), AxisScale::Log)
    } else {
        Axis::new(metric, AxisScale::Linear)
    }
}

fn batch_size_axis() -> Axis {
    Axis::new("batch size (log scale)", AxisScale::Log)
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Float(x) => number(*x),
        other => other.to_string(),
    }
}

/// Returns the text of a number with four significant digits.
fn number(x: f64) -> String {
    ticks::number(format!("{x:.3e}").parse().unwrap_or(x))
}

fn point(x: f64, y: f64, label: String) -> Point {
    Point { x, y, label, interval: None }
}

fn series(name: &str, color: &'static str, style: Style, points: Vec<Point>) -> Series {
    Series { name: name.into(), color, style, points, in_legend: true }
}
