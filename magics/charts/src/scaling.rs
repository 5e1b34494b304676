//! The chart of `%scaling`: steps, examples and seconds to the target against batch size.

use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Shade, Style, palette};
use crate::figures::{number, point, series};
use tunebook_analysis::{Regime, Scaling, ScalingFit, ScalingPoint};

/// What the chart is about.
#[derive(Clone, Debug)]
pub struct ScalingPicture<'a> {
    /// Name of the scaling.
    pub name: &'a str,
    /// `valid/error ≤ 0.05`.
    pub target: &'a str,
    /// What else there is to say; may be empty.
    pub note: &'a str,
}

/// Three panels: steps with perfect scaling, the fit and its regions; examples; seconds.
pub fn scaling(about: &ScalingPicture<'_>, found: &Scaling) -> Chart {
    let size = || Axis::new("batch size (log scale)", AxisScale::Log);
    let axis = |what: &str| Axis::new(format!("{what} (log scale)"), AxisScale::Log);
    let valid = || found.points.iter().filter(|point| point.valid);
    let mut steps = vec![];
    if let (Some(first), Some(last)) = (valid().next(), valid().last())
        && let Some(at_first) = first.steps
    {
        let (from, to) = (first.batch_size as f64, last.batch_size as f64);
        let line = [from, to].map(|b| point(b, at_first * from / b, "twice the size, half the steps".into()));
        steps.push(series("perfect scaling", palette::INK, Style::Dashed, line.to_vec()));
        if let Some(fit) = &found.fit {
            let law = format!("fit: {} (1 + {} / b)", number(fit.min_steps), number(fit.critical_batch_size));
            let at = |i: u32| {
                let b = from * (to / from).powf(f64::from(i) / 40.0);
                point(b, fit.min_steps * (1.0 + fit.critical_batch_size / b), law.clone())
            };
            steps.push(series("fit", palette::GREEN, Style::Line, (0..=40).map(at).collect()));
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
            panels.push(Panel::new(size(), axis(what), drawn));
        }
    }
    if let (Some(panel), Some(fit)) = (panels.first_mut(), &found.fit) {
        panel.shades = regions(fit, found);
    }
    if panels.is_empty() {
        panels.push(Panel::new(size(), axis("steps to target"), vec![]));
    }
    let note = if about.note.is_empty() { String::new() } else { format!("; {}", about.note) };
    Chart {
        title: format!("{}: steps to {}", about.name, about.target),
        subtitle: format!(
            "best configuration of each size, median over repeats; bars: 95 % of another such study{note}"
        ),
        columns: panels.len(),
        panels,
    }
}

/// The valid sizes as a line with intervals, the others as crosses.
fn measured(
    name: &str,
    found: &Scaling,
    of: impl Fn(&ScalingPoint) -> Option<(f64, Option<[f64; 2]>)>,
    unit: &str,
) -> Vec<Series> {
    let points = |valid: bool| -> Vec<Point> {
        let chosen = found.points.iter().filter(|point| point.valid == valid);
        chosen
            .filter_map(|p| {
                let (y, interval) = of(p)?;
                let why = p.reason.as_ref().map_or(String::new(), |reason| format!("\nnot valid: {reason}"));
                let regime = match p.regime {
                    Some(Regime::Perfect) => "\nperfect scaling",
                    Some(Regime::Diminishing) => "\ndiminishing returns",
                    Some(Regime::Flat) => "\nno step is saved",
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

/// Where the slope of the fit, −B/(b + B), is at most −0.8, and at least −0.2.
fn regions(fit: &ScalingFit, found: &Scaling) -> Vec<Shade> {
    let sizes = || found.points.iter().map(|point| point.batch_size as f64);
    let (least, most) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
    let (perfect, flat) = (fit.critical_batch_size / 4.0, fit.critical_batch_size * 4.0);
    let regions = [
        ([least, perfect], "perfect", palette::GREEN),
        ([perfect, flat], "diminishing", palette::ORANGE),
        ([flat, most], "flat", palette::RED),
    ];
    let inside = |([from, to], label, color): ([f64; 2], &str, &'static str)| {
        let range = [from.max(least), to.min(most)];
        // One that is hardly there has no room for its name.
        (range[1] > 1.3 * range[0]).then(|| Shade { range, label: label.into(), color })
    };
    regions.into_iter().filter_map(inside).collect()
}
