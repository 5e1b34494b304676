//! The parts of a cell.

use super::lexer::Scan;

/// A part of a cell. Parts run in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Rust, or a command of evcxr; `first_line` is its line in the cell, from 0.
    Rust { code: String, first_line: usize },
    /// A line magic, a cell magic, or a question about one.
    Magic { text: String, first_line: usize },
    /// A line for the shell, without the `!`.
    Shell { command: String },
}

/// Splits a cell. `knows`: whether a name is that of a magic (`name?` asks for its help).
pub fn segments(code: &str, knows: impl Fn(&str) -> bool) -> Vec<Segment> {
    let blank_lines = code.lines().take_while(|line| line.trim().is_empty()).count();
    if code.lines().nth(blank_lines).is_some_and(|line| line.starts_with("%%")) {
        let text = code.split_inclusive('\n').skip(blank_lines).collect();
        return vec![Segment::Magic { text, first_line: blank_lines }];
    }
    let (mut found, mut scan) = (vec![], Scan::new());
    let (mut rust, mut rust_line) = (String::new(), 0);
    let flush = |rust: &mut String, first_line: usize, found: &mut Vec<Segment>| {
        let code = std::mem::take(rust);
        if !code.trim().is_empty() {
            found.push(Segment::Rust { code, first_line });
        }
    };
    for (number, line) in code.split_inclusive('\n').enumerate() {
        let special = if scan.at_top() { special(line.trim_end(), number, &knows) } else { None };
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

/// The segment of a line that is not Rust.
fn special(line: &str, number: usize, knows: &impl Fn(&str) -> bool) -> Option<Segment> {
    let magic = || Some(Segment::Magic { text: line.to_string(), first_line: number });
    if let Some(rest) = line.strip_prefix('%') {
        return rest.starts_with(|c: char| c.is_alphabetic()).then(magic).flatten();
    }
    if let Some(command) = line.strip_prefix('!') {
        let shell = !command.is_empty() && !command.starts_with(['(', '[', ' ']);
        return shell.then(|| Segment::Shell { command: command.to_string() });
    }
    // `name?` and `?name`; `call()?` is Rust.
    let name = line.strip_prefix('?').or_else(|| line.strip_suffix('?'))?;
    knows(name.trim_start_matches('%')).then(magic).flatten()
}

/// The cell with everything that is not Rust blanked out, so that positions in it stay what they are.
pub fn masked(code: &str, knows: impl Fn(&str) -> bool) -> String {
    let keep: Vec<(usize, usize)> = segments(code, knows)
        .into_iter()
        .filter_map(|segment| match segment {
            Segment::Rust { code, first_line } => Some((first_line, code.lines().count())),
            _ => None,
        })
        .collect();
    code.split_inclusive('\n')
        .enumerate()
        .map(|(i, line)| {
            if keep.iter().any(|(first, count)| (*first..first + count).contains(&i)) {
                return line.to_string();
            }
            line.chars().flat_map(|c| std::iter::repeat_n(if c == '\n' { '\n' } else { ' ' }, c.len_utf8())).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(code: &str) -> Vec<String> {
        let shown = |segment| match segment {
            Segment::Rust { code, first_line } => format!("rust {first_line} {}", code.trim()),
            Segment::Magic { text, first_line } => format!("magic {first_line} {}", text.trim()),
            Segment::Shell { command } => format!("shell {command}"),
        };
        segments(code, |name| name == "sweep").into_iter().map(shown).collect()
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
    fn what_is_rust_stays_rust() {
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
        let masked = masked("%sweep ä\nlet x = 1;\n", |_| true);
        assert_eq!(masked, "         \nlet x = 1;\n");
    }
}
