//! `%%capture [NAME]`: runs Rust without showing its output, and can keep the text in a variable.

use crate::error::{ErrorName, MagicError, Result, Span};
use crate::host::session::{Ran, Session};
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::rust::{SourceMap, no_magic_in};
use crate::syntax::{Arguments, OptionSpec, Word};
use std::io::Write;

/// The source of the type `Captured`. The variable with the captured output has this type.
const CAPTURED: &str = include_str!("../rust/generated/captured.rs");

pub const MAGIC: Magic = Magic {
    name: "capture",
    line: false,
    body: Some(Body::Rust),
    usage: "%%capture [NAME] [--no-stdout] [--no-stderr] [--no-display]\n…Rust…",
    example: "%%capture text\nprintln!(\"kept, not shown\");",
    summary: "Run Rust without showing its output; the output can be kept in a variable",
    help: "With a name, the output is kept in a variable of that name: `NAME.stdout`, `NAME.stderr`, and \
        `NAME.displays` (the number of values and displays). `NAME.show()` prints the text. The options name what is \
        not captured; it is shown when the code has ended. If the code fails, the text that it printed is shown with \
        the error.",
    options: &[
        OptionSpec { name: "no-stdout", value: None, help: "show standard output" },
        OptionSpec { name: "no-stderr", value: None, help: "show standard error" },
        OptionSpec { name: "no-display", value: None, help: "show displays and the value" },
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
        let message = format!("`{}` cannot be the name of a variable", word.text);
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
            let message = "your item `Captured` has the name of the type that `%%capture` defines";
            let help = Some(
                "remove it with `%remove Captured`, or run `%%capture` without a name, which defines nothing"
                    .to_string(),
            );
            return Err(self.arguments.source.error(ErrorName::NameTaken, word.span.clone(), message, help));
        }
        let (source, first_line) = (&self.arguments.source, self.arguments.source.first_line());
        let source_map = SourceMap { text: source.text(), first_line, lines_above: 0 };
        let ran = session.run(&source.text()[self.body.clone()], first_line, true);
        let mut ran = ran.map_err(|error| source_map.restore(error))?;
        self.show_uncaptured(&mut ran, output);
        if let Some(name) = &self.name {
            define(session, &name.text, &ran, ours)?;
        }
        Ok(())
    }
}

impl Capture {
    /// Shows the parts of the output that the options exclude, and removes them from `ran`.
    fn show_uncaptured(&self, ran: &mut Ran, output: &dyn Output) {
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

/// Whether the source of an item `Captured` is that of the type that `%%capture` defines.
fn is_ours(code: &str) -> bool {
    ["stdout: String", "stderr: String", "displays: usize"].iter().all(|field| code.contains(field))
}

/// Defines the variable. The text is passed through files, because the compiler is slow with long string literals.
fn define(session: &dyn Session, name: &str, ran: &Ran, has_type: bool) -> Result<()> {
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    let not_kept = |error: std::io::Error| {
        MagicError::advising(
            ErrorName::FileError,
            format!("the captured output cannot be kept: {error}"),
            "check whether there is space for temporary files",
        )
    };
    let (stdout, stderr) = (file(&ran.stdout).map_err(not_kept)?, file(&ran.stderr).map_err(not_kept)?);
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
    fn without_a_name_nothing_is_shown_or_defined() {
        let fake = FakeHost::answering([Ok(ran())]);
        run("%%capture\nf();\n3", &fake).unwrap();
        assert_eq!(fake.runs(), [("\nf();\n3".to_string(), 0, true)]);
        assert!(fake.shown().is_empty());
    }

    #[test]
    fn excluded_output_is_shown() {
        let fake = FakeHost::answering([Ok(ran())]);
        run("%%capture --no-display --no-stderr\nf()", &fake).unwrap();
        let displays = [Shown::Display(plain("a")), Shown::Display(plain("3"))];
        assert_eq!(fake.shown(), [&[Shown::Err("err".into())][..], &displays].concat());
    }

    #[test]
    fn the_type_is_defined_once_and_replaces_none_of_the_user() {
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
    fn errors_of_the_code_are_returned() {
        let fake = FakeHost::answering([Err(MagicError::new(ErrorName::Panic, "no", None))]);
        assert_eq!(run("%%capture kept\nf()", &fake).unwrap_err().name.as_str(), "Panic");
        assert_eq!(fake.runs().len(), 1);
    }

    #[test]
    fn the_generated_variable_contains_the_text() {
        let after = "assert_eq!(kept.stdout, \"out \\\"# ä\\r\\n\"); \
                     assert_eq!((kept.stderr.as_str(), kept.displays), (\"err\", 2));";
        let fake = FakeHost::running(Cells { items: "", before: "", after });
        define(&fake, "kept", &ran(), false).unwrap();
    }
}
