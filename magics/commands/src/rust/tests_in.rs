//! The tests of some Rust, made callable: a cell is not compiled as a test, so `#[test]` and `#[cfg(test)]` would leave
//! nothing of them. They become `#[cfg_attr(test, …)]`, which the compiler passes over here and which says the same in a
//! crate that is tested.

use super::Statements;
use crate::error::{ErrorName, Result, Source, Span};
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemFn, Meta, Stmt, Visibility};

/// A test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestFunction {
    /// Its path from the root of the crate: `tests::adds`.
    pub path: String,
    /// `#[ignore]`.
    pub ignored: bool,
    /// `#[should_panic]`; with the text that the panic must contain, where one is expected.
    pub should_panic: Option<Option<String>>,
    /// The lines of the code that it takes, from 0.
    pub lines: std::ops::Range<usize>,
}

/// The tests of `span` in a source, and its code with the tests made callable. What cannot be parsed has none: the compiler
/// explains it better.
pub fn tests_in(source: &Source, span: Span) -> Result<(Vec<TestFunction>, String)> {
    let code = &source.text()[span.clone()];
    // Commands of evcxr are no Rust.
    let is_command = |line: &str| line.trim_start().starts_with(':') && !line.trim_start().starts_with("::");
    let blank = |line: &str| if is_command(line) { " ".repeat(line.len()) } else { line.to_string() };
    let rust = code.split('\n').map(blank).collect::<Vec<_>>().join("\n");
    let Some(statements) = Statements::of(&rust) else { return Ok((vec![], code.into())) };
    let mut found = Found { source, code, base: span.start, tests: vec![], edits: vec![] };
    for statement in &statements.list {
        if let Stmt::Item(item) = &statement.parsed {
            found.item(item, "")?;
        }
    }
    // What follows is a statement of its own.
    if let Some(last) = statements.list.last().filter(|last| last.is_value()) {
        found.edits.push((last.span.end..last.span.end, ";".into()));
    }
    Ok(found.edited())
}

struct Found<'a> {
    source: &'a Source,
    code: &'a str,
    /// Where the code begins in the source.
    base: usize,
    tests: Vec<TestFunction>,
    edits: Vec<(Span, String)>,
}

