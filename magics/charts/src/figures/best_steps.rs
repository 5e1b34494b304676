//! The histogram of the steps at which configurations are best (Playbook G3).

use super::{point, series};
use crate::chart::{Axis, AxisScale, Chart, Panel, Point, Series, Shade, Style, palette};
use tunebook_analysis::{BestSteps, TrainingRegime};

/// Draws how many configurations are best in each tenth of their steps, and the best of them apart. The tenth in which
/// steps are wasted and the quarter in which more may help are shaded.
pub fn best_steps(study: &str, found: &BestSteps) -> Chart {
    let bars = |name: &str, color, counts: &[usize]| -> Series {
        let bins = counts.len() as f64;
        let label = |i: usize, count: usize| {
            format!(
                "{count} best from {:.0} % to {:.0} % of their steps",
                100.0 * i as f64 / bins,
                100.0 * (i + 1) as f64 / bins
            )
        };
        let tops = counts.iter().enumerate().map(|(i, n)| point(i as f64 / bins, *n as f64, label(i, *n)));
        let last = counts.last().map_or(0, |count| *count);
        let mut points: Vec<Point> = vec![point(0.0, 0.0, String::new())];
        points.extend(tops);
        points.push(point(1.0, last as f64, label(counts.len() - 1, last)));
        points.push(point(1.0, 0.0, String::new()));
        series(name, color, Style::Steps, points)
    };
    let best = found.best_counts.iter().sum::<usize>();
    let drawn = vec![
        bars("all configurations", palette::BLUE, &found.counts),
        bars(&format!("the {best} best"), palette::ORANGE, &found.best_counts),
    ];
    let mut panel = Panel::new(
        Axis::new("step of the best evaluation, as a share of all steps", AxisScale::Linear),
        Axis::new("configurations", AxisScale::Linear),
        drawn,
    );
    let shade = |range, label: &str, color| Shade { range, label: label.into(), color };
    panel.shades =
        vec![shade([0.0, 0.1], "too long", palette::RED), shade([0.75, 1.0], "longer may help", palette::GREEN)];
    let regime = match found.regime {
        TrainingRegime::ComputeBound => format!("the {best} best still improve at their end"),
        TrainingRegime::NotComputeBound => format!("the {best} best improve early"),
        TrainingRegime::Unclear => format!("the {best} best do not say whether longer trials help"),
    };
    Chart {
        title: format!("{study}: when trials are best"),
        subtitle: format!(
            "{} configurations: {} best in the first tenth, {} in the last quarter; {regime}",
            found.configurations, found.early, found.late
        ),
        panels: vec![panel],
        columns: 1,
    }
}
