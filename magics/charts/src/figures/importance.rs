//! Importance: how much each hyperparameter matters by two measures, each beside what chance reaches.

use super::{number, point, series};
use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Style, palette};
use tunebook_analysis::{HyperparameterImportance, Importance, estimated_percent};

/// Draws one panel for each measure: the share of each hyperparameter, and up to which share one without effect comes,
/// if that is known.
pub fn importance(study: &str, found: &Importance, is_chance_known: bool) -> Chart {
    let names: Vec<String> = found.hyperparameters.iter().map(|h| h.hyperparameter.clone()).collect();
    type Measure = fn(&HyperparameterImportance) -> (f64, f64);
    let measures: [(&str, Measure); 2] = [
        ("what moves the metric (fANOVA)", |h| (h.fanova, h.fanova_null)),
        ("what matters for the best tenth (PED-ANOVA)", |h| (h.ped_anova, h.ped_anova_null)),
    ];
    let panel = |(question, measure): (&str, Measure)| {
        let shares = || found.hyperparameters.iter().map(measure).enumerate();
        let is_above = |share: f64, null: f64| !is_chance_known || share > null;
        let above: Vec<Point> = points(&names, shares().filter(|(_, (share, null))| is_above(*share, *null)));
        let within: Vec<Point> = points(&names, shares().filter(|(_, (share, null))| !is_above(*share, *null)));
        let nulls = shares().filter(|_| is_chance_known).map(|(i, (_, null))| Point {
            interval: Some([0.0, null]),
            ..point(i as f64, null, format!("{}\nwithout effect, up to {}", names[i], number(null)))
        });
        let mut drawn: Vec<Series> = vec![
            series("chance (95 %)", palette::FAINT, Style::Points(Mark::Dash, 14.0), nulls.collect()),
            series("within chance", palette::FAINT, Style::Points(Mark::Ring, 11.0), within),
            series(
                if is_chance_known { "above chance" } else { "share" },
                palette::BLUE,
                Style::Points(Mark::Disc, 11.0),
                above,
            ),
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
            "{}{} configurations, the best tenth are {}{}",
            conclusion(found, is_chance_known),
            found.configurations,
            found.best,
            if is_chance_known { "; grey bars: what a hyperparameter without effect reaches" } else { "" }
        ),
        panels: measures.map(panel).into(),
        columns: 2,
    }
}

/// Names the hyperparameter with the largest share.
fn conclusion(found: &Importance, is_chance_known: bool) -> String {
    match found.hyperparameters.iter().max_by(|a, b| a.fanova.total_cmp(&b.fanova)) {
        None => String::new(),
        Some(most) if is_chance_known && !most.moves_metric() => format!(
            "not even the largest share, {} of {}, is above chance; ",
            estimated_percent(most.fanova, 0),
            most.hyperparameter
        ),
        Some(most) => format!(
            "{} moves the metric most ({} of what all explain alone); ",
            most.hyperparameter,
            estimated_percent(most.fanova, 0)
        ),
    }
}

fn points(names: &[String], shares: impl Iterator<Item = (usize, (f64, f64))>) -> Vec<Point> {
    shares.map(|(i, (share, _))| point(i as f64, share, format!("{}\nshare {}", names[i], number(share)))).collect()
}
