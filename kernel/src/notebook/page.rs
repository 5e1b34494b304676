//! A notebook as an HTML page.

use super::document::{Document, is_code, joined, source};
use pulldown_cmark::{Options, Parser};
use serde_json::Value;
use std::path::Path;

/// Readable on a phone and on paper, on light and dark screens.
const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
pre { overflow-x: auto; font-size: 0.85rem; margin: 0.4em 0; }
pre.code { padding: 0.6em 0.8em; background: #8881; border-radius: 4px; }
pre.stderr { background: #d55e0018; padding: 0.4em 0.8em; }
.count { color: #808080; font: 0.75rem ui-monospace, monospace; margin-top: 1.2em; }
.output { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.6em 0; }
td, th { padding: 0.25em 0.7em; border-bottom: 1px solid #8884; vertical-align: top; }
";

/// Whether a file is to be an HTML page, by its ending.
pub fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "html" || ending == "htm")
}

/// Returns the page.
pub fn page(document: &Document) -> String {
    let title = document.title().unwrap_or_else(|| "Notebook".into());
    let body: String = document.cells().iter().map(cell).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(&title)
    )
}

fn cell(cell: &Value) -> String {
    let text = source(cell);
    if !is_code(cell) {
        if cell["cell_type"] != "markdown" {
            return format!("<pre>{}</pre>\n", escape(&text));
        }
        let mut html = String::new();
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
        pulldown_cmark::html::push_html(&mut html, Parser::new_ext(&text, options));
        return html;
    }
    let count = cell["execution_count"].as_i64().map_or(" ".into(), |count| count.to_string());
    let outputs: String = cell["outputs"].as_array().into_iter().flatten().map(output).collect();
    format!("<p class=\"count\">[{count}]</p>\n<pre class=\"code\"><code>{}</code></pre>\n{outputs}", escape(&text))
}

fn output(output: &Value) -> String {
    match output["output_type"].as_str() {
        Some("stream") => {
            let class = if output["name"] == "stderr" { "stderr" } else { "stdout" };
            format!("<pre class=\"{class}\">{}</pre>\n", escape(&without_colours(&joined(&output["text"]))))
        }
        Some("error") => {
            let lines = output["traceback"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let text = lines.collect::<Vec<_>>().join("\n");
            format!("<pre class=\"stderr\">{}</pre>\n", escape(&without_colours(&text)))
        }
        _ => {
            let of = |kind: &str| Some(&output["data"][kind]).filter(|data| !data.is_null()).map(joined);
            let picture = |kind: &str| {
                of(kind).map(|data| format!("<img src=\"data:{kind};base64,{}\">", data.replace('\n', "")))
            };
            let shown = of("text/html")
                .or_else(|| of("image/svg+xml"))
                .or_else(|| picture("image/png"))
                .or_else(|| picture("image/jpeg"))
                .or_else(|| of("text/plain").map(|text| format!("<pre>{}</pre>", escape(&text))));
            format!("<div class=\"output\">{}</div>\n", shown.unwrap_or_default())
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Removes the codes with which a terminal is told colours.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split('\u{1b}');
    plain += parts.next().unwrap_or_default();
    for part in parts {
        let rest = part.strip_prefix('[').map(|code| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
        plain += rest.and_then(|rest| rest.strip_prefix('m')).unwrap_or(part);
    }
    plain
}
