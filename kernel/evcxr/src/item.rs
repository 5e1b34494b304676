// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

use crate::code_block::CodeBlock;
use crate::code_block::Segment;
use ra_ap_syntax::AstNode;
use ra_ap_syntax::SourceFile;
use ra_ap_syntax::SyntaxKind;
use ra_ap_syntax::SyntaxNode;
use ra_ap_syntax::ast;
use ra_ap_syntax::ast::HasGenericParams;

/// Returns the name of an item if it has one.
pub(crate) fn item_name(item: &ast::Item) -> Option<String> {
    item_ident(item).map(|ident| format!("{ident}"))
}

/// Returns the ident of an item if it has one.
fn item_ident(item: &ast::Item) -> Option<ast::Name> {
    match item {
        ast::Item::Const(i) => ast::HasName::name(i),
        ast::Item::Enum(i) => ast::HasName::name(i),
        ast::Item::Fn(i) => ast::HasName::name(i),
        ast::Item::MacroRules(i) => ast::HasName::name(i),
        ast::Item::MacroDef(i) => ast::HasName::name(i),
        ast::Item::Module(i) => ast::HasName::name(i),
        ast::Item::Static(i) => ast::HasName::name(i),
        ast::Item::Struct(i) => ast::HasName::name(i),
        ast::Item::Trait(i) => ast::HasName::name(i),
        ast::Item::TypeAlias(i) => ast::HasName::name(i),
        ast::Item::Union(i) => ast::HasName::name(i),
        _ => None,
    }
}

/// Returns the type of a pointer to the function `name`, which `code` defines. Returns None if it is no
/// function, or if its type depends on how it is called.
pub(crate) fn pointer_type(code: &str, name: &str) -> Option<String> {
    let file = SourceFile::parse(code, crate::rust_analyzer::EDITION).tree();
    let mut functions = file.syntax().children().filter_map(ast::Fn::cast);
    let function = functions
        .find(|function| ast::HasName::name(function).is_some_and(|found| found.text() == name))?;
    if function.async_token().is_some() || function.abi().is_some() {
        return None;
    }
    let mut lifetimes = Vec::new();
    for parameter in function
        .generic_param_list()
        .into_iter()
        .flat_map(|list| list.generic_params())
    {
        match parameter {
            ast::GenericParam::LifetimeParam(it) => lifetimes.push(it.lifetime()?.to_string()),
            _ => return None,
        }
    }
    let mut types = Vec::new();
    for parameter in function.param_list()?.params() {
        types.push(parameter.ty()?.syntax().text().to_string());
    }
    let returned = function
        .ret_type()
        .and_then(|returned| returned.ty())
        .map(|ty| format!(" -> {}", ty.syntax().text()))
        .unwrap_or_default();
    let any = if lifetimes.is_empty() {
        String::new()
    } else {
        format!("for<{}> ", lifetimes.join(", "))
    };
    let safety = if function.unsafe_token().is_some() {
        "unsafe "
    } else {
        ""
    };
    let pointer = format!("{any}{safety}fn({}){returned}", types.join(", "));
    (!crate::code_block::words(&pointer).contains("impl")).then_some(pointer)
}

/// Returns the call of a macro that a whole statement is.
pub(crate) fn macro_call(node: &SyntaxNode) -> Option<ast::MacroCall> {
    let expression = match ast::ExprStmt::cast(node.clone()) {
        Some(statement) => statement.expr()?.syntax().clone(),
        None => node.clone(),
    };
    match ast::MacroExpr::cast(expression) {
        Some(expression) => expression.macro_call(),
        None => ast::MacroCall::cast(node.clone()),
    }
}

/// Returns the statement of `macro_call` as an item, behind which there is a semicolon unless it has
/// braces.
pub(crate) fn macro_as_item(node: &SyntaxNode, mut segment: Segment) -> CodeBlock {
    let has_semicolon = ast::ExprStmt::cast(node.clone())
        .is_some_and(|statement| statement.semicolon_token().is_some());
    let Some(call) = macro_call(node) else {
        return CodeBlock::new().with_segment(segment);
    };
    let has_braces = call
        .token_tree()
        .is_some_and(|tree| tree.l_curly_token().is_some());
    match (has_braces, has_semicolon) {
        (true, true) => {
            let end = usize::from(call.syntax().text_range().end() - node.text_range().start());
            if let Some(at) = segment.code.get(end..).and_then(|rest| rest.find(';')) {
                segment.code.replace_range(end + at..=end + at, " ");
            }
            CodeBlock::new().with_segment(segment)
        }
        (false, false) => CodeBlock::new().with_segment(segment).generated(";"),
        _ => CodeBlock::new().with_segment(segment),
    }
}

/// The words with which items begin.
const BEGINNINGS: &[&str] = &[
    "struct", "enum", "union", "fn", "impl", "trait", "const", "static", "mod", "type", "pub",
    "use", "#",
];

