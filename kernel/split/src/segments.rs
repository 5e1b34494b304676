//! Splits a cell into its parts, and masks the parts that are not Rust.

use super::lexer::Scan;
use std::ops::Range;

/// A part of a cell. Parts run in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Rust code or commands of evcxr. `first_line` is the line in the cell, counted from 0, also in the next variant.
    Rust { code: String, first_line: usize },
    /// A line magic, a cell magic, or a line that asks for help (`name?`).
    Magic { text: String, first_line: usize },
    /// A command for the shell, without the `!`.
    Shell { command: String, first_line: usize },
}

/// Splits a cell. `asks` decides whether a line asks for help; its second argument is whether the cell has no other
/// line.
pub fn segments(code: &str, asks: impl Fn(&str, bool) -> bool) -> Vec<Segment> {
    let blank_lines = code.lines().take_while(|line| line.trim().is_empty()).count();
    if code.lines().nth(blank_lines).is_some_and(|line| line.starts_with("%%")) {
        let text = code.split_inclusive('\n').skip(blank_lines).collect();
        return vec![Segment::Magic { text, first_line: blank_lines }];
    }
    let alone = code.lines().filter(|line| !line.trim().is_empty()).count() == 1;
    let (mut found, mut scan) = (vec![], Scan::new());
    let (mut rust, mut rust_line) = (String::new(), 0);
    let flush = |rust: &mut String, first_line: usize, found: &mut Vec<Segment>| {
        let code = std::mem::take(rust);
        if !code.trim().is_empty() {
            found.push(Segment::Rust { code, first_line });
        }
    };
    for (number, line) in code.split_inclusive('\n').enumerate() {
        let special = if scan.at_top() { special(line.trim_end(), number, alone, &asks) } else { None };
        match special {
            Some(segment) => {
                flush(&mut rust, rust_line, &mut found);
                found.push(segment);
            }
            None => {
                if rust.is_empty() {
                    rust_line = number;
                }
                rust.push_str(line);
                scan.line(line);
            }
        }
    }
    flush(&mut rust, rust_line, &mut found);
    found
}

/// The segment of a line; None if the line is Rust.
fn special(line: &str, number: usize, alone: bool, asks: &impl Fn(&str, bool) -> bool) -> Option<Segment> {
    let magic = || Some(Segment::Magic { text: line.to_string(), first_line: number });
    if let Some(rest) = line.strip_prefix('%') {
        return rest.starts_with(|c: char| c.is_alphabetic()).then(magic).flatten();
    }
    if let Some(command) = line.strip_prefix('!') {
        let shell = !command.is_empty() && !command.starts_with(['(', '[', ' ']);
        return shell.then(|| Segment::Shell { command: command.to_string(), first_line: number });
    }
    // `name?` and `?name` ask for help; `call()?` is Rust.
    asks(line, alone).then(magic).flatten()
}

/// Replaces everything in a cell that is not Rust by spaces, so that the bytes of the Rust code keep their positions.
/// `rust_in` returns the range of the Rust code in a magic, such as that of `f()` in `%time f()`.
pub fn masked(code: &str, asks: impl Fn(&str, bool) -> bool, rust_in: impl Fn(&str) -> Option<Range<usize>>) -> String {
    let starts: Vec<usize> = std::iter::once(0).chain(code.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let start = |line: usize| starts.get(line).copied().unwrap_or(code.len());
    let keep: Vec<Range<usize>> = segments(code, asks)
        .into_iter()
        .filter_map(|segment| match segment {
            Segment::Rust { code, first_line } => Some(start(first_line)..start(first_line) + code.len()),
            Segment::Magic { text, first_line } => {
                let rust = rust_in(&text)?;
                Some(start(first_line) + rust.start..start(first_line) + rust.end)
            }
            Segment::Shell { .. } => None,
        })
        .collect();
    let blank = |(at, c): (usize, char)| match c {
        c if c == '\n' || keep.iter().any(|range| range.contains(&at)) => c.to_string(),
        c => " ".repeat(c.len_utf8()),
    };
    code.char_indices().map(blank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(code: &str) -> Vec<String> {
        let shown = |segment| match segment {
            Segment::Rust { code, first_line } => format!("rust {first_line} {}", code.trim()),
            Segment::Magic { text, first_line } => format!("magic {first_line} {}", text.trim()),
            Segment::Shell { command, .. } => format!("shell {command}"),
        };
        segments(code, |line, _| line.trim_matches(['?', '%']) == "sweep").into_iter().map(shown).collect()
    }

    #[test]
    fn rust_and_magics_mix_in_the_order_written() {
        let code = "let x = 1;\n%isolate depth lr\nlet y = 2;\n!ls -l\nx + y";
        assert_eq!(
            split(code),
            ["rust 0 let x = 1;", "magic 1 %isolate depth lr", "rust 2 let y = 2;", "shell ls -l", "rust 4 x + y"]
        );
    }

    #[test]
    fn a_cell_magic_takes_the_whole_cell() {
        assert_eq!(split("\n%%sweep a\n%b\nlet x"), ["magic 1 %%sweep a\n%b\nlet x"]);
    }

    #[test]
    fn rust_that_looks_like_a_magic_or_a_shell_command_stays_rust() {
        for code in [
            "let a = 7\n% 3;",
            "let a = f(\n%x\n);",
            "let s = \"\n%x\n\";",
            "/*\n%x\n*/",
            "!(true)",
            "![1]",
            "f()?",
            "x?",
        ] {
            assert!(
                split(code).iter().all(|segment| !segment.starts_with("magic") && !segment.starts_with("shell")),
                "{code}"
            );
        }
    }

    #[test]
    fn questions_about_magics_are_magics() {
        for code in ["sweep?", "?sweep", "%sweep?"] {
            assert_eq!(split(code), [format!("magic 0 {code}")]);
        }
    }

    #[test]
    fn masking_keeps_positions() {
        let masked = masked("%sweep ä\nlet x = 1;\n", |_, _| false, |_| None);
        assert_eq!(masked, "         \nlet x = 1;\n");
    }
}
