//! A document as a notebook, in which each magic is a cell with its output (nbformat 4.5).

use super::parts::Part;
use super::{MARK, markdown};
use serde_json::{Value as Json, json};
use tunebook_charts::html::loader;

/// Returns the text of the notebook.
pub fn text(document: &[Part]) -> String {
    let mut cells: Vec<Json> = vec![];
    let mut has_loader = false;
    for part in document {
        match part {
            Part::Shown { magic, bundle } => {
                let mut outputs = vec![];
                // The script that draws charts stands once, before the first chart.
                if part.has_chart() && !has_loader {
                    has_loader = true;
                    outputs.push(displayed(&json!({ "text/html": loader(), "text/plain": "" })));
                }
                outputs.push(displayed(&json!(bundle)));
                let mut cell = code(cells.len(), magic);
                cell["outputs"] = json!(outputs);
                cells.push(cell);
            }
            Part::Cell(_, text) => {
                let cell = code(cells.len(), text);
                cells.push(cell);
            }
            Part::Heading(level, text) => push_text(&mut cells, &format!("{} {text}", "#".repeat(usize::from(*level)))),
            Part::Text(text) => push_text(&mut cells, text),
            Part::Code(language, text) => push_text(&mut cells, &markdown::fenced(language, text)),
            Part::Table(rows) => push_text(&mut cells, &markdown::table_of(rows)),
        }
    }
    let notebook = json!({
        "cells": cells,
        "metadata": {
            "kernelspec": { "name": "tunebook", "display_name": "Rust (Tunebook)", "language": "rust" },
            "language_info": { "name": "rust" },
            "generator": MARK,
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    });
    format!("{notebook:#}\n")
}

fn displayed(data: &Json) -> Json {
    json!({ "output_type": "display_data", "data": data, "metadata": {} })
}

fn code(index: usize, text: &str) -> Json {
    json!({ "cell_type": "code", "id": format!("cell-{index}"), "metadata": {}, "execution_count": null,
        "source": text, "outputs": [] })
}

/// Adds text to the last cell of text, or as a cell of its own.
fn push_text(cells: &mut Vec<Json>, text: &str) {
    let index = cells.len();
    match cells.last_mut().filter(|cell| cell["cell_type"] == "markdown") {
        Some(cell) => {
            let before = cell["source"].as_str().unwrap_or_default();
            cell["source"] = json!(format!("{before}\n\n{text}"));
        }
        None => cells.push(json!({ "cell_type": "markdown", "id": format!("cell-{index}"), "metadata": {},
            "source": text })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_of_this_kernel_are_cells_with_code() {
        let document = [
            Part::Cell("text", "%%sweep s".into()),
            Part::Code("diff", "-a\n+b\n".into()),
            Part::Table(vec![["git".into(), "a|b".into()]]),
        ];
        let notebook: Json = serde_json::from_str(&text(&document)).unwrap();
        let cells: Vec<_> = notebook["cells"].as_array().unwrap().iter().collect();
        assert_eq!((&cells[0]["cell_type"], &cells[0]["source"]), (&json!("code"), &json!("%%sweep s")));
        assert_eq!((cells.len(), &cells[1]["cell_type"]), (2, &json!("markdown")));
        let source = cells[1]["source"].as_str().unwrap();
        assert!(source.contains("```diff\n-a\n+b\n```\n") && source.contains("| git | a\\|b |"), "{source}");
    }
}
