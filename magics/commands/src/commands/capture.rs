//! `%%capture [NAME]`: runs Rust and keeps what it prints and shows.

use crate::error::{ErrorName, MagicError, Result, Span};
use crate::host::session::{Ran, Session};
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::rust::{Written, no_magic_in};
use crate::syntax::{Arguments, OptionSpec, Word};
use std::io::Write;

/// The item that a captured output is a value of.
const CAPTURED: &str = include_str!("../rust/generated/captured.rs");

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "capture",
    line: false,
    body: Some(Body::Rust),
    usage: "%%capture [NAME] [--no-stdout] [--no-stderr] [--no-display]\n…Rust…",
    summary: "Run Rust and keep what it prints and shows out of the notebook",
    help: "With a name, the text is in a variable of that name: `NAME.stdout`, `NAME.stderr`, `NAME.displays` (how many values and displays \
        there were); `NAME.show()` prints it. The options name what is not captured: it is shown when the code has ended. Where the \
        code fails, what it printed is shown with the error.",
    options: &[
        OptionSpec { name: "no-stdout", value: None, help: "standard output is shown" },
        OptionSpec { name: "no-stderr", value: None, help: "standard error is shown" },
        OptionSpec { name: "no-display", value: None, help: "displays and the value are shown" },
    ],
    subject: Subject::None,
    export: Export::Rust,
    parse,
};

struct Capture {
    arguments: Arguments,
    name: Option<Word>,
    body: Span,
}

fn parse(Invocation { arguments, body, catalogue }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(1)?;
    let name = arguments.positional.first().cloned();
    if let Some(word) = name.as_ref().filter(|word| syn::parse_str::<syn::Ident>(&word.text).is_err()) {
        let message = format!("`{}` is no name of a variable", word.text);
        return Err(arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, None));
    }
    let body = body.unwrap_or_default();
    no_magic_in(catalogue, &arguments.source, body.clone())?;
    Ok(Box::new(Capture { arguments, name, body }))
}

impl Command for Capture {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        let known = session.items()?.into_iter().find(|item| item.name == "Captured");
        let (defined, ours) = (known.is_some(), known.is_some_and(|item| is_ours(&item.code)));
        if let Some(word) = self.name.as_ref().filter(|_| defined && !ours) {
            let message = "an item `Captured` of your own is in the way of the type that `%%capture` defines";
            let help = Some("`%remove Captured` forgets it; without a name nothing is defined".to_string());
            return Err(self.arguments.source.error(ErrorName::NameTaken, word.span.clone(), message, help));
        }
        let (source, first_line) = (&self.arguments.source, self.arguments.source.first_line());
        let written = Written { text: source.text(), first_line, above: 0 };
        let ran = session.run(&source.text()[self.body.clone()], first_line, true);
        let mut ran = ran.map_err(|error| written.restore(error))?;
        self.show_the_rest(&mut ran, output);
        if let Some(name) = &self.name {
            define(session, &name.text, &ran, ours)?;
        }
        Ok(())
    }
}

impl Capture {
    /// Takes what is not to be captured out of it and shows it.
    fn show_the_rest(&self, ran: &mut Ran, output: &dyn Output) {
        if self.arguments.has("no-stdout") {
            output.print(Stream::Stdout, &std::mem::take(&mut ran.stdout));
        }
        if self.arguments.has("no-stderr") {
            output.print(Stream::Stderr, &std::mem::take(&mut ran.stderr));
        }
        if self.arguments.has("no-display") {
            for bundle in ran.displays.drain(..).chain(ran.value.take()) {
                output.display(bundle, None);
            }
        }
    }
}

fn is_ours(code: &str) -> bool {
    ["stdout: String", "stderr: String", "displays: usize"].iter().all(|field| code.contains(field))
}

/// Defines the variable. The text goes through files: as a literal, the compiler would have to read it.
fn define(session: &dyn Session, name: &str, ran: &Ran, has_type: bool) -> Result<()> {
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    let lost = |error: std::io::Error| {
        MagicError::advising(
            ErrorName::FileError,
            format!("what was captured cannot be kept: {error}"),
            "is there space for temporary files?",
        )
    };
    let (stdout, stderr) = (file(&ran.stdout).map_err(lost)?, file(&ran.stderr).map_err(lost)?);
    let read =
        |file: &tempfile::NamedTempFile| format!("::std::fs::read_to_string({:?}).unwrap_or_default()", file.path());
    let displays = ran.displays.len() + usize::from(ran.value.is_some());
    let kind = if has_type { "" } else { CAPTURED };
    let code = format!(
        "{kind}\nlet {name}: Captured = Captured {{ stdout: {}, stderr: {}, displays: {displays} }};",
        read(&stdout),
        read(&stderr)
    );
    session.run(&code, 0, true).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::MagicError;
    use crate::host::plain;
    use crate::testing::{Cells, FakeHost, Shown, run};

    fn ran() -> Ran {
        let (stdout, stderr) = ("out \"# ä\r\n".to_string(), "err".to_string());
        Ran { value: Some(plain("3")), stdout, stderr, displays: vec![plain("a")], ..Ran::default() }
    }

    #[test]
    fn nothing_is_shown_and_without_a_name_nothing_is_defined() {
        let fake = FakeHost::answering([Ok(ran())]);
        run("%%capture\nf();\n3", &fake).unwrap();
        assert_eq!(fake.runs(), [("\nf();\n3".to_string(), 0, true)]);
        assert!(fake.shown().is_empty());
    }

    #[test]
    fn what_is_not_to_be_captured_is_shown() {
        let fake = FakeHost::answering([Ok(ran())]);
        run("%%capture --no-display --no-stderr\nf()", &fake).unwrap();
        let displays = [Shown::Display(plain("a")), Shown::Display(plain("3"))];
        assert_eq!(fake.shown(), [&[Shown::Err("err".into())][..], &displays].concat());
    }

    #[test]
    fn the_type_is_defined_once_and_never_over_one_of_the_user() {
        let items = |code| FakeHost::answering([Ok(ran()), Ok(Ran::default())]).with_items(&[("Captured", code)]);
        for (fake, defines) in [(FakeHost::answering([Ok(ran()), Ok(Ran::default())]), true), (items(CAPTURED), false)]
        {
            run("%%capture kept\nf()", &fake).unwrap();
            let (code, _, quiet) = fake.runs().remove(1);
            assert!(quiet && code.contains("let kept: Captured") && code.contains("displays: 2"), "{code}");
            assert_eq!(code.contains("pub struct Captured"), defines);
        }
        let error = run("%%capture kept\nf()", &items("enum Captured { Yes }")).unwrap_err();
        assert_eq!(error.name.as_str(), "NameTaken");
        assert_eq!(run("%%capture 2x\nf()", &FakeHost::default()).unwrap_err().name.as_str(), "InvalidValue");
    }

    #[test]
    fn errors_pass_through() {
        let fake = FakeHost::answering([Err(MagicError::new(ErrorName::Panic, "no", None))]);
        assert_eq!(run("%%capture kept\nf()", &fake).unwrap_err().name.as_str(), "Panic");
        assert_eq!(fake.runs().len(), 1);
    }

    #[test]
    fn the_generated_variable_holds_the_text() {
        let after = "assert_eq!(kept.stdout, \"out \\\"# ä\\r\\n\"); assert_eq!((kept.stderr.as_str(), kept.displays), (\"err\", 2));";
        let fake = FakeHost::running(Cells { items: "", before: "", after });
        define(&fake, "kept", &ran(), false).unwrap();
    }
}
