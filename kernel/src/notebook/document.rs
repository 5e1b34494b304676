//! A notebook as its file has it (nbformat 4). Everything that is not understood is kept.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Numbers that JSON does not have. Python writes them all the same, so notebooks of papermill can have them.
const NOT_FINITE: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// A notebook, with all fields that its file has.
pub struct Document(Value);

impl Document {
    /// Reads a notebook. An error says what the file is instead, if it is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
        let notebook = parsed(&text).with_context(|| format!("{shown} is not a notebook"))?;
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

/// Reads the text of a notebook. Numbers that JSON does not have become null, as Jupyter itself writes them.
fn parsed(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| match with_nulls(text) {
        Some(changed) => serde_json::from_str(&changed),
        None => Err(error),
    })
}

/// Replaces the numbers that JSON does not have by null. Strings stay as they are. None if there is no such number.
fn with_nulls(text: &str) -> Option<String> {
    let (mut replaced, mut copied) = (String::new(), 0);
    let (mut at, mut in_string) = (0, false);
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => {
                in_string = !in_string;
                1
            }
            // The character behind it does not end the string.
            b'\\' if in_string => 2,
            b'N' | b'I' | b'-' if !in_string => {
                let number = NOT_FINITE.iter().find(|number| bytes[at..].starts_with(number.as_bytes()));
                if let Some(number) = number {
                    replaced += &text[copied..at];
                    replaced += "null";
                    copied = at + number.len();
                }
                number.map_or(1, |number| number.len())
            }
            _ => 1,
        };
    }
    if copied == 0 {
        return None;
    }
    replaced += &text[copied..];
    Some(replaced)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_are_null_and_the_same_words_in_strings_stay() {
        for (text, expected) in [
            ("NaN", json!(null)),
            ("[NaN, Infinity, -Infinity, -1, 1e3]", json!([null, null, null, -1, 1e3])),
            (r#"{"NaN": NaN, "text": "NaN, -Infinity"}"#, json!({ "NaN": null, "text": "NaN, -Infinity" })),
            (r#"["a \" NaN", NaN, "\\", Infinity]"#, json!(["a \" NaN", null, "\\", null])),
            (r#"["\\\" NaN", "ü ∞ -Infinity",-Infinity]"#, json!(["\\\" NaN", "ü ∞ -Infinity", null])),
            (r#"{"a":[NaN],"b":"NaN"}"#, json!({ "a": [null], "b": "NaN" })),
        ] {
            assert_eq!(parsed(text).unwrap(), expected, "{text}");
        }
        for text in ["NaNa", "nan", "-NaN", "[Infinity", "1NaN", "\"NaN", "\"\\", "Inf", ""] {
            assert!(parsed(text).is_err(), "{text}");
        }
        assert_eq!(with_nulls(r#"{"a": "NaN"}"#), None, "a text without such numbers is not copied");
    }
}
