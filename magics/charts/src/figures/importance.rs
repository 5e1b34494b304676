//! Importance: how much each hyperparameter matters by two measures, each beside what chance reaches.

use super::{number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Style, palette};
use tunebook_analysis::{HyperparameterImportance, Importance};

/// Draws one panel for each measure: the share of each hyperparameter, and up to which share one without effect comes.
pub fn importance(study: &str, found: &Importance) -> Chart {
    let names: Vec<String> = found.hyperparameters.iter().map(|h| h.hyperparameter.clone()).collect();
    type Measure = fn(&HyperparameterImportance) -> (f64, f64);
    let measures: [(&str, Measure); 2] = [
        ("what moves the metric (fANOVA)", |h| (h.fanova, h.fanova_null)),
        ("what matters for the best tenth (PED-ANOVA)", |h| (h.ped_anova, h.ped_anova_null)),
    ];
    let panel = |(question, measure): (&str, Measure)| {
        let shares = || found.hyperparameters.iter().map(measure).enumerate();
        let above: Vec<Point> = points(&names, shares().filter(|(_, (share, null))| share > null));
        let within: Vec<Point> = points(&names, shares().filter(|(_, (share, null))| share <= null));
        let nulls = shares().map(|(i, (_, null))| Point {
            interval: Some([0.0, null]),
            ..point(i as f64, null, format!("{}\nwithout effect, up to {}", names[i], number(null)))
        });
        let mut drawn: Vec<Series> = vec![
            series("chance (95 %)", palette::FAINT, Style::Points(Mark::Dash, 14.0), nulls.collect()),
            series("within chance", palette::FAINT, Style::Points(Mark::Ring, 11.0), within),
            series("above chance", palette::BLUE, Style::Points(Mark::Disc, 11.0), above),
        ];
        drawn.retain(|series| !series.points.is_empty());
        Panel::new(
            Axis::new(question, AxisScale::Categories(names.clone())),
            Axis::new("share", AxisScale::Linear),
            drawn,
        )
    };
    Chart {
        title: format!("{study}: how much each hyperparameter matters"),
        subtitle: format!(
            "{} configurations, the best tenth are {}; grey bars: what a hyperparameter without effect reaches",
            found.configurations, found.best
        ),
        panels: measures.map(panel).into(),
        columns: 2,
    }
}

fn points(names: &[String], shares: impl Iterator<Item = (usize, (f64, f64))>) -> Vec<Point> {
    shares.map(|(i, (share, _))| point(i as f64, share, format!("{}\nshare {}", names[i], number(share)))).collect()
}
