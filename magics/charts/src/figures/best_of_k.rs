//! The distribution of the best of k trials.

use super::{metric_axis, number, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Shade, Style, palette};
use tunebook_analysis::BestOfK;

/// Draws the median with the quartiles for each k, behind them the 5th and 95th percentiles, and a shade where the
/// draws are more and more the same trials.
pub fn best_of_k(study: &str, found: &BestOfK) -> Chart {
    let of = |low: usize, high: usize| -> Vec<Point> {
        let points = found.points.iter().filter_map(|p| {
            let [q1, median, q3] = p.quartiles;
            let [p5, p95] = p.range;
            let y = median?;
            // An end that is an infeasible trial is left out.
            let ends = [p5, q1, q3, p95].map(|end| end.unwrap_or(y));
            let text = |end: Option<f64>| end.map_or("infeasible".into(), number);
            let label = format!(
                "best of {}\nmedian {}\nhalf of the draws: {} to {}\n90 % of the draws: {} to {}",
                p.k,
                number(y),
                text(q1),
                text(q3),
                text(p5),
                text(p95)
            );
            Some(Point { x: p.k as f64, y, label, interval: Some([ends[low], ends[high]]) })
        });
        points.collect()
    };
    let (wide, narrow) = (of(0, 3), of(1, 2));
    let values: Vec<f64> = narrow.iter().flat_map(|p| p.interval.into_iter().flatten().chain([p.y])).collect();
    let mut panel = Panel::new(
        Axis::new("k, the number of configurations", AxisScale::Linear),
        metric_axis(&found.metric, &values),
        vec![
            series("5 % to 95 %", palette::FAINT, Style::Points(Mark::Dash, 4.0), wide),
            series("median and quartiles", palette::BLUE, Style::LineAndPoints, narrow),
        ],
    );
    panel.series.retain(|series| !series.points.is_empty());
    let (from, to) = (found.reliable_to as f64, found.configurations as f64);
    if to > from {
        panel.shades.push(Shade { range: [from, to], label: "draws overlap".into(), color: palette::INK });
    }
    Chart {
        title: format!("{study}: the best {} of k configurations", found.metric),
        subtitle: format!(
            "exact distribution over draws of {} configurations, {} of them infeasible; above k = {} it says little{}",
            found.configurations,
            found.infeasible,
            found.reliable_to,
            found
                .thinned
                .map_or(String::new(), |all| format!("; drawn for {} of {all} values of k", found.points.len()))
        ),
        panels: vec![panel],
        columns: 1,
    }
}
