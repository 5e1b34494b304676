//! Plotly figures that a cell made by itself, as with the crate `plotly`: JupyterLab and others show a figure as HTML alone.

use crate::{Bundle, Magics, Output};
use serde_json::json;
use tunebook_charts::html::figure_html;

const PLOTLY_MIME: &str = "application/vnd.plotly.v1+json";

impl Magics {
    /// Gives a figure an HTML form where it has none, and sends before it the code that draws it.
    pub fn complete_figure(&self, bundle: &mut Bundle, output: &dyn Output) {
        if bundle.contains_key("text/html") {
            return;
        }
        let Some(figure) = bundle.get(PLOTLY_MIME).filter(|figure| figure["data"].is_array()) else { return };
        let html = figure_html(figure, &crate::report::element_id());
        self.context.load_charts(output);
        bundle.insert("text/html".into(), json!(html));
        bundle.entry("text/plain").or_insert_with(|| json!("Plotly figure"));
    }
}
