//! Splits a cell that was run into Rust, magics, shell commands and commands of evcxr. Like in the kernel, a line can
//! only be a magic or a command if it is outside of brackets, strings and comments. The lexer of Rust decides this: the
//! Rust above the line must consist of complete tokens.

use crate::error::{Result, Source, Span};
use crate::magic::{Catalogue, asks};
use proc_macro2::TokenStream;

/// A part of a cell, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellPart {
    Rust(String),
    /// A command of evcxr: `:dep rand`.
    Command(String),
    /// A line magic, a cell magic with its body, or a question.
    Magic(String),
    /// A line for the shell, with its `!`.
    Shell(String),
}

/// Splits a cell into its parts.
pub fn split_cell(catalogue: Catalogue, code: &str) -> Vec<CellPart> {
    let from = code.len() - code.trim_start().len();
    if code[from..].starts_with("%%") {
        return vec![CellPart::Magic(code[from..].into())];
    }
    let mut found = vec![];
    let mut rust = String::new();
    let flush = |rust: &mut String, found: &mut Vec<CellPart>| {
        let code = std::mem::take(rust);
        if !code.trim().is_empty() {
            found.push(CellPart::Rust(code));
        }
    };
    for line in code.split_inclusive('\n') {
        // Commands of evcxr come before any Rust.
        let before_rust = rust.lines().all(|line| line.trim().is_empty() || line.starts_with("//"));
        match part_of_line(catalogue, line.trim_end(), before_rust, code.trim() == line.trim()) {
            Some(part) if rust.parse::<TokenStream>().is_ok() => {
                flush(&mut rust, &mut found);
                found.push(part);
            }
            _ => rust.push_str(line),
        }
    }
    flush(&mut rust, &mut found);
    found
}

/// The part that a line is, or None if it is Rust. `before_rust` says that no Rust is above it in its part, and `alone`
/// that it is the only line of its cell.
fn part_of_line(catalogue: Catalogue, line: &str, before_rust: bool, alone: bool) -> Option<CellPart> {
    if before_rust && line.trim_start().starts_with(':') && !line.trim_start().starts_with("::") {
        return Some(CellPart::Command(line.trim().into()));
    }
    if asks(catalogue, line, alone) {
        return Some(CellPart::Magic(line.into()));
    }
    if let Some(rest) = line.strip_prefix('%') {
        return rest.starts_with(char::is_alphabetic).then(|| CellPart::Magic(line.into()));
    }
    let command = line.strip_prefix('!')?;
    let shell = !command.is_empty() && !command.starts_with(['(', '[', ' ']);
    shell.then(|| CellPart::Shell(line.into()))
}

/// Returns an error if a body contains a magic or a shell command. The error points at the first one. Such a body is
/// run as one piece of Rust.
pub fn no_magic_in(catalogue: Catalogue, source: &Source, body: Span) -> Result<()> {
    let text = &source.text()[body.clone()];
    let first = split_cell(catalogue, text).into_iter().find_map(|part| match part {
        CellPart::Magic(line) | CellPart::Shell(line) => Some(line),
        _ => None,
    });
    let Some(line) = first else { return Ok(()) };
    let line = line.lines().next().unwrap_or_default();
    let at = body.start + text.find(line).unwrap_or(0);
    let help = "write magics and shell commands in a separate cell";
    Err(source.syntax_error(at..at + line.len(), "the body of this magic can contain only Rust", Some(help.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CATALOGUE;

    fn split(code: &str) -> Vec<String> {
        let shown = |part| match part {
            CellPart::Rust(code) => format!("rust {}", code.trim()),
            CellPart::Command(line) => format!("command {line}"),
            CellPart::Magic(text) => format!("magic {text}"),
            CellPart::Shell(line) => format!("shell {line}"),
        };
        split_cell(CATALOGUE, code).into_iter().map(shown).collect()
    }

    #[test]
    fn magics_and_commands_are_separated_from_rust() {
        let code = ":dep rand\n// note\n:vars\nlet x = 1;\n%time f(x)\nlet y = 2;\n!ls 'it\nx + y";
        let expected = [
            "command :dep rand",
            "rust // note",
            "command :vars",
            "rust let x = 1;",
            "magic %time f(x)",
            "rust let y = 2;",
            "shell !ls 'it",
            "rust x + y",
        ];
        assert_eq!(split(code), expected);
        assert_eq!(split("\n%%bash\n%x\nit's"), ["magic %%bash\n%x\nit's"]);
        assert_eq!(split("?Vec::push"), ["magic ?Vec::push"]);
        assert_eq!(split("Vec::push?"), ["magic Vec::push?"]);
    }

    #[test]
    fn lines_inside_of_rust_tokens_stay_rust() {
        for code in [
            "let a = 7\n% 3;",
            "let a = f(\n%x\n);",
            "let s = \"\n%x\n!ls\n\";",
            "let s = r#\"\n%x\n\"#;",
            "/*\n%x\n*/",
            "!(true)",
            "![1]",
            "f()?",
            "let x = 1;\nx?",
            "let x = 1;\n    :dep",
            "::std::process::id()",
        ] {
            assert_eq!(split(code), [format!("rust {code}")]);
        }
    }

    #[test]
    fn a_magic_in_a_body_of_rust_is_an_error() {
        let text = "%%time\nlet s = \"\n%x\";\n  f();\n%who f\n";
        let error = no_magic_in(CATALOGUE, &Source::new(text, 2), 6..text.len()).unwrap_err();
        assert!(error.traceback().join("\n").contains("7 │"), "{error:?}");
        assert!(no_magic_in(CATALOGUE, &Source::new("%%time\nf()", 0), 6..10).is_ok());
    }
}
