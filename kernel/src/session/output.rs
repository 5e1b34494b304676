//! The output area of a cell: publishes what the cell shows on IOPub. It may be used after the cell has ended, by
//! threads of the cell.

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tunebook_magics::{Bundle, Output, Stream};
use tunebook_wire::Iopub;
use tunebook_wire::iopub::StreamName;

/// The output area of one cell.
#[derive(Clone)]
pub struct CellOutput {
    pub iopub: Iopub,
    /// The header of the request that runs the cell.
    pub parent: Value,
    /// The cell: the id that the front end gave to it, or else its code.
    pub cell: String,
    /// Whether nothing is published, as the request wants.
    pub silent: bool,
    /// The `payload` of the reply: pages to show, and cells to insert.
    pub payload: Arc<Mutex<Vec<Value>>>,
}

impl CellOutput {
    /// Publishes text of a stream.
    pub fn text(&self, name: StreamName, text: &str) {
        if !self.silent && !text.is_empty() {
            self.iopub.text(&self.parent, name, text);
        }
    }

    /// Shows a MIME bundle. A display with an id can be replaced later; with `update` it replaces the one of that id.
    pub fn show(&self, data: Bundle, metadata: Value, id: Option<&str>, update: bool) {
        let kind = if update && id.is_some() { "update_display_data" } else { "display_data" };
        let mut content = content(data, id);
        content["metadata"] = metadata;
        self.publish(kind, content);
    }

    /// Proposes the text of the next cell, or with `replace` another text for this cell.
    pub fn next_input(&self, text: &str, replace: bool) {
        self.payload.lock().push(json!({ "source": "set_next_input", "text": text, "replace": replace }));
    }

    /// Removes what the cell has shown: now, or with `wait` when the next output comes.
    pub fn clear(&self, wait: bool) {
        self.publish("clear_output", json!({ "wait": wait }));
    }

    fn publish(&self, kind: &str, content: Value) {
        if !self.silent {
            self.iopub.show(&self.parent, kind, content);
        }
    }
}

/// The content of a display message. Its id is in `transient`.
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
        self.text(if stream == Stream::Stdout { StreamName::Stdout } else { StreamName::Stderr }, text);
    }

    fn page(&self, bundle: Bundle) {
        self.payload.lock().push(json!({ "source": "page", "data": Value::Object(bundle), "start": 0 }));
    }

    fn cell(&self) -> Option<String> {
        (!self.silent).then(|| self.cell.clone())
    }

    fn detached(&self) -> Option<Arc<dyn Output>> {
        Some(Arc::new(self.clone()))
    }
}
