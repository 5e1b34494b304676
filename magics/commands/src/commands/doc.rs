//! `%doc PATH`, `?path` and `path?` show the documentation of a Rust name in the pager, and `path??` shows its source.

use crate::error::{ErrorName, Result, Source, Span, nearest};
use crate::host::session::Session;
use crate::host::{Bundle, Interrupt, Output, session};
use crate::magic::{Catalogue, Command, Context, Export, Invocation, Magic, Subject, is_rust_path};
use crate::rust::code_bundle;
use tunebook_prebuilt::Sources;

/// The crate whose prelude a `%%workload` has in scope.
const TRAINING: &str = "tunebook_training";

pub const MAGIC: Magic = Magic {
    name: "doc",
    line: true,
    body: None,
    usage: "%doc PATH\n?PATH\nPATH?\nPATH??",
    example: "%doc Vec::push",
    summary: "Show the documentation of a Rust name: `Vec::push`, `rand`, your own function",
    help: "The documentation is shown in the pager. `PATH?` works only if it is the only line of its cell, because \
        elsewhere it is Rust; `?PATH` works everywhere. The names of a `%%workload` are known too: `?Table`, \
        `?Net::linear`. `PATH??` shows the source of an item of your cells. `%NAME?` shows the help of a magic.",
    options: &[],
    subject: Subject::Name,
    export: Export::Comment,
    parse,
};

struct Document {
    source: Source,
    span: Span,
    path: String,
    /// Whether the source is shown, if the name is an item of the user.
    code: bool,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let word = arguments.required(0, "the name")?;
    arguments.at_most(1)?;
    document(&arguments.source, word.span.clone(), &word.text, false)
}

/// The command that answers a question with the help of a magic or the documentation of a Rust name. `line` is the span
/// of the question.
pub fn answer(catalogue: Catalogue, source: &Source, line: Span) -> Result<Box<dyn Command>> {
    let written = &source.text()[line.clone()];
    let asked = written.trim_matches('?').trim();
    let name = asked.trim_start_matches('%');
    match catalogue.find(name) {
        Some(magic) => Ok(Box::new(Help(magic))),
        None if asked.starts_with('%') || asked.is_empty() => Err(catalogue.unknown(source, line, name)),
        None => document(source, line, asked, written.starts_with("??") || written.ends_with("??")),
    }
}

/// Shows the help of a magic.
struct Help(&'static Magic);

impl Command for Help {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        output.page(self.0.help_bundle());
        Ok(())
    }
}

/// The command that shows the documentation of a path, or its source if `code`.
fn document(source: &Source, span: Span, path: &str, code: bool) -> Result<Box<dyn Command>> {
    if !is_rust_path(path) {
        let message = format!("`{path}` is not a Rust name");
        let help = "write a name or a path, like `Vec::push`".to_string();
        return Err(source.syntax_error(span, message, Some(help)));
    }
    Ok(Box::new(Document { source: source.clone(), span, path: path.into(), code }))
}

impl Command for Document {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
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
        if let Some(documentation) = of_workloads(context, session, &self.path)? {
            output.page(documentation);
            return Ok(());
        }
        let names = items.iter().map(|item| item.name.as_str()).chain(variables.iter().map(|v| v.name.as_str()));
        let names: Vec<&str> = names.chain(context.catalogue.names()).collect();
        let help = nearest(&self.path, names.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let message = format!("there is no documentation of `{}`", self.path);
        Err(self.source.error(ErrorName::UnknownName, self.span.clone(), message, help))
    }
}

/// The documentation of a name that a `%%workload` has in scope, such as `Table` or `Net::linear`, or of a path into
/// the crates of tensors. They are loaded first, which takes seconds.
fn of_workloads(context: &Context, session: &dyn Session, path: &str) -> Result<Option<Bundle>> {
    let first = path.trim_start_matches(':').split([':', '.', '!']).next().unwrap_or_default();
    let path = if [TRAINING, "tch", "tunebook"].contains(&first) && path.contains("::") {
        path.to_string()
    } else {
        let sources = Sources::open(&context.settings.cache)?;
        let prelude = std::fs::read_to_string(sources.folder("magics/training/src/prelude.rs")).unwrap_or_default();
        let mut lines = prelude.lines().filter(|line| line.starts_with("pub use"));
        let is_word = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == first);
        if !lines.any(is_word) {
            return Ok(None);
        }
        format!("{TRAINING}::prelude::{path}")
    };
    session.run(&format!("let _ = {TRAINING}::data::scaled;"), 0, true)?;
    session.documentation(&path)
}

#[cfg(test)]
mod tests {
    use crate::host::plain;
    use crate::testing::{FakeHost, Shown, run};

    #[test]
    fn documentation_of_rust_names_is_shown() {
        for text in ["%doc Vec::push", "?Vec::push", "Vec::push?", "? Vec::push", "%doc Vec::push  "] {
            let fake = FakeHost::default().with_documentation("Vec::push", "Appends.");
            run(text, &fake).unwrap();
            assert_eq!(fake.shown(), [Shown::Page(plain("Appends."))], "{text}");
        }
    }

    #[test]
    fn magics_precede_items_and_two_question_marks_show_the_source() {
        let fake = FakeHost::default().with_documentation("area", "fn area()");
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
    fn an_unknown_name_is_an_error_that_suggests_a_similar_one() {
        let fake = FakeHost::default().with_items(&[("area", "fn area() {}")]);
        let error = run("?aera", &fake).unwrap_err();
        assert!(
            error.name.as_str() == "UnknownName" && error.traceback().join("\n").contains("did you mean `area`"),
            "{error:?}"
        );
        assert_eq!(run("%aera?", &fake).unwrap_err().name.as_str(), "UnknownMagic");
        assert_eq!(run("%doc 1+1", &fake).unwrap_err().name.as_str(), "SyntaxError");
    }
}
