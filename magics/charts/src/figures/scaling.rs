//! Steps, examples and seconds to the target against batch size.

use super::{batch_size_axis, number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Shade, Style, palette};
use tunebook_analysis::{Regime, Scaling, ScalingFit, ScalingPoint};

/// The line of the fit has this many segments.
const FIT_SEGMENTS: u32 = 40;
/// A region is drawn only if its upper end is more than this many times its lower end. A narrower one has no room for
/// its name.
const MIN_REGION: f64 = 1.3;

/// The texts above the chart.
#[derive(Clone, Debug)]
pub struct ScalingCaption<'a> {
    /// The name of the scaling.
    pub name: &'a str,
    /// The target, for example `valid/error ≤ 0.05`.
    pub target: &'a str,
    /// A remark that ends the subtitle. It may be empty.
    pub note: &'a str,
}

/// Draws three panels: the steps with the line of perfect scaling, the fit and the regimes; the examples; and the
/// seconds.
pub fn scaling(caption: &ScalingCaption<'_>, found: &Scaling) -> Chart {
    let axis = |what: &str| Axis::new(format!("{what} (log scale)"), AxisScale::Log);
    let valid = || found.points.iter().filter(|point| point.valid);
    let mut steps = vec![];
    if let (Some(first), Some(last)) = (valid().next(), valid().next_back())
        && let Some(at_first) = first.steps
    {
        let (from, to) = (first.batch_size as f64, last.batch_size as f64);
        let line = [from, to].map(|b| point(b, at_first * from / b, "twice the size, half the steps".into()));
        steps.push(series("perfect scaling", palette::INK, Style::Dashed, line.to_vec()));
        if let Ok(fit) = &found.fit {
            let law = format!("fit: {} (1 + {} / b)", number(fit.s_min), number(fit.b_noise));
            let at = |i: u32| {
                let b = from * (to / from).powf(f64::from(i) / f64::from(FIT_SEGMENTS));
                point(b, fit.steps(b), law.clone())
            };
            steps.push(series("fit", palette::GREEN, Style::Line, (0..=FIT_SEGMENTS).map(at).collect()));
        }
    }
    steps.extend(measured("to the target", found, |p| p.steps.map(|steps| (steps, p.interval)), "steps"));
    let examples = measured("to the target", found, |p| p.examples.map(|examples| (examples, None)), "examples");
    let mut seconds = measured("to the target", found, |p| p.seconds.map(|seconds| (seconds, None)), "s");
    for (name, size, mark) in [("fastest", found.fastest, Mark::Star), ("cheapest", found.cheapest, Mark::Diamond)] {
        let of =
            |p: &&ScalingPoint| Some(p.batch_size) == size && (name == "fastest" || found.cheapest != found.fastest);
        let at = found
            .points
            .iter()
            .find(of)
            .and_then(|p| Some(point(p.batch_size as f64, p.seconds?, format!("{name}: {}", p.batch_size))));
        seconds.extend(at.map(|at| series(name, palette::ORANGE, Style::Points(mark, 14.0), vec![at])));
    }
    let mut panels = vec![];
    for (what, drawn) in [("steps to target", steps), ("examples to target", examples), ("seconds to target", seconds)]
    {
        if drawn.iter().any(|series| !series.points.is_empty()) {
            panels.push(Panel::new(batch_size_axis(), axis(what), drawn));
        }
    }
    if let (Some(panel), Ok(fit)) = (panels.first_mut(), &found.fit) {
        panel.shades = regions(fit, found);
    }
    if panels.is_empty() {
        panels.push(Panel::new(batch_size_axis(), axis("steps to target"), vec![]));
    }
    let note = if caption.note.is_empty() { String::new() } else { format!("; {}", caption.note) };
    Chart {
        title: format!("{}: steps to {}", caption.name, caption.target),
        subtitle: format!(
            "best configuration of each size, median over its repeats; bars: where that of another equal study lies \
             (95 %){note}"
        ),
        columns: panels.len(),
        panels,
    }
}

/// Draws the valid sizes as a line and the others as crosses. `of` returns the value of a point and its interval.
fn measured(
    name: &str,
    found: &Scaling,
    of: impl Fn(&ScalingPoint) -> Option<(f64, Option<[Option<f64>; 2]>)>,
    unit: &str,
) -> Vec<Series> {
    let points = |valid: bool| -> Vec<Point> {
        let chosen = found.points.iter().filter(|point| point.valid == valid);
        chosen
            .filter_map(|p| {
                let (y, interval) = of(p)?;
                let interval = interval.map(|[low, high]| [low.unwrap_or(y), high.unwrap_or(y)]);
                let why = p.reason.as_ref().map_or(String::new(), |reason| format!("\nnot valid: {reason}"));
                let regime = match p.regime {
                    Some(Regime::PerfectScaling) => "\nperfect scaling",
                    Some(Regime::DiminishingReturns) => "\ndiminishing returns",
                    Some(Regime::MaximalDataParallelism) => "\nno step is saved",
                    None => "",
                };
                let label = format!("batch size {}\n{} {unit}{regime}{why}", p.batch_size, number(y));
                Some(Point { x: p.batch_size as f64, y, label, interval })
            })
            .collect()
    };
    let mut drawn = vec![series(name, palette::BLUE, Style::LineAndPoints, points(true))];
    drawn.push(series("not valid", palette::RED, Style::Points(Mark::Cross, 9.0), points(false)));
    drawn.retain(|series| !series.points.is_empty());
    drawn
}

/// Returns the regimes of the fit, as far as they lie within the sizes.
fn regions(fit: &ScalingFit, found: &Scaling) -> Vec<Shade> {
    let sizes = || found.points.iter().map(|point| point.batch_size as f64);
    let (least, most) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
    let [perfect, flat] = fit.diminishing_between();
    let regions = [
        ([least, perfect], "perfect", palette::GREEN),
        ([perfect, flat], "diminishing", palette::ORANGE),
        ([flat, most], "flat", palette::RED),
    ];
    let shade = |([from, to], label, color): ([f64; 2], &str, &'static str)| {
        let range = [from.max(least), to.min(most)];
        (range[1] > MIN_REGION * range[0]).then(|| Shade { range, label: label.into(), color })
    };
    regions.into_iter().filter_map(shade).collect()
}
