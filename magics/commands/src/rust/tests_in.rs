//! Finds the tests in a cell and edits the code so that they can be called. A cell is not compiled for testing, so the
//! compiler would remove everything with `#[test]` or `#[cfg(test)]`. These attributes become `#[cfg_attr(test, …)]`,
//! which has no effect in a cell, and the same effect in a crate that is compiled for testing (`%export`).

use super::Statements;
use crate::error::{ErrorName, Result, Source, Span};
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemFn, Meta, Stmt, Visibility};

/// A function with `#[test]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TestFunction {
    /// The path from the root of the crate: `tests::adds`.
    pub path: String,
    /// Whether it has `#[ignore]`.
    pub ignored: bool,
    /// Whether it has `#[should_panic]`, and the text that the message of the panic must contain, if there is one.
    pub should_panic: Option<Option<String>>,
    /// Its lines in the code, counted from 0.
    pub lines: std::ops::Range<usize>,
}

/// The tests in a span, and its code edited so that they can be called. Code with a syntax error has no tests and is
/// not edited, because the compiler explains the error better. Tests that cannot be run here are an error.
pub fn tests_in(source: &Source, span: Span) -> Result<(Vec<TestFunction>, String)> {
    let code = &source.text()[span.clone()];
    // Commands of evcxr are not Rust. Spaces stand for them, so that spans stay the same.
    let is_command = |line: &str| line.trim_start().starts_with(':') && !line.trim_start().starts_with("::");
    let blank = |line: &str| if is_command(line) { " ".repeat(line.len()) } else { line.to_string() };
    let rust = code.split('\n').map(blank).collect::<Vec<_>>().join("\n");
    let Some(statements) = Statements::of(&rust) else { return Ok((vec![], code.into())) };
    let mut found = TestFinder { source, code, base: span.start, tests: vec![], edits: vec![] };
    for statement in &statements.list {
        if let Stmt::Item(item) = &statement.parsed {
            found.item(item, "")?;
        }
    }
    // Another statement will follow the last expression.
    if let Some(last) = statements.list.last().filter(|last| last.is_value()) {
        found.edits.push((last.span.end..last.span.end, ";".into()));
    }
    Ok(found.edited())
}

/// Collects the tests, and the edits that make them callable.
struct TestFinder<'a> {
    source: &'a Source,
    code: &'a str,
    /// The start of the code in the source.
    base: usize,
    tests: Vec<TestFunction>,
    /// Spans of the code and what replaces them.
    edits: Vec<(Span, String)>,
}

