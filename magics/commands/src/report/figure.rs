//! Plotly figures that a cell itself displays, for example with the crate `plotly`. JupyterLab shows such a figure only
//! if it has an HTML form, unless a Plotly extension is installed.

use super::{ChartLoader, element_id};
use crate::host::{Bundle, Output};
use serde_json::json;
use tunebook_charts::html::figure_html;

const PLOTLY_MIME: &str = "application/vnd.plotly.v1+json";

/// Adds an HTML form to a Plotly figure that has none, after it has sent the script that draws it. Other bundles stay
/// as they are.
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
