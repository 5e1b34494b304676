//! `%%bash`, `%%sh`, `%%script PROGRAM`: the body goes to a program.

use crate::error::{ErrorName, MagicError, Result};
use crate::files;
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::process::Ended;
use crate::shell::{ending, stream};
use crate::syntax::{Arguments, OptionSpec, Word};

const OPTIONS: &[OptionSpec] =
    &[OptionSpec { name: "no-raise-error", value: None, help: "an exit status other than 0 is no error of the cell" }];

/// See the module.
pub const BASH: Magic = Magic {
    name: "bash",
    line: false,
    body: Some(Body::Script),
    usage: "%%bash [--no-raise-error] [ARGUMENTS…]\n…lines of bash…",
    summary: "Run the body with bash",
    help: "Output is shown as it comes. `%%bash -e` ends at the first command that fails; `%%bash -s a b` gives the body `$1` \
        and `$2`. An interrupt ends all that it started.",
    options: OPTIONS,
    subject: Subject::Words,
    export: Export::Comment,
    parse: |invocation| parse(invocation, Some("bash")),
};

/// See the module.
pub const SH: Magic = Magic {
    name: "sh",
    line: false,
    body: Some(Body::Script),
    usage: "%%sh [--no-raise-error] [ARGUMENTS…]\n…lines of sh…",
    summary: "Run the body with sh",
    help: "As `%%bash`, with the system's own shell.",
    options: OPTIONS,
    subject: Subject::Words,
    export: Export::Comment,
    parse: |invocation| parse(invocation, Some("sh")),
};

/// See the module.
pub const SCRIPT: Magic = Magic {
    name: "script",
    line: false,
    body: Some(Body::Script),
    usage: "%%script [--no-raise-error] PROGRAM [ARGUMENTS…]\n…what PROGRAM reads…",
    summary: "Run the body with any program that reads its standard input: python3, perl, node, sqlite3",
    help: "Output is shown as it comes. Words behind PROGRAM are its own, also those with dashes: `%%script python3 -u -`. It \
        runs in the kernel's folder with the environment that `%env` shows. An interrupt ends all that it started.",
    options: OPTIONS,
    subject: Subject::Program,
    export: Export::Comment,
    parse: |invocation| parse(invocation, None),
};

struct Script {
    arguments: Arguments,
    /// Where no word of the magic names it.
    program: Option<&'static str>,
    body: String,
}

fn parse(invocation: Invocation, program: Option<&'static str>) -> Result<Box<dyn Command>> {
    if program.is_none() {
        invocation.arguments.required(0, "the program")?;
    }
    let body = invocation.body_text()?;
    Ok(Box::new(Script { arguments: invocation.arguments, program, body }))
}

