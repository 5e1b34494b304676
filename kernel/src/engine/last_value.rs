//! `_` as an expression stands for the value of the last expression, as in IPython. Rust has no such name, so evcxr
//! keeps the value in a variable, whose name replaces `_` in the code.

use evcxr::LAST;
use ra_ap_syntax::ast::{self, AstNode};
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind, SyntaxNode, T, TextRange};

/// The code with the variable in place of each `_` that stands for a value. None if there is no such `_`.
pub fn named(code: &str) -> Option<String> {
    if !code.contains('_') {
        return None;
    }
    let mut positions = positions(code, "fn cell() {", "\n}");
    positions.sort_unstable();
    let mut named = code.to_string();
    for at in positions.iter().rev() {
        named.replace_range(at..&(at + 1), LAST);
    }
    (!positions.is_empty()).then_some(named)
}

/// A message of the compiler with `_` in place of the variable, as the user wrote it.
pub fn as_written(text: &str) -> String {
    text.replace(LAST, "_")
}

/// The bytes at which a `_` stands for a value. `before` and `after` are put around the code to make it a Rust file.
fn positions(code: &str, before: &str, after: &str) -> Vec<usize> {
    let file = SourceFile::parse(&format!("{before}{code}{after}"), Edition::Edition2024).tree();
    let mut positions = vec![];
    for node in file.syntax().descendants() {
        if node.kind() == SyntaxKind::UNDERSCORE_EXPR && !is_assigned_to(&node) {
            positions.push(usize::from(node.text_range().start()) - before.len());
        } else if let Some(inside) = ast::MacroCall::cast(node).and_then(|call| inside(&call)) {
            // The parser does not look into macros, so the arguments are parsed on their own.
            let start = usize::from(inside.start()) - before.len();
            let text = &code[start..start + usize::from(inside.len())];
            positions.extend(positions_in_arguments(text).into_iter().map(|at| start + at));
        }
    }
    positions
}

fn positions_in_arguments(text: &str) -> Vec<usize> {
    if !text.contains('_') {
        return vec![];
    }
    let (before, after) = ("fn cell() { f(", "\n); }");
    let parsed = SourceFile::parse(&format!("{before}{text}{after}"), Edition::Edition2024);
    match parsed.errors().is_empty() {
        true => positions(text, before, after),
        false => vec![],
    }
}

/// Macros whose arguments are values. In other macros, such as `matches!`, a `_` may be a pattern.
const VALUE_MACROS: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "dbg",
    "eprint",
    "eprintln",
    "format",
    "panic",
    "print",
    "println",
    "vec",
    "write",
    "writeln",
];

/// The range between the parentheses or brackets of a macro call, if the arguments of that macro are values.
fn inside(call: &ast::MacroCall) -> Option<TextRange> {
    let name = call.path()?.segment()?.name_ref()?;
    let tree = call.token_tree().filter(|_| VALUE_MACROS.contains(&name.text()))?;
    let (first, last) = (tree.syntax().first_token()?, tree.syntax().last_token()?);
    let is_list = matches!(first.kind(), T!['('] | T!['[']) && first != last;
    is_list.then(|| TextRange::new(first.text_range().end(), last.text_range().start()))
}

/// Whether the `_` is on the left of an assignment, as in `_ = f()` and `(a, _) = f()`: no value is read there.
fn is_assigned_to(node: &SyntaxNode) -> bool {
    node.ancestors().zip(node.ancestors().skip(1)).any(|(inner, outer)| {
        let is_assignment = |binary: ast::BinExpr| {
            matches!(binary.op_kind(), Some(ast::BinaryOp::Assignment { op: None }))
                && binary.lhs().is_some_and(|lhs| lhs.syntax() == &inner)
        };
        ast::BinExpr::cast(outer).is_some_and(is_assignment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_underscore_that_is_a_value_is_replaced() {
        for (code, expected) in [
            ("_", "@"),
            ("_ + 1", "@ + 1"),
            ("let ä = \"é\"; f(_, &_)", "let ä = \"é\"; f(@, &@)"),
            ("_.iter().map(|_| 1)", "@.iter().map(|_| 1)"),
            ("println!(\"{}\", _)", "println!(\"{}\", @)"),
            ("vec![_, 1]", "vec![@, 1]"),
            ("assert!(f(_) && matches!(x, Some(_)))", "assert!(f(@) && matches!(x, Some(_)))"),
        ] {
            assert_eq!(named(code).map(|named| named.replace(LAST, "@")).as_deref(), Some(expected), "{code}");
        }
        for code in [
            "1",
            "let _ = 1;",
            "_ = f();",
            "(a, _) = f();",
            "let v: Vec<_> = x.collect();",
            "match x { _ => 1 }",
            "a_b + _c",
            "println!(\"_\")",
            "matches!(x, Some(_))",
            "fn f(_: i32) {}",
        ] {
            assert_eq!(named(code), None, "{code}");
        }
        assert_eq!(as_written(&named("_ + 1").unwrap()), "_ + 1");
    }
}
