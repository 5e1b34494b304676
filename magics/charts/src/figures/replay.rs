//! A study that ran again: the objective of each trial then and now.

use super::{metric_axis, number, point, series};
use crate::chart::{Chart, Mark, Panel, Style, palette};

/// A trial that ran again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedTrial {
    pub number: u32,
    /// The objective that the study recorded.
    pub recorded: f64,
    /// The objective when the trial ran again.
    pub again: f64,
    /// Whether all values of all metrics are the same to the last bit.
    pub identical: bool,
}

/// Draws a dot for each trial, at the recorded objective and that of its replay. Equal ones lie on the diagonal.
pub fn replay(study: &str, metric: &str, trials: &[ReplayedTrial], of: usize) -> Chart {
    let values: Vec<f64> = trials.iter().flat_map(|trial| [trial.recorded, trial.again]).collect();
    let ends = values.iter().fold(None, |ends: Option<(f64, f64)>, y| match ends {
        None => Some((*y, *y)),
        Some((low, high)) => Some((low.min(*y), high.max(*y))),
    });
    let (mut identical, mut different) = (vec![], vec![]);
    for trial in trials {
        let text = format!(
            "trial {}\nrecorded: {}\nagain: {}\n{}",
            trial.number,
            number(trial.recorded),
            number(trial.again),
            if trial.identical { "identical to the last bit" } else { "not identical" }
        );
        let dots = if trial.identical { &mut identical } else { &mut different };
        dots.push(point(trial.recorded, trial.again, text));
    }
    let count = identical.len();
    let diagonal = ends.map(|(low, high)| [low, high].map(|x| point(x, x, "equal values".into())).to_vec());
    let mut drawn = vec![
        series("equal values", palette::FAINT, Style::Dashed, diagonal.unwrap_or_default()),
        series("identical to the last bit", palette::BLUE, Style::Points(Mark::Disc, 7.0), identical),
        series("not identical", palette::RED, Style::Points(Mark::Cross, 9.0), different),
    ];
    drawn.retain(|series| !series.points.is_empty());
    let axis = |of: &str| metric_axis(&format!("{metric}, {of}"), &values);
    Chart {
        title: format!("{study}: {metric} of each trial, as recorded and again"),
        subtitle: format!(
            "{} of {of} trials with a value in both; {count} of them identical to the last bit in every metric",
            trials.len()
        ),
        panels: vec![Panel::new(axis("as recorded"), axis("again"), drawn)],
        columns: 1,
    }
}
