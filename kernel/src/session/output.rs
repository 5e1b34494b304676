//! The output area of a cell: publishes what the cell shows on IOPub. It may be used after the cell has ended, by
//! threads of the cell.

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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

/// The next cells that this session has offered. A front end inserts a cell for each, so a cell that runs again must
/// not offer what stands below it already.
#[derive(Default)]
pub struct OfferedCells {
    /// The texts that each cell offered last.
    by_cell: BTreeMap<String, Vec<String>>,
    /// The texts that were offered last, by whatever cell.
    last: Vec<String>,
}

impl OfferedCells {
    /// Returns the payload of a cell without the next cells that it, or the last cell that offered some, has offered
    /// already.
    pub fn without_repeated(&mut self, cell: &str, payload: Vec<Value>) -> Vec<Value> {
        let offered = |item: &Value| -> Option<String> {
            let is_offer = item["source"] == "set_next_input" && item["replace"] == false;
            item["text"].as_str().filter(|_| is_offer).map(String::from)
        };
        let now: Vec<String> = payload.iter().filter_map(offered).collect();
        if now.is_empty() {
            return payload;
        }
        let before = self.by_cell.insert(cell.into(), now.clone()).unwrap_or_default();
        let last = std::mem::replace(&mut self.last, now);
        let is_repeated = |text: &String| before.contains(text) || last.contains(text);
        payload.into_iter().filter(|item| !offered(item).as_ref().is_some_and(is_repeated)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_cell_is_offered_once() {
        let mut offered = OfferedCells::default();
        let offer = |text: &str| json!({ "source": "set_next_input", "text": text, "replace": false });
        let other = [json!({ "source": "page" }), json!({ "source": "set_next_input", "text": "x", "replace": true })];
        let mut is_new = |cell: &str, text: &str| {
            let payload = other.iter().cloned().chain([offer(text)]).collect();
            let left = offered.without_repeated(cell, payload);
            assert_eq!(left[..2], other, "only next cells are left out");
            left.len() == 3
        };
        assert!(is_new("a", "x"));
        assert!(!is_new("a", "x"), "the cell runs again");
        assert!(!is_new("b", "x"), "another cell says the same right after it");
        assert!(is_new("b", "y"));
        assert!(!is_new("a", "x"), "it stands below `a` already");
        assert!(is_new("a", "z"), "the text is another one");
        assert!(is_new("a", "x"), "it was replaced by another one");
        assert_eq!(offered.without_repeated("a", other.to_vec()), other);
    }
}
