//! The parts of a cell that was run: Rust, and lines for somebody else. As in the kernel, a line is none of Rust's where it
//! begins outside of brackets, strings and comments, which the lexer of Rust decides here: what stands above it are whole
//! tokens.

use crate::error::{Result, Source, Span};
use crate::magic::{Catalogue, asks};
use proc_macro2::TokenStream;

/// A part of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rust.
    Rust(String),
    /// A command of evcxr: `:dep rand`.
    Command(String),
    /// A line magic with its line, or a cell magic with its body.
    Magic(String),
    /// A line for the shell, with its `!`.
    Shell(String),
}

/// Splits a cell.
pub fn parts(catalogue: Catalogue, code: &str) -> Vec<Part> {
    let from = code.len() - code.trim_start().len();
    if code[from..].starts_with("%%") {
        return vec![Part::Magic(code[from..].into())];
    }
    let mut found = vec![];
    let mut rust = String::new();
    let flush = |rust: &mut String, found: &mut Vec<Part>| {
        let code = std::mem::take(rust);
        if !code.trim().is_empty() {
            found.push(Part::Rust(code));
        }
    };
    for line in code.split_inclusive('\n') {
        // evcxr's own commands stand before any Rust.
        let before_rust = rust.lines().all(|line| line.trim().is_empty() || line.starts_with("//"));
        match special(catalogue, line.trim_end(), before_rust, code.trim() == line.trim()) {
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

/// What a line is that is no Rust.
fn special(catalogue: Catalogue, line: &str, before_rust: bool, alone: bool) -> Option<Part> {
    if before_rust && line.trim_start().starts_with(':') && !line.trim_start().starts_with("::") {
        return Some(Part::Command(line.trim().into()));
    }
    if asks(catalogue, line, alone) {
        return Some(Part::Magic(line.into()));
    }
    if let Some(rest) = line.strip_prefix('%') {
        return rest.starts_with(char::is_alphabetic).then(|| Part::Magic(line.into()));
    }
    let command = line.strip_prefix('!')?;
    let shell = !command.is_empty() && !command.starts_with(['(', '[', ' ']);
    shell.then(|| Part::Shell(line.into()))
}

/// An error that points at the first line of a body that is no Rust: such a body runs as one.
pub fn no_magic_in(catalogue: Catalogue, source: &Source, body: Span) -> Result<()> {
    let text = &source.text()[body.clone()];
    let first = parts(catalogue, text).into_iter().find_map(|part| match part {
        Part::Magic(line) | Part::Shell(line) => Some(line),
        _ => None,
    });
    let Some(line) = first else { return Ok(()) };
    let line = line.lines().next().unwrap_or_default();
    let at = body.start + text.find(line).unwrap_or(0);
    let help = "magics and shell commands stand in cells of their own";
    Err(source.syntax_error(at..at + line.len(), "the body of this magic is Rust alone", Some(help.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CATALOGUE;

    fn split(code: &str) -> Vec<String> {
        let shown = |part| match part {
            Part::Rust(code) => format!("rust {}", code.trim()),
            Part::Command(line) => format!("command {line}"),
            Part::Magic(text) => format!("magic {text}"),
            Part::Shell(line) => format!("shell {line}"),
        };
        parts(CATALOGUE, code).into_iter().map(shown).collect()
    }

    #[test]
    fn lines_that_are_no_rust_are_found() {
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
    fn what_is_rust_stays_rust() {
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
    fn a_body_of_rust_has_no_magics() {
        let text = "%%time\nlet s = \"\n%x\";\n  f();\n%who f\n";
        let error = no_magic_in(CATALOGUE, &Source::new(text, 2), 6..text.len()).unwrap_err();
        assert!(error.traceback().join("\n").contains("7 │"), "{error:?}");
        assert!(no_magic_in(CATALOGUE, &Source::new("%%time\nf()", 0), 6..10).is_ok());
    }
}
