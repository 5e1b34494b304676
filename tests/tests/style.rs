//! Lines of documents and comments are short enough to be read in any editor.

use ra_ap_syntax::ast::{AstNode, AstToken, Comment};
use ra_ap_syntax::{Edition, SourceFile};
use std::path::{Path, PathBuf};

/// The most characters of a line.
const WIDTH: usize = 120;
/// What is checked, from the root of the repository.
const CHECKED: [&str; 11] = [
    ".cargo",
    ".ci",
    "ARCHITECTURE.md",
    "Cargo.toml",
    "README.md",
    "docs",
    "install",
    "kernel",
    "magics",
    "notebooks",
    "tests",
];
/// Crates of others that are carried with changes, and what tools make.
const NOT_CHECKED: [&str; 5] =
    ["docs/src/reference/magics.md", "kernel/evcxr", "kernel/zeromq", "tests/fuzz/corpus", "tests/fuzz/target"];

#[test]
fn lines_of_documents_and_comments_are_at_most_120_wide() {
    let root = tunebook_tests::repository();
    let (mut checked, mut mistakes) = (0, vec![]);
    let mut open: Vec<PathBuf> = CHECKED.iter().map(|name| root.join(name)).collect();
    while let Some(path) = open.pop() {
        let name = path.strip_prefix(&root).expect("a path below the root").to_string_lossy().into_owned();
        if NOT_CHECKED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let Some(language) = Language::of(&path) else { continue };
        let text = std::fs::read_to_string(&path).expect("a text file");
        checked += 1;
        mistakes
            .extend(too_wide(language, &text).into_iter().map(|(line, width)| format!("{name}:{line}: {width} wide")));
    }
    assert!(checked > 200, "only {checked} files are found");
    mistakes.sort();
    assert!(mistakes.is_empty(), "{} lines are wider than {WIDTH}:\n{}", mistakes.len(), mistakes.join("\n"));
}

/// How comments are written in a file.
#[derive(Clone, Copy)]
enum Language {
    Rust,
    Markdown,
    /// Python, TOML and shell: comments begin with `#`, and the documentation of Python stands between `"""`.
    Hash,
}

impl Language {
    fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => Some(Self::Rust),
            Some("md") => Some(Self::Markdown),
            Some("py" | "toml" | "sh") => Some(Self::Hash),
            // .ci/run
            None if path.ends_with("run") => Some(Self::Hash),
            _ => None,
        }
    }
}

/// The lines of documents and comments in a text that are too wide, by number and width.
///
/// A table of Markdown cannot be broken into lines, code is the formatter's business, and an address counts nothing.
fn too_wide(language: Language, text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let checked: Vec<usize> = match language {
        Language::Rust => comment_lines(text),
        Language::Markdown => {
            let mut in_code = false;
            let is_text = |(at, line): (usize, &&str)| {
                let fence = line.trim_start().starts_with("```");
                in_code ^= fence;
                (!fence && !in_code && !line.trim_start().starts_with('|')).then_some(at)
            };
            lines.iter().enumerate().filter_map(is_text).collect()
        }
        Language::Hash => {
            let mut in_text = false;
            let is_comment = |(at, line): (usize, &&str)| {
                let quotes = line.matches("\"\"\"").count();
                let is_text = in_text || quotes > 0 || line.trim_start().starts_with('#');
                in_text ^= quotes % 2 == 1;
                is_text.then_some(at)
            };
            lines.iter().enumerate().filter_map(is_comment).collect()
        }
    };
    let width = |line: &str| -> usize {
        let addresses: usize =
            line.split_whitespace().filter(|word| word.contains("://")).map(|word| word.chars().count()).sum();
        line.chars().count() - addresses
    };
    checked.into_iter().map(|at| (at + 1, width(lines[at]))).filter(|(_, width)| *width > WIDTH).collect()
}

/// The numbers of the lines of Rust, from 0, that hold a part of a comment.
fn comment_lines(text: &str) -> Vec<usize> {
    let ends: Vec<usize> = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let line_of = |position: usize| ends.partition_point(|end| *end < position);
    let tree = SourceFile::parse(text, Edition::Edition2024).tree();
    let tokens = tree.syntax().descendants_with_tokens().filter_map(|element| element.into_token());
    let comments = tokens.filter_map(Comment::cast).map(|comment| comment.syntax().text_range());
    let mut lines: Vec<usize> =
        comments.flat_map(|range| line_of(range.start().into())..=line_of(range.end().into())).collect();
    lines.dedup();
    lines
}

#[test]
fn rust_lines_count_when_they_hold_a_comment() {
    let wide = "x".repeat(115);
    let text = format!(
        "//! {wide}\n//! {wide}y\n//! {wide}yz\nconst A: &str = \"{wide} // no comment\";\n/* short\n {wide}yyyyyyy\n */\n\
         fn f() {{}} // {wide}\n// https://{wide} is an address\n"
    );
    assert_eq!(too_wide(Language::Rust, &text), [(3, 121), (6, 123), (8, 128)]);
}

#[test]
fn markdown_lines_count_outside_of_tables_and_code() {
    let wide = "x".repeat(121);
    let text = format!("{wide}\n| {wide} |\n```\n{wide}\n```\nhttps://{wide}\nEnd {wide}\n");
    assert_eq!(too_wide(Language::Markdown, &text), [(1, 121), (7, 125)]);
}

#[test]
fn lines_with_a_hash_and_documentation_of_python_count() {
    let wide = "x".repeat(121);
    let text =
        format!("# {wide}\na = '{wide}'\ndef f():\n    \"\"\"Short.\n\n    {wide}\n    \"\"\"\n    b = '{wide}'\n");
    assert_eq!(too_wide(Language::Hash, &text), [(1, 123), (6, 125)]);
}
