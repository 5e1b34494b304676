//! Examples per second and memory against batch size.

use super::{batch_size_axis, metric_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Shade, Style, palette};
use tunebook_analysis::{PointState, Throughput};

/// The curve of one configuration.
pub struct ThroughputCurve<'a> {
    /// What sets the configuration apart from the others. Empty if there is only one.
    pub label: String,
    /// The measurement and its conclusions.
    pub throughput: &'a Throughput,
    /// The largest size that fits, if memory limits it.
    pub limit: Option<u64>,
}

/// Draws two panels: examples per second, and peak memory where it is known. Each curve's saturation, recommended size
/// and limit of memory are marked; the first curve also has the line of ideal doubling.
pub fn throughput(workload: &str, device: &str, curves: &[ThroughputCurve<'_>]) -> Chart {
    let all = curves.iter().flat_map(|curve| &curve.throughput.points);
    let highest = all.filter_map(|point| point.examples_per_second).fold(0.0_f64, f64::max);
    let (mut rates, mut memory): (Vec<Series>, Vec<Series>) = (vec![], vec![]);
    for (i, curve) in curves.iter().enumerate() {
        let color = palette::SERIES[i % palette::SERIES.len()];
        let name = if curve.label.is_empty() { "measured".to_string() } else { format!("measured, {}", curve.label) };
        let measured = rate_points(curve.throughput);
        if i == 0 {
            rates.extend(ideal_doubling(&measured, highest));
        }
        rates.push(series(&name, color, Style::LineAndPoints, measured.clone()));
        for (what, size, mark) in [
            ("saturation", curve.throughput.saturation, Mark::Diamond),
            ("recommended", curve.throughput.recommended, Mark::Star),
        ] {
            let Some(at) = measured.iter().find(|p| Some(p.x as u64) == size) else { continue };
            let marked = point(at.x, at.y, format!("{what}: {}\n{}", at.x, at.label));
            let in_legend = rates.iter().all(|series| series.name != what);
            rates.push(Series { in_legend, ..series(what, palette::ORANGE, Style::Points(mark, 14.0), vec![marked]) });
        }
        let used = memory_points(curve.throughput);
        memory.push(Series { in_legend: false, ..series(&name, color, Style::LineAndPoints, used) });
    }
    for panel in [&mut rates, &mut memory] {
        panel.retain(|series| !series.points.is_empty());
    }
    let mut panels = vec![Panel::new(batch_size_axis(), Axis::new("examples/s (log scale)", AxisScale::Log), rates)];
    if !memory.is_empty() {
        let used: Vec<f64> = memory.iter().flat_map(|series| &series.points).map(|point| point.y).collect();
        panels.push(Panel::new(batch_size_axis(), metric_axis("peak memory, MiB", &used), memory));
    }
    let out_of_memory: Vec<Shade> = curves.iter().filter_map(out_of_memory).collect();
    for panel in &mut panels {
        panel.shades = out_of_memory.clone();
    }
    let unreliable = curves.iter().map(|curve| curve.throughput).find(|throughput| !throughput.reliable);
    let subtitle = match unreliable {
        None => "mean over five visits of the median step; bars: 95 % interval by the variance between visits".into(),
        Some(throughput) => {
            let reason = throughput.reasons.first().map_or(String::new(), |reason| format!(": {reason}"));
            format!("nothing follows from these times{reason}")
        }
    };
    Chart { title: format!("{workload}: throughput on {device}"), subtitle, columns: panels.len(), panels }
}

fn rate_points(throughput: &Throughput) -> Vec<Point> {
    let ok = throughput.points.iter().filter(|p| p.state == PointState::Ok);
    ok.filter_map(|p| {
        let rate = p.examples_per_second?;
        let gain = p.gain.map_or(String::new(), |gain| format!("\ndoubling multiplied the throughput by {gain:.2}"));
        let milliseconds = number(1e3 * p.seconds_per_step.unwrap_or(f64::NAN));
        let label =
            format!("batch size {}\n{} examples/s\n{milliseconds} ms per step{gain}", p.batch_size, number(rate));
        Some(Point { x: p.batch_size as f64, y: rate, label, interval: p.interval })
    })
    .collect()
}

fn memory_points(throughput: &Throughput) -> Vec<Point> {
    let ok = throughput.points.iter().filter(|p| p.state == PointState::Ok);
    ok.filter_map(|p| {
        let mebibytes = p.peak_memory_bytes? as f64 / f64::from(1 << 20);
        let label = format!("batch size {}\n{} MiB", p.batch_size, number(mebibytes));
        Some(point(p.batch_size as f64, mebibytes, label))
    })
    .collect()
}

/// Returns the line on which doubling the size doubles the throughput. It starts at the first point and ends at the
/// last size or at the highest throughput.
fn ideal_doubling(measured: &[Point], highest: f64) -> Option<Series> {
    let (first, last) = (measured.first()?, measured.last()?);
    let end = last.x.min(first.x * highest / first.y);
    let at = |x| point(x, first.y * x / first.x, "twice the size, twice the throughput".into());
    Some(series("ideal doubling", palette::INK, Style::Dashed, vec![at(first.x), at(end)]))
}

/// Returns the region beyond the limit of memory. It is as wide as one doubling.
fn out_of_memory(curve: &ThroughputCurve<'_>) -> Option<Shade> {
    let limit = curve.limit? as f64;
    let label = match curve.label.as_str() {
        "" => "out of memory".into(),
        label => format!("out of memory, {label}"),
    };
    Some(Shade { range: [limit, 2.0 * limit], label, color: palette::RED })
}
