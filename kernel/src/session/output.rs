//! The display area of a cell, over IOPub. It owns the parent header and may outlive the cell.

use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use tunebook_magics::{Bundle, Output, Stream};
use tunebook_wire::Iopub;
use tunebook_wire::iopub::Name;

/// See the module.
#[derive(Clone)]
pub struct CellOutput {
    pub iopub: Iopub,
    pub parent: Value,
    pub cell_id: Option<String>,
    /// A silent cell shows nothing.
    pub silent: bool,
    /// What is to be shown in the pager with the reply.
    pub payload: Arc<Mutex<Vec<Value>>>,
}

impl CellOutput {
    /// Publishes text.
    pub fn text(&self, name: Name, text: &str) {
        if !self.silent && !text.is_empty() {
            self.iopub.text(&self.parent, name, text);
        }
    }

    /// Shows something; with an id it can be replaced, and with `update` it replaces.
    pub fn show(&self, data: Bundle, metadata: Value, id: Option<&str>, update: bool) {
        let kind = if update && id.is_some() { "update_display_data" } else { "display_data" };
        let mut content = content(data, id);
        content["metadata"] = metadata;
        self.publish(kind, content);
    }

    /// Proposes a next cell; `replace`: in place of this one.
    pub fn next_input(&self, text: &str, replace: bool) {
        if let Ok(mut payload) = self.payload.lock() {
            payload.push(json!({ "source": "set_next_input", "text": text, "replace": replace }));
        }
    }

    /// Takes away what the cell has shown; with `wait` once there is something new.
    pub fn clear(&self, wait: bool) {
        self.publish("clear_output", json!({ "wait": wait }));
    }

    fn publish(&self, kind: &str, content: Value) {
        if !self.silent {
            self.iopub.show(&self.parent, kind, content);
        }
    }
}

/// The content of a display; `transient` holds its id.
fn content(bundle: Bundle, display_id: Option<&str>) -> Value {
    let transient = display_id.map_or_else(|| json!({}), |id| json!({ "display_id": id }));
    json!({ "data": Value::Object(bundle), "metadata": Map::new(), "transient": transient })
}

impl Output for CellOutput {
    fn display(&self, bundle: Bundle, display_id: Option<&str>) {
        self.publish("display_data", content(bundle, display_id));
    }

    fn update(&self, bundle: Bundle, display_id: &str) {
        self.publish("update_display_data", content(bundle, Some(display_id)));
    }

    fn print(&self, stream: Stream, text: &str) {
        self.text(if stream == Stream::Stdout { Name::Stdout } else { Name::Stderr }, text);
    }

    fn page(&self, bundle: Bundle) {
        if let Ok(mut payload) = self.payload.lock() {
            payload.push(json!({ "source": "page", "data": Value::Object(bundle), "start": 0 }));
        }
    }

    fn cell_id(&self) -> Option<String> {
        self.cell_id.clone()
    }
}
