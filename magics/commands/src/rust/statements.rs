//! Parses a cell into statements with their spans, so that the code can be split and edited without changing its
//! format.

use crate::error::Span;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Block, Item, Stmt, UseTree};

pub struct Statement {
    pub parsed: Stmt,
    /// The span of the statement, without comments around it.
    pub span: Span,
    /// The span of the statement with the comments above it and at the end of its line.
    pub whole: Span,
}

/// The statements of some code. Spans are byte ranges.
pub struct Statements {
    /// The inner attributes `#![…]` at the top.
    pub attributes: Vec<Span>,
    pub list: Vec<Statement>,
    /// The span after the last statement, which contains only comments.
    pub rest: Span,
}

impl Statements {
    /// Parses code. None if it has a syntax error, which the compiler explains better.
    pub fn of(code: &str) -> Option<Self> {
        let parser =
            |input: ParseStream<'_>| Ok((input.call(Attribute::parse_inner)?, input.call(Block::parse_within)?));
        let (attributes, parsed) = parser.parse_str(code).ok()?;
        let attributes: Vec<Span> = attributes.iter().map(|attribute| attribute.span().byte_range()).collect();
        let mut at = attributes.last().map_or(0, |span| span.end);
        let mut list: Vec<Statement> = vec![];
        for parsed in parsed {
            let span = parsed.span().byte_range();
            let end = span.end + comment_after(&code[span.end..]);
            list.push(Statement { parsed, whole: at.min(span.start)..end, span });
            at = end;
        }
        Some(Self { attributes, list, rest: at..code.len() })
    }
}

/// The length of a comment at the end of the line, or 0 if there is none.
fn comment_after(code: &str) -> usize {
    let line = code.split('\n').next().unwrap_or_default();
    if line.trim_start().starts_with("//") { line.trim_end().len() } else { 0 }
}

impl Statement {
    /// Whether this is an expression without a semicolon. As the last statement, it is the value of the cell.
    pub fn is_value(&self) -> bool {
        match &self.parsed {
            Stmt::Expr(_, semicolon) => semicolon.is_none(),
            Stmt::Macro(of) => of.semi_token.is_none(),
            _ => false,
        }
    }
}

/// The name of an item, under which cells keep it. None for `impl` blocks, `use` declarations and the like.
pub fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Splits a `use` declaration into one for each imported name. Returns the name (None for `*` and `_`) and the code of
/// each.
pub fn names_of_use(item: &syn::ItemUse) -> Vec<(Option<String>, String)> {
    let mut found = vec![];
    let root = if item.leading_colon.is_some() { "::" } else { "" };
    let visibility = &item.vis;
    let visibility = match quote::quote!(#visibility).to_string().replace(' ', "") {
        text if text.is_empty() => text,
        text => text + " ",
    };
    walk(&item.tree, root, &format!("{visibility}use "), &mut found);
    found
}

/// Adds the imports of a part of a `use` declaration to `found`. `path` is what precedes it, and `head` is `use ` with
/// the visibility.
fn walk(tree: &UseTree, path: &str, head: &str, found: &mut Vec<(Option<String>, String)>) {
    let named = |name: String, code: String| (Some(name).filter(|name| name != "_"), format!("{head}{code};"));
    // `a::{self}` imports `a`.
    let whole = path.strip_suffix("::").unwrap_or(path);
    let last = whole.rsplit("::").next().unwrap_or(whole);
    match tree {
        UseTree::Path(of) => walk(&of.tree, &format!("{path}{}::", of.ident), head, found),
        UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, path, head, found)),
        UseTree::Glob(_) => found.push((None, format!("{head}{path}*;"))),
        UseTree::Name(of) if of.ident == "self" => found.push(named(last.into(), whole.into())),
        UseTree::Name(of) => found.push(named(of.ident.to_string(), format!("{path}{}", of.ident))),
        UseTree::Rename(of) => {
            let what = if of.ident == "self" { whole.into() } else { format!("{path}{}", of.ident) };
            found.push(named(of.rename.to_string(), format!("{what} as {}", of.rename)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_belong_to_the_statement_that_they_describe() {
        let code = "#![allow(unused)]\n// about x\nlet x = 1; // one\n\n/// doc\nfn f() {}\n// value\nx + 1\n// end";
        let found = Statements::of(code).unwrap();
        let whole: Vec<&str> = found.list.iter().map(|statement| code[statement.whole.clone()].trim()).collect();
        assert_eq!(whole, ["// about x\nlet x = 1; // one", "/// doc\nfn f() {}", "// value\nx + 1"]);
        assert_eq!(&code[found.list[0].span.clone()], "let x = 1;");
        assert_eq!(found.list.iter().map(Statement::is_value).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!((code[found.rest].trim(), &code[found.attributes[0].clone()]), ("// end", "#![allow(unused)]"));
        assert!(Statements::of("let x = ;").is_none());
    }

    #[test]
    fn spans_count_bytes() {
        let code = "let ä = \"äöü\"; // ß\nlet y = 2;";
        let found = Statements::of(code).unwrap();
        assert_eq!(&code[found.list[1].span.clone()], "let y = 2;");
        assert_eq!(&code[found.list[0].whole.clone()], "let ä = \"äöü\"; // ß");
    }

    #[test]
    fn a_use_declaration_is_split_into_its_imports() {
        let item: syn::ItemUse =
            syn::parse_str("pub use ::a::{self, b::{C, D as E}, f::*, G as _, h::{self as i}};").unwrap();
        let expected = [
            (Some("a"), "pub use ::a;"),
            (Some("C"), "pub use ::a::b::C;"),
            (Some("E"), "pub use ::a::b::D as E;"),
            (None, "pub use ::a::f::*;"),
            (None, "pub use ::a::G as _;"),
            (Some("i"), "pub use ::a::h as i;"),
        ];
        let found = names_of_use(&item);
        let found: Vec<_> = found.iter().map(|(name, code)| (name.as_deref(), code.as_str())).collect();
        assert_eq!(found, expected);
    }
}
