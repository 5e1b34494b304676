//! The bundle that a tuning magic ends with: the JSON result for programs, HTML for notebooks, and text for consoles.

mod chart_loader;
mod figure;
mod live_chart;
mod status;
pub mod table;
pub mod units;

pub use chart_loader::ChartLoader;
pub use figure::complete_figure;
pub use live_chart::LiveChart;
pub use status::Status;
pub use table::Rows;

use crate::host::{Bundle, Output, RESULT_MIME};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tunebook_charts::{Chart, html, plotly, png};

/// Collects the parts of a bundle.
#[derive(Clone)]
pub struct Report {
    result: Map<String, Value>,
    text: String,
    /// The first paragraph, which states the conclusion.
    conclusion: String,
    tables: String,
    chart: Option<Chart>,
    /// The element of the chart whose zoom and hidden series this chart keeps.
    replaced: Option<String>,
}

impl Report {
    /// A report of a kind (such as `sweep`), with the fields of the JSON object `fields`.
    pub fn new(kind: &str, fields: &impl Serialize) -> Self {
        let mut result = Map::new();
        result.insert("kind".into(), json!(kind));
        result.insert("version".into(), json!(1));
        if let Ok(Value::Object(fields)) = serde_json::to_value(fields) {
            result.extend(fields);
        }
        Self {
            result,
            text: String::new(),
            conclusion: String::new(),
            tables: String::new(),
            chart: None,
            replaced: None,
        }
    }

    /// Adds a field to the JSON result.
    pub fn field(mut self, name: &str, value: impl Serialize) -> Self {
        self.result.insert(name.into(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }

    /// Adds a paragraph to the text and to the HTML.
    pub fn line(mut self, line: &str) -> Self {
        if self.conclusion.is_empty() {
            self.conclusion = line.into();
        }
        let [text, page] = paragraph(line);
        self.text += &text;
        self.tables += &page;
        self
    }

    /// Adds code, which keeps its lines, to the text and to the HTML.
    pub fn code(mut self, code: &str) -> Self {
        self.text += code;
        self.text += "\n";
        // Pages outside of JupyterLab give `pre` the font of the text.
        let style = "margin:0.3em 0;font-family:var(--jp-code-font-family,monospace)";
        self.tables += &format!("<pre style=\"{style}\">{}</pre>", html::escape(code));
        self
    }

    /// Adds a table to the text and to the HTML.
    pub fn table(mut self, rows: &Rows) -> Self {
        self.text += &rows.text();
        self.text += "\n";
        self.tables += &rows.html();
        self
    }

    /// Adds the first rows of a table, and before them a sentence if there are more. `what` says what all rows are. A
    /// table without rows is left out.
    pub fn first_rows(self, mut rows: Rows, limit: usize, what: &str) -> Self {
        if rows.is_empty() {
            return self;
        }
        match rows.cut(limit, what) {
            Some(note) => self.line(&note).table(&rows),
            None => self.table(&rows),
        }
    }

    /// Sets the chart.
    pub fn chart(mut self, chart: Chart) -> Self {
        self.chart = Some(chart);
        self
    }

    /// The JSON result.
    pub fn result(&self) -> Value {
        Value::Object(self.result.clone())
    }

    /// Displays the report.
    pub fn show(self, charts: &ChartLoader, output: &dyn Output) {
        self.load_chart(charts, output);
        output.display(self.bundle_for(output), Some(&element_id()));
    }

    /// Sends the script that draws charts, if there is a chart.
    pub fn load_chart(&self, charts: &ChartLoader, output: &dyn Output) {
        if self.chart.is_some() {
            charts.load(output);
        }
    }

    /// Lets the chart keep the zoom and the hidden series of the chart in this element, which it replaces.
    fn replacing(mut self, element: &str) -> Self {
        self.replaced = Some(element.into());
        self
    }

    /// The bundle for an output, which may want the chart as a PNG picture too.
    pub fn bundle_for(self, output: &dyn Output) -> Bundle {
        let picture = self.chart.as_ref().filter(|_| output.wants_png()).and_then(png::png);
        let mut bundle = self.bundle();
        if let Some(picture) = picture {
            bundle.insert("image/png".into(), json!(BASE64_STANDARD.encode(picture)));
        }
        bundle
    }

    /// The bundle. If it contains a chart, call [`Self::load_chart`] before it is shown, so that the chart can be
    /// drawn.
    pub fn bundle(self) -> Bundle {
        let mut bundle = Bundle::new();
        bundle.insert(RESULT_MIME.into(), Value::Object(self.result));
        let page = match &self.chart {
            Some(chart) => {
                let id = element_id();
                let view = self.replaced.as_ref().unwrap_or(&id);
                html::chart_html(chart, &self.conclusion, &self.tables, &id, view)
            }
            None => self.tables,
        };
        bundle.insert("text/html".into(), json!(page));
        if let Some(chart) = &self.chart {
            bundle.insert("application/vnd.plotly.v1+json".into(), plotly::figure(chart));
        }
        bundle.insert("text/plain".into(), json!(self.text.trim_end()));
        bundle
    }
}

/// What a paragraph begins with in HTML.
pub const PARAGRAPH: &str = "<p style=\"margin:0.3em 0\">";

/// A paragraph as text for consoles and as HTML.
pub fn paragraph(line: &str) -> [String; 2] {
    let text = textwrap::fill(line, table::text_width()) + "\n";
    [text, format!("{PARAGRAPH}{}</p>", html::sentence(line))]
}

/// A new id for an HTML element or a display. No two are equal.
pub fn element_id() -> String {
    format!("tunebook-{}", uuid::Uuid::new_v4().simple())
}
