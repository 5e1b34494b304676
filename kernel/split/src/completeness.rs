//! Decides whether a console should run the code that was typed, or ask for another line (`is_complete_request`).

use super::commands::is_command;
use super::lexer::Scan;
use super::segments::{Segment, segments};
use ra_ap_syntax::{Edition, SourceFile};

/// Whether code can be run as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// The code can be run.
    Complete,
    /// More lines must follow. `indent` is the number of spaces before the next line.
    Incomplete { indent: usize },
    /// The code has an error that no further line can correct.
    Invalid,
}

/// Whether a cell can be run as it is. `asks` is that of [`segments`].
pub fn completeness(code: &str, asks: impl Fn(&str, bool) -> bool) -> Completeness {
    let first = code.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    if first.starts_with("%%") {
        // In a console an empty line ends a cell magic, so that its body can be typed.
        let has_body = code.trim().lines().count() > 1;
        return match has_body && code.ends_with("\n\n") {
            true => Completeness::Complete,
            false => Completeness::Incomplete { indent: 0 },
        };
    }
    // Each part must be complete; only the last one can be continued.
    let mut parts = segments(code, asks);
    let last = match parts.pop() {
        Some(Segment::Rust { code, .. }) => rust(&code),
        _ => Completeness::Complete,
    };
    let ended = |part: &Segment| match part {
        Segment::Rust { code, .. } => rust(code) == Completeness::Complete,
        _ => true,
    };
    if parts.iter().all(ended) { last } else { Completeness::Invalid }
}

/// Whether Rust code can be run as it is.
fn rust(code: &str) -> Completeness {
    let (mut scan, mut rust) = (Scan::new(), String::from(BEFORE));
    for line in code.split_inclusive('\n') {
        // A command of evcxr ends with its line, and is no Rust.
        let line = if scan.at_top() && is_command(line) { " ".repeat(line.len()) } else { line.to_string() };
        scan.line(&line);
        rust += &line;
    }
    let incomplete = Completeness::Incomplete { indent: scan.indent() };
    if scan.is_mismatched() {
        return Completeness::Invalid;
    }
    if !scan.at_top() || scan.documents() {
        return incomplete;
    }
    // An error at the end means that something is missing, which can follow. An earlier error cannot be corrected.
    rust += AFTER;
    let errors = SourceFile::parse(&rust, Edition::Edition2024).errors();
    let end = BEFORE.len() + scan.end();
    match errors.iter().map(|error| usize::from(error.range().start())).min() {
        None => Completeness::Complete,
        Some(first) if first >= end => incomplete,
        Some(_) => Completeness::Invalid,
    }
}

/// The code before and after a cell that makes it the body of a function for the parser.
const BEFORE: &str = "fn cell() {";
const AFTER: &str = "\n}";

#[cfg(test)]
mod tests {
    use super::Completeness::*;
    use super::*;

    #[test]
    fn finished_code_is_complete() {
        for code in [
            "",
            "\n\n",
            "x",
            "x;",
            "1 + 1",
            "x = 5",
            "x?",
            "let x = 1;",
            "let x = match y { _ => 1 };",
            "let x: Vec<Vec<i32>> = vec![];",
            "let s = r#\"a \" b\"#;",
            "let s = \"two\nlines\";",
            "let s = \"escaped \\\" { \";",
            "let c = '{'; let d = '\\''; let l: &'static str = \"}\"; let u = '\\u{7d}'; let b = b'('; let s = '\\\\';",
            "let q = '\"';",
            "let r#type = 1;",
            "fn f() {}",
            "fn longest<'a>(x: &'a str, y: &'a str) -> &'a str { x }",
            "if x {}",
            "if x {} else {}",
            "#[derive(Debug)]\nstruct X;",
            "#[derive(Debug)] struct X { a: i32 }",
            "/// What it is.\nfn f() {}",
            "// {",
            "let x = 1; // and so on (",
            "/* a /* nested */ comment */ x",
            "/* only a comment */",
            "//// no documentation",
            "0..",
            "..",
            "v.iter()\n    .map(|x| x + 1)\n    .collect::<Vec<_>>()",
            "loop { break }",
            "macro_rules! m { () => {} }",
            "vec![1, 2]",
            "println!(\"{x}\")",
            "use std::io::Write;",
            "async fn f() {} f().await",
            ":dep serde = \"1\"",
            ":dep serde = { version = \"1\", features = [\"derive\"] }\nlet x = 1;",
            ":vars",
            "#![feature(test)]",
            "|x: i32| x",
            "let f = |x| { x };",
            "fn ä() -> char { 'ä' }\nä()",
            "return",
            "impl Trait for X { fn f(&self) {} }",
            "let (a, b) = (1, 2);\r\n",
        ] {
            assert_eq!(rust(code), Complete, "{code}");
            assert_eq!(rust(&format!("{code}\n\n")), Complete, "{code} and empty lines");
        }
    }

