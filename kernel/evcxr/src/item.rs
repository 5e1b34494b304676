// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

use ra_ap_syntax::AstNode;
use ra_ap_syntax::ast;

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

/// Returns the trait that an implementation is of, if it is of one, and its type. White space in them is removed.
fn implemented(item: &ast::Impl) -> (Option<String>, String) {
    let text = |ty: Option<ast::Type>| {
        let text = ty.map(|ty| ty.syntax().text().to_string());
        text.map(|text| text.split_whitespace().collect::<String>())
    };
    (text(item.trait_()), text(item.self_ty()).unwrap_or_default())
}

/// Returns the plain names of the trait and of the type of an implementation.
pub(crate) fn implemented_names(item: &ast::Impl) -> Vec<String> {
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

/// Returns the text of an earlier implementation without what `new` implements again. An implementation of a trait is
/// replaced as a whole, one of a type by item. None if nothing of it is left.
pub(crate) fn without_implemented_again(code: &str, new: &ast::Impl) -> Option<String> {
    let parsed = ast::SourceFile::parse(code, crate::rust_analyzer::EDITION).tree();
    let old = parsed
        .syntax()
        .children()
        .find_map(ast::Impl::cast);
    let Some(old) = old.filter(|old| implemented(old) == implemented(new)) else {
        return Some(code.to_owned());
    };
    if new.trait_().is_some() {
        return None;
    }
    let items = |item: &ast::Impl| -> Vec<ast::AssocItem> {
        item.assoc_item_list()
            .into_iter()
            .flat_map(|list| list.assoc_items())
            .collect()
    };
    let name = |item: &ast::AssocItem| match item {
        ast::AssocItem::Fn(item) => ast::HasName::name(item),
        ast::AssocItem::Const(item) => ast::HasName::name(item),
        ast::AssocItem::TypeAlias(item) => ast::HasName::name(item),
        ast::AssocItem::MacroCall(_) => None,
    };
    let name = |item: &ast::AssocItem| name(item).map(|name| name.text().to_string());
    let again: Vec<String> = items(new).iter().filter_map(name).collect();
    let (gone, left): (Vec<_>, Vec<_>) = items(&old)
        .into_iter()
        .partition(|item| name(item).is_some_and(|name| again.contains(&name)));
    if left.is_empty() {
        return None;
    }
    let mut text = code.to_owned();
    for item in gone.iter().rev() {
        let range = item.syntax().text_range();
        text.replace_range(usize::from(range.start())..usize::from(range.end()), "");
    }
    Some(text)
}
