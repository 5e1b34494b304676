//! A notebook as its file has it (nbformat 4). Everything that is not understood is kept.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A notebook, with all fields that its file has.
pub struct Document(Value);

impl Document {
    /// Reads a notebook. An error says what the file is instead, if it is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
        let notebook: Value = serde_json::from_str(&text).with_context(|| format!("{shown} is not a notebook"))?;
        match (notebook["nbformat"].as_i64(), notebook["cells"].is_array()) {
            (Some(4), true) => Ok(Self(notebook)),
            (Some(version), _) if version != 4 => {
                bail!(
                    "{shown} is a notebook of format {version}, and this reads format 4; `jupyter nbconvert --to \
                     notebook --inplace` converts it"
                )
            }
            _ => bail!("{shown} is not a notebook: it has no list of cells"),
        }
    }

    /// Writes the notebook, so that the file is whole at every moment.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = Vec::new();
        // Jupyter indents by one space.
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        serde::Serialize::serialize(&self.0, &mut serializer)?;
        text.push(b'\n');
        written(path, &text)
    }

    pub fn cells(&self) -> &[Value] {
        self.0["cells"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The cells, to change them.
    pub fn cells_mut(&mut self) -> &mut Vec<Value> {
        if !self.0["cells"].is_array() {
            self.0["cells"] = json!([]);
        }
        match &mut self.0["cells"] {
            Value::Array(cells) => cells,
            _ => unreachable!("it has just been made an array"),
        }
    }

    /// The metadata of the notebook.
    pub fn metadata_mut(&mut self) -> &mut Value {
        if !self.0["metadata"].is_object() {
            self.0["metadata"] = json!({});
        }
        &mut self.0["metadata"]
    }

    /// The title: the first heading, if there is one.
    pub fn title(&self) -> Option<String> {
        let texts = self.cells().iter().filter(|cell| cell["cell_type"] == "markdown").map(source);
        texts
            .flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>())
            .find_map(|line| line.strip_prefix("# ").map(|title| title.trim().to_string()))
    }

    /// Whether cells have ids (since nbformat 4.5).
    pub fn has_ids(&self) -> bool {
        self.0["nbformat_minor"].as_i64().is_some_and(|minor| minor >= 5)
    }
}

/// The text of a cell.
pub fn source(cell: &Value) -> String {
    joined(&cell["source"])
}

/// A text that the file has as one string or as a list of lines.
pub fn joined(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_string(),
    }
}

/// Whether a cell is code.
pub fn is_code(cell: &Value) -> bool {
    cell["cell_type"] == "code"
}

/// Whether a cell has a tag.
pub fn has_tag(cell: &Value, tag: &str) -> bool {
    cell["metadata"]["tags"].as_array().is_some_and(|tags| tags.iter().any(|other| other == tag))
}

/// A new cell of code with tags.
pub fn code_cell(text: &str, tags: &[&str], with_id: bool) -> Value {
    new_cell(
        json!({ "cell_type": "code", "metadata": { "tags": tags }, "execution_count": null, "outputs": [],
        "source": text }),
        with_id,
    )
}

/// A new cell of text with tags.
pub fn text_cell(text: &str, tags: &[&str], with_id: bool) -> Value {
    new_cell(json!({ "cell_type": "markdown", "metadata": { "tags": tags }, "source": text }), with_id)
}

fn new_cell(mut cell: Value, with_id: bool) -> Value {
    if with_id {
        cell["id"] = json!(&uuid::Uuid::new_v4().simple().to_string()[..8]);
    }
    cell
}

/// Sets a field of an object, which becomes one if it is none.
pub fn set(value: &mut Value, field: &str, content: Value) {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value[field] = content;
}

/// Writes a file, which is whole at every moment.
pub fn written(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    tunebook_magics::write_whole(path, content).with_context(|| format!("{} cannot be written", path.display()))
}
