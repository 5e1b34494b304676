//! Turns the messages of a running cell into the outputs of a notebook, as a front end does.

use super::document::set;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Where the displays with an id are: the index of the cell, and that of the output.
#[derive(Default)]
pub struct Outputs {
    displays: HashMap<String, Vec<(usize, usize)>>,
    /// The cell whose output is cleared before its next one.
    clears: Option<usize>,
}

impl Outputs {
    /// Adds a message on IOPub to the outputs of a cell.
    pub fn add(&mut self, cells: &mut [Value], cell: usize, kind: &str, content: &Value) {
        let output = match kind {
            "stream" => json!({ "output_type": "stream", "name": content["name"], "text": content["text"] }),
            "display_data" => json!({ "output_type": "display_data", "data": content["data"],
                "metadata": content["metadata"] }),
            "execute_result" => json!({ "output_type": "execute_result", "data": content["data"],
                "metadata": content["metadata"], "execution_count": content["execution_count"] }),
            "error" => json!({ "output_type": "error", "ename": content["ename"], "evalue": content["evalue"],
                "traceback": content["traceback"] }),
            "execute_input" => {
                set(&mut cells[cell], "execution_count", content["execution_count"].clone());
                return;
            }
            "update_display_data" => {
                self.update(cells, content);
                return;
            }
            "clear_output" => {
                match content["wait"] == true {
                    true => self.clears = Some(cell),
                    false => self.clear(cells, cell),
                }
                return;
            }
            _ => return,
        };
        if self.clears.take_if(|cleared| *cleared == cell).is_some() {
            self.clear(cells, cell);
        }
        let Some(outputs) = cells[cell]["outputs"].as_array_mut() else { return };
        if let Some(last) = outputs.last_mut()
            && kind == "stream"
            && last["output_type"] == "stream"
            && last["name"] == output["name"]
        {
            let text = [&last["text"], &output["text"]].map(|text| text.as_str().unwrap_or_default()).concat();
            last["text"] = json!(text);
            return;
        }
        if let Some(id) = content["transient"]["display_id"].as_str() {
            self.displays.entry(id.to_string()).or_default().push((cell, outputs.len()));
        }
        outputs.push(output);
    }

    fn update(&self, cells: &mut [Value], content: &Value) {
        let Some(id) = content["transient"]["display_id"].as_str() else { return };
        for (cell, output) in self.displays.get(id).into_iter().flatten() {
            if let Some(output) = cells[*cell]["outputs"].get_mut(*output) {
                output["data"] = content["data"].clone();
                output["metadata"] = content["metadata"].clone();
            }
        }
    }

    fn clear(&mut self, cells: &mut [Value], cell: usize) {
        cells[cell]["outputs"] = json!([]);
        for places in self.displays.values_mut() {
            places.retain(|(other, _)| *other != cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_outputs_as_in_a_front_end() {
        let mut cells = vec![json!({ "outputs": [] }), json!({ "outputs": [] })];
        let mut outputs = Outputs::default();
        let text = |name: &str, text: &str| json!({ "name": name, "text": text });
        let shown = |id: &str, text: &str| json!({ "data": { "text/plain": text }, "metadata": {}, "transient": { "display_id": id } });
        outputs.add(&mut cells, 0, "execute_input", &json!({ "execution_count": 7 }));
        for part in [text("stdout", "a"), text("stdout", "b"), text("stderr", "c")] {
            outputs.add(&mut cells, 0, "stream", &part);
        }
        outputs.add(&mut cells, 0, "display_data", &shown("x", "old"));
        outputs.add(&mut cells, 1, "update_display_data", &shown("x", "new"));
        assert_eq!(cells[0]["execution_count"], 7);
        let of_first: Vec<&Value> = cells[0]["outputs"].as_array().unwrap().iter().collect();
        assert_eq!((&of_first[0]["text"], &of_first[1]["text"]), (&json!("ab"), &json!("c")));
        assert_eq!(of_first[2]["data"]["text/plain"], "new", "another cell updates the display");
        outputs.add(&mut cells, 0, "clear_output", &json!({ "wait": true }));
        assert_eq!(cells[0]["outputs"].as_array().unwrap().len(), 3, "it waits for the next output");
        outputs.add(&mut cells, 0, "stream", &text("stdout", "d"));
        assert_eq!(cells[0]["outputs"], json!([{ "output_type": "stream", "name": "stdout", "text": "d" }]));
        outputs.add(&mut cells, 0, "update_display_data", &shown("x", "gone"));
        assert_eq!(cells[0]["outputs"].as_array().unwrap().len(), 1);
    }
}
