//! New training runs of configurations: each run, the mean with its interval, and the value that the study recorded.

use super::{number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Style, palette};
use tunebook_analysis::Runs;
use tunebook_study::Direction;

/// The new runs of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct RerunArm {
    /// What the configuration is called, for example `candidate: trial 7`.
    pub name: String,
    /// The value that the study recorded for it.
    pub recorded: f64,
    pub runs: Runs,
}

/// The runs of an arm lie side by side over this share of its width.
const WIDTH: f64 = 0.4;
/// Infeasible runs are drawn this share of the spread beyond the worst value.
const BEYOND: f64 = 0.12;

/// Draws the runs of each arm as dots, their mean with its 95 % interval, and the recorded value as a ring.
pub fn reruns(title: &str, metric: &str, direction: Direction, arms: &[RerunArm]) -> Chart {
    let names = arms.iter().map(|arm| arm.name.clone()).collect();
    let all: Vec<f64> =
        arms.iter().flat_map(|arm| arm.runs.values.iter().flatten().copied().chain([arm.recorded])).collect();
    let (low, high) = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(*y), high.max(*y)));
    let beyond = BEYOND * (high - low).max(1e-3 * high.abs().max(low.abs()));
    let rim = if direction == Direction::Minimize { high + beyond } else { low - beyond };
    let (mut runs, mut infeasible, mut means, mut recorded) = (vec![], vec![], vec![], vec![]);
    for (at, arm) in arms.iter().enumerate() {
        let (at, count) = (at as f64, arm.runs.values.len());
        for (i, value) in arm.runs.values.iter().enumerate() {
            let x = at - WIDTH / 2.0 + WIDTH * (i as f64 + 0.5) / count as f64;
            match value {
                Some(y) => runs.push(point(x, *y, format!("{}\nrun {}: {}", arm.name, i + 1, number(*y)))),
                None => infeasible.push(point(x, rim, format!("{}\nrun {}: infeasible", arm.name, i + 1))),
            }
        }
        if let Some(y) = arm.runs.mean {
            let interval = arm.runs.mean_interval;
            let text = interval.map_or(String::new(), |[a, b]| format!("\n95 %: {} to {}", number(a), number(b)));
            let label = format!("{}\nmean of {} runs: {}{text}", arm.name, arm.runs.feasible(), number(y));
            means.push(Point { x: at + 0.3, y, label, interval });
        }
        let label = format!("{}\nrecorded by the study: {}", arm.name, number(arm.recorded));
        recorded.push(point(at - 0.3, arm.recorded, label));
    }
    let counts: Vec<String> = arms.iter().map(|arm| arm.runs.values.len().to_string()).collect();
    let mut drawn = vec![
        series("new run", palette::SKY, Style::Points(Mark::Disc, 7.0), runs),
        series("infeasible run, worse than all", palette::RED, Style::Points(Mark::Cross, 9.0), infeasible),
        series("recorded by the study", palette::ORANGE, Style::Points(Mark::Ring, 9.0), recorded),
        series("mean of the new runs", palette::BLUE, Style::Points(Mark::Diamond, 11.0), means),
    ];
    drawn.retain(|series| !series.points.is_empty());
    Chart {
        title: title.into(),
        subtitle: format!(
            "{} new runs with new seeds; bars: where the mean of infinitely many runs lies (95 %)",
            counts.join(" and ")
        ),
        panels: vec![Panel::new(
            Axis::new("configuration", AxisScale::Categories(names)),
            Axis::new(metric, AxisScale::Linear),
            drawn,
        )],
        columns: 1,
    }
}
