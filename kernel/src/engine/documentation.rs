//! Adapts documentation from rust-analyzer to a tooltip and a pager: removes the lines of examples that rustdoc hides,
//! marks examples as Rust, and shows headings in bold at the size of the text.

/// Returns the documentation as plain text and as Markdown.
pub fn presented(markdown: &str) -> (String, String) {
    let (mut plain, mut shown) = (String::new(), String::new());
    let mut in_code = false;
    for line in markdown.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_code = !in_code;
            let is_rust = in_code && !language.starts_with("text");
            shown += if is_rust { "```rust" } else { "```" };
        } else if in_code && (line.trim() == "#" || line.trim_start().starts_with("# ")) {
            continue;
        } else if let (false, Some(heading)) =
            (in_code, line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()))
        {
            plain += heading;
            shown += &format!("**{heading}**");
        } else {
            plain += &if in_code { format!("    {line}") } else { without_links(line) };
            shown += line;
        }
        plain.push('\n');
        shown.push('\n');
    }
    // The horizontal rule between the signature and the text is left out of plain text.
    let plain: Vec<&str> = plain.lines().filter(|line| !["---", "___"].contains(&line.trim())).collect();
    (plain.join("\n").trim().to_string(), shown.trim().to_string())
}

/// Replaces each `[name](address)` by `name`.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        match after.split_once("](").and_then(|(name, tail)| Some((name, tail.split_once(')')?.1))) {
            Some((name, tail)) if !name.contains('[') => {
                text = text + before + name;
                rest = tail;
            }
            _ => {
                text = text + before + "[";
                rest = after;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::presented;

    #[test]
    fn hidden_lines_are_removed_and_headings_are_bold() {
        let markdown = "```rust\npub fn push(&mut self)\n```\n\n---\n\nAppends, see [`pop`](https://x/y).\n\n\
                        # Panics\n\nNever.\n\n```\n# #![allow(x)]\nlet v = [1];\n#\n```";
        let (plain, shown) = presented(markdown);
        assert!(plain.starts_with("pub fn push(&mut self)\n") && plain.ends_with("let v = [1];"), "{plain}");
        assert!(plain.contains("\nAppends, see `pop`.\n\nPanics\n\nNever.\n"), "{plain}");
        assert!(shown.contains("```rust\nlet v = [1];\n```") && shown.contains("**Panics**"), "{shown}");
        assert!(!shown.contains("allow"), "{shown}");
    }
}
