//! A document as Markdown. Its charts are pictures in a folder beside the file.

use super::MARK;
use super::parts::Part;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

/// Returns the text, and writes the charts to the folder `NAME-charts` beside the file.
pub fn text(path: &Path, document: &[Part]) -> std::io::Result<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = format!("{stem}-charts");
    let mut text = format!("<!-- {MARK} -->\n");
    let mut charts = 0;
    for part in document {
        text += &match part {
            Part::Heading(level, heading) => format!("\n{} {heading}\n", "#".repeat(usize::from(*level))),
            Part::Text(paragraph) => format!("\n{paragraph}\n"),
            Part::Code(language, code) => format!("\n```{language}\n{}\n```\n", code.trim_end()),
            Part::Table(rows) => {
                let rows: String =
                    rows.iter().map(|[name, value]| format!("| {} | {} |\n", cell(name), cell(value))).collect();
                format!("\n| name | value |\n| --- | --- |\n{rows}")
            }
            Part::Shown { magic, bundle } => {
                let html = bundle.get("text/html").and_then(|html| html.as_str()).unwrap_or_default();
                let mut shown = String::new();
                if let Some(picture) = picture(html) {
                    charts += 1;
                    let directory = path.with_file_name(&folder);
                    std::fs::create_dir_all(&directory)?;
                    std::fs::write(directory.join(format!("{charts}.svg")), picture)?;
                    let line = magic.lines().next().unwrap_or_default();
                    shown += &format!("\n![{line}](<{folder}/{charts}.svg>)\n");
                }
                shown + &blocks(html)
            }
        };
    }
    Ok(text)
}

/// Returns the static picture of a chart.
fn picture(html: &str) -> Option<Vec<u8>> {
    let start = html.split_once("src=\"data:image/svg+xml;base64,")?.1;
    STANDARD.decode(start.split_once('"')?.0).ok()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Returns the paragraphs, the tables and the code of what a magic shows. Its HTML has no others.
fn blocks(html: &str) -> String {
    let (mut text, mut rest) = (String::new(), html);
    while let Some((tag, before)) = ["<p ", "<pre ", "<table>"]
        .into_iter()
        .filter_map(|tag| Some((tag, rest.find(tag)?)))
        .min_by_key(|(_, before)| *before)
    {
        let name = tag.trim_matches(['<', ' ', '>']);
        let opened = &rest[before..];
        let Some((content, after)) = opened.split_once(&format!("</{name}>")) else { break };
        let content = content.split_once('>').map_or("", |(_, content)| content);
        text += &match name {
            "p" => format!("\n{}\n", unescaped(content)),
            "pre" => format!("\n```text\n{}\n```\n", unescaped(content).trim_end()),
            _ => format!("\n{}", table(content)),
        };
        rest = after;
    }
    text
}

/// Returns the rows of an HTML table as those of a Markdown table.
fn table(html: &str) -> String {
    let mut text = String::new();
    for (i, row) in html.split("<tr>").skip(1).enumerate() {
        let cells = row.split("</t").filter_map(|cell| cell.rsplit_once('>').map(|(_, content)| content));
        let cells: Vec<String> = cells.map(|content| cell(&unescaped(content))).collect();
        let count = row.matches("</th>").count() + row.matches("</td>").count();
        text += &format!("| {} |\n", cells[..count.min(cells.len())].join(" | "));
        if i == 0 {
            text += &format!("|{}\n", " --- |".repeat(count));
        }
    }
    text
}

fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    pairs.into_iter().fold(text.to_string(), |text, (entity, character)| text.replace(entity, character))
}