    #[test]
    fn unfinished_code_is_indented_as_by_rustfmt() {
        for (code, indent) in [
            // Brackets.
            ("fn f() {", 4),
            ("fn f() { if x {", 8),
            ("fn f() {\n    if x {", 8),
            ("fn f() {\n    if x {\n        y();", 8),
            ("fn f() {\n    if x {\n        y();\n    }", 4),
            ("fn f() {\n    if x {\n    } else {", 8),
            ("let x = (", 4),
            ("let x = f(|y| {", 4),
            ("let x = f(|y| {\n    y\n}", 4),
            ("let v = vec![\n    1,\n    2,", 4),
            ("match x {", 4),
            ("match x {\n    1 => 2,", 4),
            ("match x {\n    1 =>", 8),
            ("match x {\n    1 => {", 8),
            ("match x {\n    1 => {\n    }", 4),
            ("struct X {\n    pub a: i32,", 4),
            ("impl X {\n    pub(crate) fn f(&self) -> i32 {", 8),
            ("fn f(\n    a: i32,\n) -> i32 {", 4),
            ("let x = if y {", 4),
            ("let Some(x) = y else {", 4),
            ("if a {\n} else if b {", 4),
            ("use std::{", 4),
            // Statements that need more.
            ("let x = 1", 4),
            ("let x", 4),
            ("let x =", 4),
            ("let x: i32 =\n    1 +", 4),
            ("let x = 1.", 4),
            ("let x = Foo { a: 1 }", 4),
            ("use std::io", 4),
            ("use std::", 4),
            ("static X: i32 = 1", 4),
            ("a +", 4),
            ("a\n    + b\n    +", 4),
            ("x &&", 4),
            ("v.iter().", 4),
            ("let x = v\n    .iter()", 4),
            ("let x = v\n    .iter()\n    .map(|x| {", 8),
            ("let x = v\n    .iter()\n    .map(|x| {\n        x\n    })", 4),
            ("let x =\n    f(", 8),
            ("fn f() {\n    let x =", 8),
            ("fn f() {\n    let x = 1", 8),
            ("fn f() {\n    let x = 1;", 4),
            ("fn f() {\n    let x = a +\n        b +", 8),
            ("fn f() {\n    v.iter()\n        .map(g)", 8),
            ("fn f() {\n    v.iter()\n        .map(g);", 4),
            ("fn f() {\n    x", 4),
            ("f(\n    a,\n    b +", 8),
            ("|x|", 4),
            ("x as", 4),
            ("-", 4),
            ("return x +", 4),
            // Heads of items and expressions whose block is missing.
            ("fn f()", 0),
            ("fn f() -> i32", 0),
            ("fn f() ->", 4),
            ("fn f<T>() where", 4),
            ("fn f<T>()\nwhere\n    T: Copy,", 4),
            ("fn f<T>()\nwhere\n    T: Copy,\n{", 4),
            ("const fn f()", 0),
            ("struct X", 0),
            ("impl X", 0),
            ("impl<T> Trait for X<T> where T: Copy", 0),
            ("enum E", 0),
            ("mod m", 0),
            ("pub", 0),
            ("unsafe", 0),
            ("if x", 0),
            ("if x &&", 4),
            ("if x == Foo", 0),
            ("if x {} else", 0),
            ("if x {} else if y", 0),
            ("match x", 0),
            ("while x", 0),
            ("for x in", 4),
            ("for x in y", 0),
            ("loop", 0),
            ("'a: loop", 0),
            ("macro_rules! m", 0),
            ("let Some(x) = y else", 4),
            // Attributes and doc comments, which need an item after them.
            ("#[derive(Debug)]", 0),
            ("#[derive(Debug)]\n#[allow(\n    unused\n)]", 0),
            ("#[derive(Debug)]\npub struct X {", 4),
            ("/// What it is.", 0),
            ("fn f() {}\n/// What it is.", 0),
            ("/** What it is. */", 0),
            ("struct X {\n    /// What it is.", 4),
            // Strings and comments.
            ("let s = \"abc", 0),
            ("fn f() {\n    let s = \"abc", 0),
            ("let s = \"abc\\", 0),
            ("let s = r#\"a \" b", 0),
            ("let s = br##\"a \"# b", 0),
            ("/* open", 0),
            ("/* open /* nested */", 0),
            ("fn f() {\n    /* open", 4),
            // The lexer does not count the brackets of generic arguments.
            ("let x: Vec<", 4),
            ("struct X<\n    T,", 4),
            (":dep serde = \"1\"\nlet x =", 4),
            ("let x = 1; // {\nlet y =", 4),
            ("let x = // why\n    1 +", 4),
        ] {
            assert_eq!(rust(code), Incomplete { indent }, "{code}");
            if indent > 0 || !code.contains(['"', '*']) {
                assert_eq!(rust(&format!("{code}\n")), Incomplete { indent }, "{code} and a line end");
                assert_eq!(rust(&format!("{code}\n\n    \n")), Incomplete { indent }, "{code} and empty lines");
            }
        }
    }

    #[test]
    fn code_that_no_further_line_can_correct_is_invalid() {
        for code in
            ["f(]", "}", "f())", "fn f() {]", "(}", "{ ) }", "let = 1;", "let x = ;", "let a = 1 let b = 2;", "1 2 +"]
        {
            assert_eq!(rust(code), Invalid, "{code}");
        }
    }

    #[test]
    fn each_part_of_a_cell_must_be_complete() {
        for (code, expected) in [
            ("%study", Complete),
            ("x\n%study\ny", Complete),
            ("x\n%study", Complete),
            ("%study\nlet x =", Incomplete { indent: 4 }),
            ("!ls {\nfn f() {", Incomplete { indent: 4 }),
            ("fn f() {\n%study", Incomplete { indent: 4 }),
            ("let x =\n%study\n1;", Invalid),
            ("%%sweep depth", Incomplete { indent: 0 }),
            ("%%sweep depth\n", Incomplete { indent: 0 }),
            ("%%sweep depth\nworkload digits_mlp", Incomplete { indent: 0 }),
            ("%%sweep depth\nworkload digits_mlp\n\n", Complete),
            ("study?", Complete),
            ("x?", Complete),
        ] {
            assert_eq!(completeness(code, |name, _| name == "study"), expected, "{code}");
        }
    }
}
