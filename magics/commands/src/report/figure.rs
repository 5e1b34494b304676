//! Plotly figures that a cell made by itself, as with the crate `plotly`: JupyterLab and others show a figure as HTML alone.

use super::{ChartLoader, element_id};
use crate::host::{Bundle, Output};
use serde_json::json;
use tunebook_charts::html::figure_html;

const PLOTLY_MIME: &str = "application/vnd.plotly.v1+json";

/// Gives a figure an HTML form if it has none, and sends the script that draws it first.
pub fn complete_figure(bundle: &mut Bundle, charts: &ChartLoader, output: &dyn Output) {
    if bundle.contains_key("text/html") {
        return;
    }
    let Some(figure) = bundle.get(PLOTLY_MIME).filter(|figure| figure["data"].is_array()) else { return };
    let html = figure_html(figure, &element_id());
    charts.load(output);
    bundle.insert("text/html".into(), json!(html));
    bundle.entry("text/plain").or_insert_with(|| json!("Plotly figure"));
}
