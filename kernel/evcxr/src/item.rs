// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

use ra_ap_syntax::AstNode;
use ra_ap_syntax::SourceFile;
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

#[cfg(test)]
mod test {
    use super::pointer_type;

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
