//! `%doc PATH`, `?path`, `path?`: documentation of a Rust name in the pager; `path??`: its source.

use crate::context::Context;
use crate::error::{Result, suggest};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::registry::{Command, Invocation, Magic, Subject, find};
use crate::rust::{code_bundle, session};
use crate::syntax::{Source, Span};

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "doc",
    line: true,
    cell: false,
    usage: "%doc PATH\n?PATH\nPATH?\nPATH??",
    summary: "Documentation of a Rust name: `Vec::push`, `rand`, a function of your own",
    help: "It stands in the pager. `PATH?` asks where it is the only line of its cell (elsewhere it is Rust), `?PATH` everywhere. `PATH??` \
        shows the source of an item of your own cells. `%NAME?` is help for a magic.",
    options: &[],
    completes: Subject::Name,
    parse,
};

struct Document {
    source: Source,
    span: Span,
    path: String,
    /// The source is wanted, where there is one.
    code: bool,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let word = arguments.required(0, "the name")?;
    arguments.at_most(1)?;
    document(&arguments.source, word.span.clone(), &word.text, false)
}

/// What shows the documentation of a path.
pub fn document(source: &Source, span: Span, path: &str, code: bool) -> Result<Box<dyn Command>> {
    if !is_path(path) {
        let message = format!("`{path}` is no name of Rust");
        let help = "ask for a name or a path, like `Vec::push`".to_string();
        return Err(source.syntax_error(span, message, Some(help)));
    }
    Ok(Box::new(Document { source: source.clone(), span, path: path.into(), code }))
}

/// Whether a line asks for help: for a magic, or for a name of Rust. `alone`: it is the only line of its cell; elsewhere
/// `name?` is Rust that hands an error on.
pub fn asks(line: &str, alone: bool) -> bool {
    let asked = line.trim_matches('?').trim();
    match (line.starts_with('?'), line.ends_with('?')) {
        (true, _) => is_path(asked.trim_start_matches('%')),
        (false, true) => find(asked.trim_start_matches('%')).is_some() || (alone && is_path(asked)),
        _ => false,
    }
}

/// `name`, `a::b`, `value.method`, `name!`.
fn is_path(text: &str) -> bool {
    let text = text.strip_suffix('!').unwrap_or(text).trim_start_matches("::");
    let is_name = |name: &str| {
        let name = name.strip_prefix("r#").unwrap_or(name);
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split("::").flat_map(|part| part.split('.')).all(is_name)
}

impl Command for Document {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session(output)?;
        let items = session.items()?;
        let item = items.iter().find(|item| item.name == self.path);
        if let Some(item) = item.filter(|_| self.code) {
            output.page(code_bundle(item.code.trim()));
            return Ok(());
        }
        if let Some(documentation) = session.documentation(&self.path)? {
            output.page(documentation);
            return Ok(());
        }
        let variables = session.variables()?;
        if let Some(variable) = variables.iter().find(|variable| variable.name == self.path) {
            output.page(code_bundle(&format!("{}: {}", variable.name, variable.kind)));
            return Ok(());
        }
        if let Some(item) = item {
            output.page(code_bundle(item.code.trim()));
            return Ok(());
        }
        let names = items.iter().map(|item| item.name.as_str()).chain(variables.iter().map(|v| v.name.as_str()));
        let names: Vec<&str> = names.chain(crate::registry::MAGICS.iter().map(|magic| magic.name)).collect();
        let help = crate::error::nearest(&self.path, names.iter().copied()).and_then(|_| suggest(&self.path, names));
        let message = format!("nothing is known of `{}`", self.path);
        Err(self.source.error("UnknownName", self.span.clone(), message, help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::plain;
    use crate::rust::fake::{Fake, Shown, run};

    #[test]
    fn names_of_rust_are_looked_up() {
        for text in ["%doc Vec::push", "?Vec::push", "Vec::push?", "? Vec::push", "%doc Vec::push  "] {
            let fake = Fake { documented: vec![("Vec::push", "Appends.")], ..Fake::default() };
            run(text, &fake).unwrap();
            assert_eq!(fake.shown(), [Shown::Page(plain("Appends."))], "{text}");
        }
    }

    #[test]
    fn magics_go_first_and_the_source_of_items_can_be_seen() {
        let fake = Fake { documented: vec![("area", "fn area()")], ..Fake::default() };
        let fake = fake.with_items(&[("area", "fn area() {}\n")]).with_variables(&[("x", "Vec<i32>")]);
        for text in ["time?", "%time?", "area?", "area??", "x?"] {
            run(text, &fake).unwrap();
        }
        let shown = fake.shown();
        let text = |i: usize| match &shown[i] {
            Shown::Page(bundle) => bundle["text/plain"].as_str().unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(text(0).starts_with("Run Rust once") && text(0) == text(1), "{}", text(0));
        assert_eq!([text(2), text(3), text(4)], ["fn area()", "fn area() {}", "x: Vec<i32>"]);
    }

    #[test]
    fn what_is_not_known_is_an_error_with_what_is_near() {
        let fake = Fake::default().with_items(&[("area", "fn area() {}")]);
        let error = run("?aera", &fake).unwrap_err();
        assert!(error.name == "UnknownName" && error.traceback.join("\n").contains("did you mean `area`"), "{error:?}");
        assert_eq!(run("%aera?", &fake).unwrap_err().name, "UnknownMagic");
        assert_eq!(run("%doc 1+1", &fake).unwrap_err().name, "SyntaxError");
    }

    #[test]
    fn questions_are_told_from_rust() {
        for line in ["?x", "??Vec::push", "%time?", "time?", "?println!"] {
            assert!(asks(line, false), "{line}");
        }
        for line in ["x?", "a::b?", "v.push?", "println!??"] {
            assert!(asks(line, true) && !asks(line, false), "{line}");
        }
        for line in ["f()?", "x", "let y = x?", "x?;", "?", "1?"] {
            assert!(!asks(line, true), "{line}");
        }
    }
}
