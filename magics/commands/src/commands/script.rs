//! `%%bash`, `%%sh` and `%%script PROGRAM`: run the body with a program, which reads it from its standard input.

use crate::error::{ErrorName, MagicError, Result};
use crate::files;
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::process::ProcessError;
use crate::shell::{ending, stream};
use crate::syntax::{Arguments, OptionSpec, Word};

const OPTIONS: &[OptionSpec] =
    &[OptionSpec { name: "no-raise-error", value: None, help: "an exit status other than 0 is not an error" }];

pub const BASH: Magic = Magic {
    name: "bash",
    line: false,
    body: Some(Body::Script),
    usage: "%%bash [--no-raise-error] [ARGUMENTS…]\n…lines of bash…",
    example: "%%bash\nfor i in 1 2 3; do echo \"line $i\"; done",
    summary: "Run the body with bash",
    help: "Output is shown as it is printed. `%%bash -e` ends at the first command that fails. `%%bash -s a b` sets \
        `$1` and `$2` of the body. An interrupt ends bash and all that it started.",
    options: OPTIONS,
    subject: Subject::Words,
    export: Export::Comment,
    parse: |invocation| parse(invocation, Some("bash")),
};

pub const SH: Magic = Magic {
    name: "sh",
    line: false,
    body: Some(Body::Script),
    usage: "%%sh [--no-raise-error] [ARGUMENTS…]\n…lines of sh…",
    example: "%%sh\necho \"in $(pwd)\"",
    summary: "Run the body with sh",
    help: "Like `%%bash`, with the system's own shell.",
    options: OPTIONS,
    subject: Subject::Words,
    export: Export::Comment,
    parse: |invocation| parse(invocation, Some("sh")),
};

pub const SCRIPT: Magic = Magic {
    name: "script",
    line: false,
    body: Some(Body::Script),
    usage: "%%script [--no-raise-error] PROGRAM [ARGUMENTS…]\n…what PROGRAM reads…",
    example: "%%script python3\nprint(sum(range(10)))",
    summary: "Run the body with any program that reads its standard input: python3, perl, node, sqlite3",
    help: "Output is shown as it is printed. All words after PROGRAM are its arguments, also those with dashes: \
        `%%script python3 -u -`. It runs in the folder of `%pwd` with the environment of `%env`. An interrupt ends the \
        program and all that it started.",
    options: OPTIONS,
    subject: Subject::Program,
    export: Export::Comment,
    parse: |invocation| parse(invocation, None),
};

struct Script {
    arguments: Arguments,
    /// The program, or None if the first word names it.
    program: Option<&'static str>,
    body: String,
}

fn parse(invocation: Invocation, program: Option<&'static str>) -> Result<Box<dyn Command>> {
    if program.is_none() {
        invocation.arguments.required(0, "the program")?;
    }
    // Text that was pasted from Windows has `\r` before each line end, which shells take for a part of the last word.
    let body = invocation.body_text()?.replace("\r\n", "\n");
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
                let help = "with --no-raise-error, this is not an error".to_string();
                Err(MagicError::new(ErrorName::ShellError, format!("`{name}` {}", ending(status)), Some(help)))
            }
            Err(ProcessError::Interrupted | ProcessError::TimedOut) => {
                Err(MagicError::interrupted(format!("`{name}` was interrupted")))
            }
            Err(ProcessError::Io(error)) => {
                let span = first.map_or(arguments.line.clone(), |word| word.span.clone());
                let (message, help) = match error.kind() {
                    std::io::ErrorKind::NotFound => (
                        format!("there is no program `{name}`"),
                        Some("install it, or write its path; `%env PATH` shows the folders that are searched".into()),
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
    use crate::testing::{FakeHost, magics, rendered, run};
    use std::sync::Arc;

    fn result(text: &str) -> (Result<(), MagicError>, FakeHost) {
        let recorder = FakeHost::without_session();
        (run(text, &recorder), recorder)
    }

    #[test]
    fn the_program_reads_the_body() {
        let (ran, recorder) = result("%%bash -s one 'two three'\nx=(a b)\necho ${x[1]} $2\necho oops >&2");
        ran.unwrap();
        assert_eq!((recorder.stdout().as_str(), recorder.stderr().as_str()), ("b two three\noops\n", ""));
        let (ran, recorder) = result("%%sh\necho $0\n");
        ran.unwrap();
        assert_eq!(recorder.stdout(), "sh\n");
        let (ran, recorder) = result("%%script tr --delete x\naxb\n");
        ran.unwrap();
        assert_eq!(recorder.stdout(), "ab\n");
    }

    #[test]
    fn a_program_may_print_before_it_has_read_a_large_body() {
        let body = "a line that comes back\n".repeat(50_000);
        let (ran, recorder) = result(&format!("%%script cat\n{body}"));
        ran.unwrap();
        assert_eq!(recorder.stdout().len(), body.len());
        // A program that does not read its input is not an error either.
        result(&format!("%%script true\n{body}")).0.unwrap();
    }

    #[test]
    fn failures_are_errors_unless_an_option_allows_them() {
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
            assert!(error.name.as_str() == name && rendered(&error).contains(part), "{text}: {}", rendered(&error));
        }
    }

    #[test]
    fn programs_see_the_environment_of_the_session() {
        let recorder = FakeHost::default();
        recorder.set("TUNEBOOK_SCRIPT_TEST", Some("added"));
        run("%%bash\necho $TUNEBOOK_SCRIPT_TEST\n", &recorder).unwrap();
        assert_eq!(recorder.stdout(), "added\n");
    }

    #[test]
    fn an_interrupt_ends_the_program() {
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
