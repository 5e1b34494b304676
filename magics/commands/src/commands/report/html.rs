//! A document as one HTML page. It needs no network.

use super::MARK;
use super::parts::Part;
use crate::host::RESULT_MIME;
use tunebook_charts::html::{escape, loader, sentence, table_html};

/// Readable on a phone and on paper, on light and dark screens.
const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 0.5em; }
h2 { border-top: 1px solid #8888; padding-top: 0.8em; }
pre { overflow-x: auto; padding: 0.6em 0.8em; background: #8881; border-radius: 4px; font-size: 0.85rem; }
.shown { overflow-x: auto; }
.magic { color: #808080; font: 0.8rem ui-monospace, monospace; margin: 0.2em 0; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.6em 0; }
td, th { padding: 0.25em 0.7em; border-bottom: 1px solid #8884; vertical-align: top; }
nav a { margin-right: 1em; }
p { overflow-wrap: anywhere; }
td { overflow-wrap: break-word; }
@media (max-width: 40rem) { table { width: max-content; } td, th { max-width: 14rem; } }
@media print {
  body { max-width: none; padding: 0; }
  h1, h2, h3, .magic { break-after: avoid; }
  tr, img, pre, .js-plotly-plot { break-inside: avoid; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .shown, pre { overflow: visible; }
  .modebar { display: none; }
}
";

/// Returns the page.
pub fn page(title: &str, document: &[Part]) -> String {
    let names: Vec<&String> = document
        .iter()
        .filter_map(|part| match part {
            Part::Heading(2, name) => Some(name),
            _ => None,
        })
        .collect();
    let mut body = String::new();
    for part in document {
        body += &element(part);
        if matches!(part, Part::Heading(1, _)) && names.len() > 1 {
            let link = |name: &&String| format!("<a href=\"#{}\">{}</a>", anchor(name), escape(name));
            body += &format!("<nav>{}</nav>\n", names.iter().map(link).collect::<String>());
        }
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"{MARK}\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{}\n\
         {body}</body>\n</html>\n",
        escape(title),
        loader()
    )
}

fn element(part: &Part) -> String {
    match part {
        Part::Heading(2, text) => format!("<h2 id=\"{}\">{}</h2>\n", anchor(text), escape(text)),
        Part::Heading(level, text) => format!("<h{level}>{}</h{level}>\n", escape(text)),
        Part::Text(text) => format!("<p>{}</p>\n", sentence(text)),
        Part::Cell(_, code) | Part::Code(_, code) => format!("<pre><code>{}</code></pre>\n", escape(code)),
        Part::Table(rows) => {
            let rows: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
            format!("<div class=\"shown\">{}</div>\n", table_html(&["name".into(), "value".into()], &rows, escape))
        }
        Part::Shown { magic, bundle } => {
            let shown = bundle.get("text/html").and_then(|html| html.as_str());
            let text = bundle.get("text/plain").and_then(|text| text.as_str()).unwrap_or_default();
            let shown = shown.map_or_else(|| format!("<pre>{}</pre>", escape(text)), String::from);
            let result = bundle.get(RESULT_MIME).map(|result| {
                let result = result.to_string().replace('<', "\\u003c");
                format!("<script type=\"application/json\" class=\"tunebook-result\">{result}</script>\n")
            });
            let line = magic.lines().next().unwrap_or_default();
            format!(
                "<p class=\"magic\">{}</p>\n<div class=\"shown\">{shown}</div>\n{}",
                escape(line),
                result.unwrap_or_default()
            )
        }
    }
}

/// Returns the id of a section.
fn anchor(name: &str) -> String {
    let words: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    format!("name-{words}")
}