impl Found<'_> {
    fn item(&mut self, item: &Item, path: &str) -> Result<()> {
        for attribute in attributes(item).iter().filter(|attribute| said(attribute) == "cfg(test)") {
            self.hide(attribute);
        }
        match item {
            Item::Fn(function) => self.function(function, path),
            Item::Mod(module) => {
                let Some((_, items)) = &module.content else { return Ok(()) };
                let before = self.tests.len();
                for item in items {
                    self.item(item, &format!("{path}{}::", module.ident))?;
                }
                if self.tests.len() > before && !path.is_empty() {
                    self.publish(&module.vis, module.mod_token.span().byte_range().start);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn function(&mut self, function: &ItemFn, path: &str) -> Result<()> {
        let (name, attributes) = (&function.sig.ident, &function.attrs);
        let is_test = |attribute: &&Attribute| ["test", "cfg_attr(test,test)"].contains(&said(attribute).as_str());
        let other = attributes.iter().find(|attribute| {
            let path = attribute.path();
            path.segments.len() > 1 && path.segments.last().is_some_and(|last| last.ident == "test")
        });
        if let Some(other) = other {
            let message = format!("`{}` is a test of another framework", said(other));
            let help = "write `#[test] fn …`, which makes what it needs itself".to_string();
            return Err(self.source.error(
                ErrorName::SyntaxError,
                self.place(other.span().byte_range()),
                message,
                Some(help),
            ));
        }
        let Some(test) = attributes.iter().find(is_test) else { return Ok(()) };
        let signature = &function.sig;
        let generic =
            signature.generics.type_params().next().is_some() || signature.generics.const_params().next().is_some();
        if !signature.inputs.is_empty() || signature.asyncness.is_some() || generic {
            let message = format!("the test `{name}` must take nothing, not be generic and not be async");
            return Err(self.source.error(
                ErrorName::SyntaxError,
                self.place(signature.span().byte_range()),
                message,
                None,
            ));
        }
        if said(test) == "test" {
            self.hide(test);
        }
        if !path.is_empty() {
            // What comes first of `const unsafe fn name`.
            self.publish(&function.vis, signature.span().byte_range().start);
        }
        let span = function.span().byte_range();
        let line = |at: usize| self.code[..at].matches('\n').count();
        self.tests.push(TestFunction {
            path: format!("{path}{name}"),
            ignored: attributes.iter().any(|attribute| attribute.path().is_ident("ignore")),
            should_panic: attributes.iter().find(|a| a.path().is_ident("should_panic")).map(expected),
            lines: line(span.start)..line(span.end) + 1,
        });
        Ok(())
    }

    /// Where something of the code stands in the source.
    fn place(&self, span: Span) -> Span {
        self.base + span.start..self.base + span.end
    }

    /// `#[test]` becomes `#[cfg_attr(test, test)]`.
    fn hide(&mut self, attribute: &Attribute) {
        let meta = attribute.meta.span().byte_range();
        self.edits.push((meta.start..meta.start, "cfg_attr(test, ".into()));
        self.edits.push((meta.end..meta.end, ")".into()));
    }

    /// What stands in a module must be seen from outside of it.
    fn publish(&mut self, visibility: &Visibility, start: usize) {
        match visibility {
            Visibility::Inherited => self.edits.push((start..start, "pub(crate) ".into())),
            Visibility::Restricted(of) => self.edits.push((of.span().byte_range(), "pub(crate)".into())),
            Visibility::Public(_) => {}
        }
    }

    fn edited(mut self) -> (Vec<TestFunction>, String) {
        self.edits.sort_by_key(|(span, _)| span.start);
        let mut text = String::new();
        let mut from = 0;
        for (span, new) in self.edits {
            text += &self.code[from..span.start];
            text += &new;
            from = span.end;
        }
        text += &self.code[from..];
        (self.tests, text)
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// An attribute's text without spaces.
fn said(attribute: &Attribute) -> String {
    let meta = &attribute.meta;
    quote::quote!(#meta).to_string().replace(' ', "")
}

/// The text that a panic must contain: `= "…"` or `(expected = "…")`.
fn expected(attribute: &Attribute) -> Option<String> {
    let text = |value: &syn::Expr| match value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    };
    match &attribute.meta {
        Meta::NameValue(pair) => text(&pair.value),
        Meta::List(list) => list.parse_args::<syn::MetaNameValue>().ok().and_then(|pair| text(&pair.value)),
        Meta::Path(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str) -> Result<(Vec<TestFunction>, String)> {
        tests_in(&Source::new(code, 0), 0..code.len())
    }

    #[test]
    fn tests_are_found_and_made_callable() {
        let code = "fn f() {}\n#[test]\nfn a() {}\n#[cfg(test)]\nmod tests {\n    use super::*;\n    #[test]\n    \
                    #[should_panic(expected = \"bad\")]\n    fn b() {}\n    mod c {\n        #[test] #[ignore]\n        \
                    pub(super) fn d() {}\n    }\n}\nf()";
        let (tests, edited) = of(code).unwrap();
        let found: Vec<_> =
            tests.iter().map(|t| (t.path.as_str(), t.ignored, t.should_panic.clone(), t.lines.clone())).collect();
        let expected = [
            ("a", false, None, 1..3),
            ("tests::b", false, Some(Some("bad".to_string())), 6..9),
            ("tests::c::d", true, None, 10..12),
        ];
        assert_eq!(found, expected);
        let wanted = "fn f() {}\n#[cfg_attr(test, test)]\nfn a() {}\n#[cfg_attr(test, cfg(test))]\nmod tests {\n    use super::*;\n    \
                      #[cfg_attr(test, test)]\n    #[should_panic(expected = \"bad\")]\n    pub(crate) fn b() {}\n    \
                      pub(crate) mod c {\n        #[cfg_attr(test, test)] #[ignore]\n        pub(crate) fn d() {}\n    }\n}\nf();";
        assert_eq!(edited, wanted);
        // What was edited once stays as it is.
        let (again, same) = of(&edited).unwrap();
        assert_eq!((again.len(), same.as_str()), (3, wanted));
    }

    #[test]
    fn what_cannot_be_a_test_is_refused() {
        for code in ["#[test]\nfn a(x: i32) {}", "#[test]\nasync fn a() {}", "#[tokio::test]\nasync fn a() {}"] {
            let error = of(code).unwrap_err();
            assert_eq!(error.name.as_str(), "SyntaxError", "{code}");
        }
    }

    #[test]
    fn what_does_not_parse_is_left_to_the_compiler_and_commands_stay() {
        assert_eq!(of("fn f( {").unwrap(), (vec![], "fn f( {".into()));
        let (tests, edited) = of(":dep rand\n#[test]\nfn a() {}\n").unwrap();
        assert_eq!((tests.len(), edited.as_str()), (1, ":dep rand\n#[cfg_attr(test, test)]\nfn a() {}\n"));
    }
}