impl Command for Script {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let Self { arguments, program, body } = *self;
        let (first, words): (Option<&Word>, &[Word]) = match (program, arguments.positional.split_first()) {
            (None, Some((first, rest))) => (Some(first), rest),
            _ => (None, &arguments.positional),
        };
        let name = first.map_or(program.unwrap_or_default(), |word| word.text.as_str());
        let mut command = std::process::Command::new(files::expand(context, name));
        command.args(words.iter().map(|word| &word.text));
        context.added_environment().give(&mut command);
        match stream(command, Some(body), output, interrupt) {
            Ok(status) if status.success() || arguments.has("no-raise-error") => Ok(()),
            Ok(status) => {
                let help = "with --no-raise-error that is no error".to_string();
                Err(MagicError::new(ErrorName::ShellError, format!("`{name}` {}", ending(status)), Some(help)))
            }
            Err(Ended::Interrupted | Ended::TimedOut) => {
                Err(MagicError::interrupted(format!("`{name}` was interrupted")))
            }
            Err(Ended::CouldNot(error)) => {
                let span = first.map_or(arguments.line.clone(), |word| word.span.clone());
                let (message, help) = match error.kind() {
                    std::io::ErrorKind::NotFound => (
                        format!("there is no program `{name}`"),
                        Some("install it, or name its place; `%env PATH` shows where programs are looked for".into()),
                    ),
                    _ => (format!("`{name}` cannot be started: {error}"), None),
                };
                Err(arguments.source.error(ErrorName::ShellError, span, message, help))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::error::MagicError;
    use crate::host::Interrupt;
    use crate::testing::{FakeHost, magics, run, said};
    use std::sync::Arc;

    fn result(text: &str) -> (Result<(), MagicError>, FakeHost) {
        let recorder = FakeHost::without_session();
        (run(text, &recorder), recorder)
    }

    #[test]
    fn the_body_goes_to_the_program() {
        let (ran, recorder) = result("%%bash -s one 'two three'\nx=(a b)\necho ${x[1]} $2\necho oops >&2");
        ran.unwrap();
        assert_eq!((recorder.stdout().as_str(), recorder.stderr().as_str()), ("b two three\n", "oops\n"));
        let (ran, recorder) = result("%%sh\necho $0\n");
        ran.unwrap();
        assert_eq!(recorder.stdout(), "sh\n");
        let (ran, recorder) = result("%%script tr --delete x\naxb\n");
        ran.unwrap();
        assert_eq!(recorder.stdout(), "ab\n");
    }

    #[test]
    fn a_large_body_meets_a_program_that_prints_before_it_has_read_all() {
        let body = "a line that comes back\n".repeat(50_000);
        let (ran, recorder) = result(&format!("%%script cat\n{body}"));
        ran.unwrap();
        assert_eq!(recorder.stdout().len(), body.len());
        // One that does not read at all is no error either.
        result(&format!("%%script true\n{body}")).0.unwrap();
    }

    #[test]
    fn failures_are_errors_unless_they_are_to_pass() {
        let (ran, recorder) = result("%%bash -e\nfalse\necho not reached\n");
        let error = ran.unwrap_err();
        assert_eq!((error.name.as_str(), error.message.as_str()), ("ShellError", "`bash` ended with exit status 1"));
        assert_eq!(recorder.stdout(), "");
        let (ran, recorder) = result("%%bash --no-raise-error\necho reached\nexit 7\n");
        ran.unwrap();
        assert_eq!(recorder.stdout(), "reached\n");
        let cases = [
            ("%%script tunebook-no-such-program\nx\n", "ShellError", "there is no program"),
            ("%%script\nx\n", "SyntaxError", "the program is missing"),
            ("%%bash\n", "SyntaxError", "the body is missing"),
            ("%bash ls", "SyntaxError", "`%%bash`"),
            ("%%bash --raise\nls", "UnknownOption", "--no-raise-error"),
        ];
        for (text, name, part) in cases {
            let error = result(text).0.expect_err(text);
            assert!(error.name.as_str() == name && said(&error).contains(part), "{text}: {}", said(&error));
        }
    }

    #[test]
    fn the_environment_of_the_session_is_there() {
        let recorder = FakeHost::default();
        recorder.set("TUNEBOOK_SCRIPT_TEST", Some("added"));
        run("%%bash\necho $TUNEBOOK_SCRIPT_TEST\n", &recorder).unwrap();
        assert_eq!(recorder.stdout(), "added\n");
    }

    #[test]
    fn an_interrupt_ends_it() {
        let (magics, interrupt) = (magics(), Arc::new(Interrupt::default()));
        let raised = interrupt.clone();
        let recorder = FakeHost::without_session().on_print(move |_| raised.raise());
        let parsed = magics.parse("%%bash\necho started\nsleep 60\n", 0).unwrap();
        let started = std::time::Instant::now();
        let error = magics.run(parsed, &recorder, &interrupt).unwrap_err();
        assert_eq!((error.name.as_str(), error.message.as_str()), ("Interrupted", "`bash` was interrupted"));
        assert!(started.elapsed().as_secs() < 30);
    }
}