impl TestFinder<'_> {
    fn item(&mut self, item: &Item, path: &str) -> Result<()> {
        for attribute in attributes(item).iter().filter(|attribute| text_of(attribute) == "cfg(test)") {
            self.make_conditional(attribute);
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
                    self.make_visible(&module.vis, module.mod_token.span().byte_range().start);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn function(&mut self, function: &ItemFn, path: &str) -> Result<()> {
        let (name, attributes) = (&function.sig.ident, &function.attrs);
        let is_test = |attribute: &&Attribute| ["test", "cfg_attr(test,test)"].contains(&text_of(attribute).as_str());
        let other = attributes.iter().find(|attribute| {
            let path = attribute.path();
            path.segments.len() > 1 && path.segments.last().is_some_and(|last| last.ident == "test")
        });
        if let Some(other) = other {
            let message = format!("`{}` is a test of another framework", text_of(other));
            let help = "write `#[test] fn …` and start the runtime in the test".to_string();
            return Err(self.source.error(
                ErrorName::SyntaxError,
                self.in_source(other.span().byte_range()),
                message,
                Some(help),
            ));
        }
        let Some(test) = attributes.iter().find(is_test) else { return Ok(()) };
        let signature = &function.sig;
        let generic =
            signature.generics.type_params().next().is_some() || signature.generics.const_params().next().is_some();
        if !signature.inputs.is_empty() || signature.asyncness.is_some() || generic {
            let message = format!("the test `{name}` must not have parameters, and must not be generic or async");
            return Err(self.source.error(
                ErrorName::SyntaxError,
                self.in_source(signature.span().byte_range()),
                message,
                None,
            ));
        }
        if text_of(test) == "test" {
            self.make_conditional(test);
        }
        if !path.is_empty() {
            // The signature begins with `const`, `unsafe` or `fn`.
            self.make_visible(&function.vis, signature.span().byte_range().start);
        }
        let span = function.span().byte_range();
        let line = |at: usize| self.code[..at].matches('\n').count();
        self.tests.push(TestFunction {
            path: format!("{path}{name}"),
            ignored: attributes.iter().any(|attribute| attribute.path().is_ident("ignore")),
            should_panic: attributes.iter().find(|a| a.path().is_ident("should_panic")).map(expected_text),
            lines: line(span.start)..line(span.end) + 1,
        });
        Ok(())
    }

    /// The span in the source of a span in the code.
    fn in_source(&self, span: Span) -> Span {
        self.base + span.start..self.base + span.end
    }

    /// Replaces an attribute by one that has an effect only if the crate is compiled for testing: `#[test]` becomes
    /// `#[cfg_attr(test, test)]`.
    fn make_conditional(&mut self, attribute: &Attribute) {
        let meta = attribute.meta.span().byte_range();
        self.edits.push((meta.start..meta.start, "cfg_attr(test, ".into()));
        self.edits.push((meta.end..meta.end, ")".into()));
    }

    /// Makes an item of a module visible in the whole crate, since the test is called from the root.
    fn make_visible(&mut self, visibility: &Visibility, start: usize) {
        match visibility {
            Visibility::Inherited => self.edits.push((start..start, "pub(crate) ".into())),
            Visibility::Restricted(of) => self.edits.push((of.span().byte_range(), "pub(crate)".into())),
            Visibility::Public(_) => {}
        }
    }

    /// The tests, and the code with all edits.
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

/// The text of an attribute without spaces.
fn text_of(attribute: &Attribute) -> String {
    let meta = &attribute.meta;
    quote::quote!(#meta).to_string().replace(' ', "")
}

/// The text that `should_panic` expects in the message: `= "…"` or `(expected = "…")`.
fn expected_text(attribute: &Attribute) -> Option<String> {
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
                    #[should_panic(expected = \"bad\")]\n    fn b() {}\n    mod c {\n        \
                    #[test] #[ignore]\n        \
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
        let wanted = "fn f() {}\n#[cfg_attr(test, test)]\nfn a() {}\n#[cfg_attr(test, cfg(test))]\nmod tests {\n    \
        use super::*;\n    \
                      #[cfg_attr(test, test)]\n    #[should_panic(expected = \"bad\")]\n    pub(crate) fn b() {}\n    \
                      pub(crate) mod c {\n        #[cfg_attr(test, test)] #[ignore]\n        \
                      pub(crate) fn d() {}\n    }\n}\nf();";
        assert_eq!(edited, wanted);
        // Code that was edited once is not edited again.
        let (again, same) = of(&edited).unwrap();
        assert_eq!((again.len(), same.as_str()), (3, wanted));
    }

    #[test]
    fn tests_that_cannot_be_called_are_errors() {
        for code in ["#[test]\nfn a(x: i32) {}", "#[test]\nasync fn a() {}", "#[tokio::test]\nasync fn a() {}"] {
            let error = of(code).unwrap_err();
            assert_eq!(error.name.as_str(), "SyntaxError", "{code}");
        }
    }

    #[test]
    fn syntax_errors_are_left_to_the_compiler_and_commands_are_kept() {
        assert_eq!(of("fn f( {").unwrap(), (vec![], "fn f( {".into()));
        let (tests, edited) = of(":dep rand\n#[test]\nfn a() {}\n").unwrap();
        assert_eq!((tests.len(), edited.as_str()), (1, ":dep rand\n#[cfg_attr(test, test)]\nfn a() {}\n"));
    }
}
