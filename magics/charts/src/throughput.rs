//! The chart of `%throughput`: examples a second and memory against batch size.

use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Shade, Style, palette};
use crate::figures::{metric_axis, number, point, series};
use tunebook_analysis::{PointState, Throughput};

/// One curve.
pub struct ThroughputCurve<'a> {
    /// What is different about it; empty where there is only one.
    pub label: String,
    /// What was measured.
    pub throughput: &'a Throughput,
    /// The largest size that fits, where memory ends it.
    pub limit: Option<u64>,
}

/// Both panels; the first curve's ideal doubling, saturation, recommendation and limit are marked.
pub fn throughput(workload: &str, device: &str, curves: &[ThroughputCurve<'_>]) -> Chart {
    let mut rates: Vec<Series> = vec![];
    let mut memory: Vec<Series> = vec![];
    let mut shades: Vec<Shade> = vec![];
    let span = |of: fn(&tunebook_analysis::ThroughputPoint) -> Option<f64>| {
        let all = curves.iter().flat_map(|curve| &curve.throughput.points).filter_map(of);
        all.fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (_, highest) = span(|point| point.examples_per_second);
    for (i, curve) in curves.iter().enumerate() {
        let color = palette::SERIES[i % palette::SERIES.len()];
        let name =
            |what: &str| if curve.label.is_empty() { what.to_string() } else { format!("{what}, {}", curve.label) };
        let ok = curve.throughput.points.iter().filter(|point| point.state == PointState::Ok);
        let measured: Vec<Point> = ok
            .clone()
            .filter_map(|p| {
                let rate = p.examples_per_second?;
                let gain = p.gain.map_or(String::new(), |gain| format!("\ndoubling gained {gain:.2} times"));
                let seconds = p.seconds_per_step.unwrap_or(f64::NAN);
                let label = format!(
                    "batch size {}\n{} examples/s\n{} s a step{gain}",
                    p.batch_size,
                    number(rate),
                    number(seconds)
                );
                Some(Point { x: p.batch_size as f64, y: rate, label, interval: p.interval })
            })
            .collect();
        if i == 0
            && let Some(first) = measured.first()
        {
            let end = measured.last().map_or(first.x, |last| last.x).min(first.x * highest / first.y);
            let ideal =
                [first.x, end].map(|x| point(x, first.y * x / first.x, "twice the size, twice the throughput".into()));
            rates.push(series("ideal doubling", palette::INK, Style::Dashed, ideal.to_vec()));
        }
        rates.push(series(&name("measured"), color, Style::LineAndPoints, measured.clone()));
        let mark = |size: Option<u64>| measured.iter().find(|p| Some(p.x as u64) == size).cloned();
        for (what, size, shape) in [
            ("saturation", curve.throughput.saturation, Mark::Diamond),
            ("recommended", curve.throughput.recommended, Mark::Star),
        ] {
            if let Some(mut at) = mark(size) {
                at.label = format!("{what}: {}\n{}", at.x, at.label);
                at.interval = None;
                let in_legend = rates.iter().all(|series| series.name != what);
                rates.push(Series { in_legend, ..series(what, palette::ORANGE, Style::Points(shape, 14.0), vec![at]) });
            }
        }
        let used: Vec<Point> = ok
            .filter_map(|p| {
                let bytes = p.peak_memory_bytes? as f64;
                Some(point(
                    p.batch_size as f64,
                    bytes / 1e6,
                    format!("batch size {}\n{} MB", p.batch_size, number(bytes / 1e6)),
                ))
            })
            .collect();
        // Beyond the limit up to the next doubling, so that it is seen.
        shades.extend(curve.limit.map(|limit| Shade {
            range: [limit as f64, 2.0 * limit as f64],
            label: match curve.label.as_str() {
                "" => "out of memory".into(),
                label => format!("out of memory, {label}"),
            },
            color: palette::RED,
        }));
        memory.push(Series { in_legend: false, ..series(&name("measured"), color, Style::LineAndPoints, used) });
    }
    for panel in [&mut rates, &mut memory] {
        panel.retain(|series| !series.points.is_empty());
    }
    let unreliable = curves.iter().any(|curve| !curve.throughput.reliable);
    let subtitle = match unreliable {
        true => "the machine was busy: not to be relied upon",
        false => "medians of steps in five visits; bars: 95 % of the median",
    };
    let size = || Axis::new("batch size (log scale)", AxisScale::Log);
    let mut panels = vec![Panel::new(size(), Axis::new("examples/s (log scale)", AxisScale::Log), rates)];
    if !memory.is_empty() {
        let used: Vec<f64> = memory.iter().flat_map(|series| &series.points).map(|point| point.y).collect();
        panels.push(Panel::new(size(), metric_axis("peak memory, MB", &used), memory));
    }
    for panel in &mut panels {
        panel.shades = shades.clone();
    }
    Chart {
        title: format!("{workload}: throughput on {device}"),
        subtitle: subtitle.into(),
        columns: panels.len(),
        panels,
    }
}