/// Returns the words between the braces of a macro's call, from the first item on: attributes and
/// comments are left out. Returns None if they do not begin with an item.
fn item_in_macro(call: &ast::MacroCall) -> Option<Vec<String>> {
    let tree = call.token_tree()?;
    tree.l_curly_token()?;
    let mut words = Vec::new();
    let mut children = tree.syntax().children_with_tokens().skip(1).peekable();
    while let Some(child) = children.next() {
        let text = child.to_string();
        match child.kind() {
            SyntaxKind::WHITESPACE | SyntaxKind::COMMENT => {}
            // `#[…]` and `#![…]`
            SyntaxKind::POUND if words.is_empty() => {
                children.next_if(|child| child.kind() == SyntaxKind::BANG);
                children.next();
            }
            // `(crate)` behind `pub`
            SyntaxKind::TOKEN_TREE if words == ["pub"] => {}
            _ => words.push(text),
        }
        if words.len() > 3 {
            break;
        }
    }
    BEGINNINGS
        .contains(&words.first()?.as_str())
        .then_some(words)
}

/// Returns whether a macro of which nothing is known makes items: what stands between its braces begins
/// with an item, and it is none of those that make a value of code.
pub(crate) fn holds_items(call: &ast::MacroCall) -> bool {
    let name = call.path().map(|path| path.syntax().text().to_string());
    let makes_code = name.is_some_and(|name| name.contains("quote"));
    !makes_code && item_in_macro(call).is_some()
}

/// Returns the name of the first item between the braces of a macro's call.
pub(crate) fn name_in_macro(call: &ast::MacroCall) -> Option<String> {
    let words = item_in_macro(call)?;
    let is_name = |word: &&String| {
        let is_keyword =
            BEGINNINGS.contains(&word.as_str()) || ["ref", "mut"].contains(&word.as_str());
        !is_keyword && word.starts_with(|c: char| c.is_alphabetic() || c == '_')
    };
    words.iter().find(is_name).cloned()
}

/// Returns whether what a `macro_rules!` writes begins with an item.
pub(crate) fn makes_items(definition: &str) -> bool {
    let Some((_, written)) = definition.split_once("=>") else {
        return false;
    };
    let inside = written.trim_start().trim_start_matches(['{', '(', '[']);
    // The definition may itself be repeated: `$( impl T for $t {} )*`.
    let inside = inside.trim_start().trim_start_matches("$(").trim_start();
    let end = inside
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(inside.len());
    let first = if inside.starts_with('#') {
        "#"
    } else {
        &inside[..end]
    };
    BEGINNINGS.contains(&first)
}

#[cfg(test)]
mod test {
    use super::holds_items;
    use super::makes_items;
    use super::name_in_macro;
    use super::pointer_type;
    use ra_ap_syntax::AstNode;
    use ra_ap_syntax::SourceFile;
    use ra_ap_syntax::ast;

    #[test]
    fn items_between_the_braces_of_a_macro_are_told_from_values() {
        let call = |code: &str| {
            let file = SourceFile::parse(code, ra_ap_syntax::Edition::CURRENT).tree();
            let mut nodes = file.syntax().descendants();
            nodes.find_map(ast::MacroCall::cast).unwrap()
        };
        for (code, name) in [
            (
                "lazy_static! { static ref TABLE: Vec<i32> = vec![]; }",
                "TABLE",
            ),
            (
                "b::bitflags! {\n  /// Bits.\n  #[derive(Debug)]\n  pub(crate) struct Flags: u32 { const A = 1; }\n}",
                "Flags",
            ),
            ("thread_local! { static N: i32 = 1 }", "N"),
            ("define! { pub enum E { A } }", "E"),
        ] {
            assert!(holds_items(&call(code)), "{code}");
            assert_eq!(name_in_macro(&call(code)).as_deref(), Some(name));
        }
        for code in [
            "json!({ \"a\": 1 })",
            "quote! { struct A; }",
            "html! { <p/> }",
            "m! {}",
            "f!(struct A)",
        ] {
            assert!(!holds_items(&call(code)), "{code}");
        }
    }

    #[test]
    fn macros_that_make_items_are_told_from_those_that_make_values() {
        for code in [
            "macro_rules! m { ($n:ident) => { struct $n; } }",
            "macro_rules! m {\n  ($($t:ty),*) => {\n    $( impl T for $t {} )*\n  };\n}",
            "macro_rules! m { () => (#[derive(Debug)] enum E {}) }",
        ] {
            assert!(makes_items(code), "{code}");
        }
        for code in [
            "macro_rules! m { ($e:expr) => { 2 * $e } }",
            "macro_rules! m { ($e:expr) => {{ structure($e) }} }",
            "macro_rules! m { () => { let x = 1; } }",
        ] {
            assert!(!makes_items(code), "{code}");
        }
    }

    #[test]
    fn a_pointer_to_a_function_has_a_type_that_can_be_written() {
        for (code, expected) in [
            ("fn f() {}", Some("fn()")),
            (
                "/// F.\npub fn f(mut a: i32, (b, c): (u8, &str)) -> Vec<i32> {}",
                Some("fn(i32, (u8, &str)) -> Vec<i32>"),
            ),
            (
                "fn f<'a>(a: &'a str, b: &'a str) -> &'a str {}",
                Some("for<'a> fn(&'a str, &'a str) -> &'a str"),
            ),
            ("unsafe fn f() {}", Some("unsafe fn()")),
            ("fn f<T>(a: T) {}", None),
            ("fn f(a: impl Fn()) {}", None),
            ("async fn f() {}", None),
            ("fn g() {}", None),
            ("const f: i32 = 1;", None),
        ] {
            assert_eq!(pointer_type(code, "f").as_deref(), expected, "{code}");
        }
    }
}
