//! Which earlier `impl` an `impl` of a later cell replaces.

use ra_ap_syntax::AstNode;
use ra_ap_syntax::SourceFile;
use ra_ap_syntax::SyntaxNode;
use ra_ap_syntax::ast;
use ra_ap_syntax::ast::HasGenericParams;
use ra_ap_syntax::ast::HasName;
use std::collections::HashSet;

/// What an `impl` of a later cell leaves of an item of an earlier one.
#[derive(Debug, PartialEq)]
pub(crate) enum Remains {
    All,
    Nothing,
    Code(String),
}

/// Returns what is left of `earlier`, the code of one item. An `impl` of the same trait for the same type
/// is replaced. Of another `impl` of the same type, the items go that have a new body.
pub(crate) fn remains(earlier: &str, later: &ast::Impl) -> Remains {
    let Some(old) = parsed(earlier) else {
        return Remains::All;
    };
    if key(&old) != key(later) {
        return Remains::All;
    }
    if later.trait_().is_some() {
        return Remains::Nothing;
    }
    let new_names: HashSet<String> = members(later).filter_map(|item| name(&item)).collect();
    let replaced = |item: &ast::AssocItem| name(item).is_some_and(|name| new_names.contains(&name));
    let gone: Vec<ast::AssocItem> = members(&old).filter(replaced).collect();
    if gone.is_empty() {
        return Remains::All;
    }
    if gone.len() == members(&old).count() {
        return Remains::Nothing;
    }
    let mut code = earlier.to_owned();
    for item in gone.iter().rev() {
        let range = item.syntax().text_range();
        code.replace_range(usize::from(range.start())..usize::from(range.end()), "");
    }
    Remains::Code(code)
}

/// Returns the code of a definition without comments and spaces, so that two can be compared.
pub(crate) fn tokens(node: &SyntaxNode) -> String {
    let tokens = node
        .descendants_with_tokens()
        .filter_map(|element| element.into_token());
    tokens
        .filter(|token| !token.kind().is_trivia())
        .map(|token| token.text().to_owned() + " ")
        .collect()
}

/// Returns the definition of a type or a trait with this name among some items, as `tokens` writes it.
pub(crate) fn definition(code: &str, name: &str) -> Option<String> {
    let file = SourceFile::parse(code, crate::rust_analyzer::EDITION).tree();
    let mut items = file.syntax().children().filter_map(ast::Item::cast);
    items
        .find(|item| defined_type(item).as_deref() == Some(name))
        .map(|item| tokens(item.syntax()))
}

/// Returns the name of the type or the trait that an item defines.
pub(crate) fn defined_type(item: &ast::Item) -> Option<String> {
    let name = match item {
        ast::Item::Enum(item) => item.name(),
        ast::Item::Struct(item) => item.name(),
        ast::Item::Trait(item) => item.name(),
        ast::Item::TypeAlias(item) => item.name(),
        ast::Item::Union(item) => item.name(),
        _ => None,
    };
    name.map(|name| name.to_string())
}

/// Returns the plain names of the type and of the trait of an impl.
pub(crate) fn names(item: &ast::Impl) -> Vec<String> {
    let name = |ty: ast::Type| match ty {
        ast::Type::PathType(path) => Some(path.path()?.segment()?.name_ref()?.text().to_string()),
        _ => None,
    };
    [item.self_ty(), item.trait_()]
        .into_iter()
        .flatten()
        .filter_map(name)
        .collect()
}

fn parsed(code: &str) -> Option<ast::Impl> {
    if !code.contains("impl") {
        return None;
    }
    let file = SourceFile::parse(code, crate::rust_analyzer::EDITION).tree();
    file.syntax().children().find_map(ast::Impl::cast)
}

/// Returns the trait and the type. The names of generic parameters do not count.
fn key(item: &ast::Impl) -> (Option<String>, Option<String>) {
    let parameters: Vec<String> = item
        .generic_param_list()
        .into_iter()
        .flat_map(|list| list.generic_params())
        .filter_map(|parameter| match parameter {
            ast::GenericParam::ConstParam(it) => it.name().map(|name| name.to_string()),
            ast::GenericParam::LifetimeParam(it) => it.lifetime().map(|name| name.to_string()),
            ast::GenericParam::TypeParam(it) => it.name().map(|name| name.to_string()),
        })
        .collect();
    let written = |ty: ast::Type| {
        let tokens = tokens(ty.syntax());
        let words = tokens.split(' ').map(|word| {
            match parameters.iter().position(|parameter| parameter == word) {
                Some(index) => format!("#{index}"),
                None => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    (item.trait_().map(written), item.self_ty().map(written))
}

fn members(item: &ast::Impl) -> impl Iterator<Item = ast::AssocItem> {
    item.assoc_item_list()
        .into_iter()
        .flat_map(|list| list.assoc_items())
}

fn name(item: &ast::AssocItem) -> Option<String> {
    let name = match item {
        ast::AssocItem::Const(item) => item.name(),
        ast::AssocItem::Fn(item) => item.name(),
        ast::AssocItem::TypeAlias(item) => item.name(),
        ast::AssocItem::MacroCall(_) => None,
    };
    name.map(|name| name.to_string())
}

#[cfg(test)]
mod test {
    use super::Remains;
    use super::definition;
    use super::parsed;
    use super::remains;

    #[test]
    fn a_later_impl_replaces_what_it_defines_anew() {
        let left = |earlier: &str, later: &str| remains(earlier, &parsed(later).unwrap());
        let code = |code: &str| Remains::Code(code.to_owned());
        for (earlier, later, expected) in [
            (
                "impl A { fn f() {} }",
                "impl A { fn f() { g() } }",
                Remains::Nothing,
            ),
            (
                "impl A { fn f() {} fn g() {} }",
                "impl A { fn f() {} }",
                code("impl A {  fn g() {} }"),
            ),
            ("impl A { fn f() {} }", "impl A { fn g() {} }", Remains::All),
            ("impl A { fn f() {} }", "impl B { fn f() {} }", Remains::All),
            (
                "impl T for A { fn f() {} }",
                "impl T for A { fn g() {} }",
                Remains::Nothing,
            ),
            ("impl T for A {}", "impl T for B {}", Remains::All),
            ("impl T for A {}", "impl A { fn f() {} }", Remains::All),
            (
                "impl<X: C> W<X> { fn f() {} }",
                "impl<Y> W< Y > where Y: D { fn f() {} }",
                Remains::Nothing,
            ),
            (
                "impl W<i32> { fn f() {} }",
                "impl W<u8> { fn f() {} }",
                Remains::All,
            ),
            (
                "impl From<u8> for A {}",
                "impl From<u16> for A {}",
                Remains::All,
            ),
            (
                "fn implement() {}",
                "impl A { fn implement() {} }",
                Remains::All,
            ),
        ] {
            assert_eq!(left(earlier, later), expected, "{earlier} / {later}");
        }
    }

    #[test]
    fn comments_and_spaces_change_no_definition() {
        let one = definition("/// One.\nstruct P { x: i32 }\nimpl P {}", "P");
        assert_eq!(
            one,
            definition("struct P {\n    x: i32, // one\n}", "P").map(|d| d.replace(", }", "}"))
        );
        assert_ne!(one, definition("struct P { x: i64 }", "P"));
        assert_eq!(definition("fn p() {}", "p"), None);
    }
}
