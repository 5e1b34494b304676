//! A document as Markdown. Its charts are pictures in a folder beside the file.

use super::MARK;
use super::parts::Part;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

/// Returns the text, and writes the charts to the folder `NAME-charts` beside the file. Also returns the paths of the
/// charts, as the text names them.
pub fn text(path: &Path, document: &[Part]) -> std::io::Result<(String, Vec<String>)> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = format!("{stem}-charts");
    let mut text = format!("<!-- {MARK} -->\n");
    let mut charts = vec![];
    for part in document {
        text += &match part {
            Part::Heading(level, heading) => format!("\n{} {heading}\n", "#".repeat(usize::from(*level))),
            Part::Text(paragraph) => format!("\n{paragraph}\n"),
            Part::Cell(language, code) | Part::Code(language, code) => format!("\n{}", fenced(language, code)),
            Part::Table(rows) => format!("\n{}", table_of(rows)),
            Part::Shown { bundle, .. } => {
                let html = bundle.get("text/html").and_then(|html| html.as_str()).unwrap_or_default();
                let mut shown = String::new();
                if let Some((alternative, picture)) = picture(html) {
                    let name = format!("{folder}/{}.svg", charts.len() + 1);
                    std::fs::create_dir_all(path.with_file_name(&folder))?;
                    std::fs::write(path.with_file_name(&name), picture)?;
                    shown += &format!("\n![{alternative}](<{name}>)\n");
                    charts.push(name);
                }
                shown + &blocks(html)
            }
        };
    }
    Ok((text, charts))
}

/// Returns code as a block. Its fence is longer than any run of backticks in the code.
pub fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", code.trim_end())
}

/// Returns names and values as a table.
pub fn table_of(rows: &[[String; 2]]) -> String {
    let rows: String = rows.iter().map(|[name, value]| format!("| {} | {} |\n", cell(name), cell(value))).collect();
    format!("| name | value |\n| --- | --- |\n{rows}")
}

/// Returns the text that stands for a chart where it is not seen, and its static picture.
fn picture(html: &str) -> Option<(String, Vec<u8>)> {
    let (before, start) = html.split_once("src=\"data:image/svg+xml;base64,")?;
    let written = before.rsplit_once("alt=\"").and_then(|(_, text)| text.split_once('"'));
    let alternative = unescaped(written.map_or("", |(text, _)| text));
    let alternative = alternative.replace('\n', " ").replace('[', "\\[").replace(']', "\\]");
    Some((alternative, STANDARD.decode(start.split_once('"')?.0).ok()?))
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
            "pre" => format!("\n{}", fenced("text", &unescaped(content))),
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

/// Text without the entities of HTML.
pub fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    pairs.into_iter().fold(text.to_string(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_the_backticks_in_the_code() {
        assert_eq!(fenced("text", "a `b` c\n"), "```text\na `b` c\n```\n");
        assert_eq!(fenced("diff", "+```rust\n+````\n"), "`````diff\n+```rust\n+````\n`````\n");
        let document = [Part::Code("text", "```\n# no heading\n```".into())];
        let (text, charts) = text(Path::new("r.md"), &document).unwrap();
        assert!(text.ends_with("\n````text\n```\n# no heading\n```\n````\n") && charts.is_empty(), "{text}");
    }
}
