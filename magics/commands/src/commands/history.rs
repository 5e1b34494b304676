//! `%history`: shows the inputs of this session or of an earlier one.

use crate::error::Result;
use crate::host::session::Input;
use crate::host::{Interrupt, Output, Stream, session};
use crate::inputs::{InputSelection, SESSION};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::OptionSpec;
use wildmatch::WildMatch;

pub const MAGIC: Magic = Magic {
    name: "history",
    line: true,
    body: None,
    usage: "%history [1-5 7 …] [-n] [--last N] [--grep PATTERN] [--session -1]",
    example: "%history --last 3",
    summary: "Show the inputs of this session or of an earlier one",
    help: "Inputs are named by their execution count: `7`, `1-5` with both ends, `3-` for all from number 3. Without \
        any, all are shown. `%save FILE 1-5` writes them to a file.",
    options: &[
        OptionSpec { name: "lines", value: None, help: "show the execution counts too" },
        OptionSpec { name: "n", value: None, help: "the same as --lines" },
        OptionSpec { name: "last", value: Some("N"), help: "only the last N" },
        OptionSpec { name: "l", value: Some("N"), help: "the same as --last" },
        OptionSpec {
            name: "grep",
            value: Some("PATTERN"),
            help: "only those that contain the pattern; `*` is any text, `?` any character",
        },
        OptionSpec { name: "g", value: Some("PATTERN"), help: "the same as --grep" },
        SESSION,
    ],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct History {
    selection: InputSelection,
    /// Whether execution counts are shown.
    numbers: bool,
    /// The largest number of inputs to show.
    last: usize,
    pattern: Option<WildMatch>,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let last = match arguments.count("last", 1)? {
        Some(last) => Some(last),
        None => arguments.count("l", 1)?,
    };
    let pattern = arguments.option("grep").or_else(|| arguments.option("g"));
    Ok(Box::new(History {
        selection: InputSelection::new(&arguments, 0)?,
        numbers: arguments.has("lines") || arguments.has("n"),
        last: last.map_or(usize::MAX, |last| last as usize),
        pattern: pattern.map(|word| WildMatch::new(&format!("*{}*", word.text))),
    }))
}

impl Command for History {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let mut inputs = self.selection.inputs(session::required(output)?)?;
        if let Some(pattern) = &self.pattern {
            inputs.retain(|input| pattern.matches(&input.code));
        }
        let text: String = inputs.iter().skip(inputs.len().saturating_sub(self.last)).map(|i| self.shown(i)).collect();
        if !text.is_empty() {
            output.print(Stream::Stdout, &text);
        }
        Ok(())
    }
}

impl History {
    fn shown(&self, input: &Input) -> String {
        let code = input.code.trim_end();
        let number = match self.selection.session {
            0 => input.line.to_string(),
            session => format!("{session}/{}", input.line),
        };
        match (self.numbers, code.contains('\n')) {
            (false, _) => format!("{code}\n"),
            (true, false) => format!("{number:>4}: {code}\n"),
            (true, true) => format!("{number:>4}:\n{code}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, magics, rendered, run, run_in};

    fn recorder() -> FakeHost {
        FakeHost::default().with_inputs(&[
            (-1, 1, "let old = 0;"),
            (0, 1, "let x = 1;"),
            (0, 2, "fn f() {\n    1\n}\n"),
            (0, 4, "x + 1"),
        ])
    }

    #[test]
    fn the_selected_inputs_are_shown() {
        let f = "fn f() {\n    1\n}\n";
        let cases = [
            ("%history", format!("let x = 1;\n{f}x + 1\n")),
            ("%history -n", format!("   1: let x = 1;\n   2:\n{f}   4: x + 1\n")),
            ("%history 4 1-2 --lines", format!("   4: x + 1\n   1: let x = 1;\n   2:\n{f}")),
            ("%history 2-", format!("{f}x + 1\n")),
            ("%history --last 1", "x + 1\n".into()),
            ("%history -l 2", format!("{f}x + 1\n")),
            ("%history --last 9", format!("let x = 1;\n{f}x + 1\n")),
            ("%history --grep x", "let x = 1;\nx + 1\n".into()),
            ("%history -g 'x*1' --last 1", "x + 1\n".into()),
            ("%history --grep 'x ? 1'", "let x = 1;\nx + 1\n".into()),
            ("%history --grep '{*}'", f.into()),
            ("%history --grep none", String::new()),
            ("%history --session -1 -n", "-1/1: let old = 0;\n".into()),
        ];
        for (text, expected) in cases {
            let recorder = recorder();
            run(text, &recorder).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(recorder.stdout(), expected, "{text}");
        }
    }

    #[test]
    fn errors_point_at_mistakes() {
        let (magics, recorder) = (magics(), recorder());
        let cases = [
            ("%history 3", "UnknownInput", "it has 1 to 4", "1:10"),
            ("%history 1 7-9", "UnknownInput", "none of these", "1:12"),
            ("%history 5-1", "InvalidValue", "is not a range", "1:10"),
            ("%history 1:5", "InvalidValue", "`1-5`", "1:10"),
            ("%history --session 1", "InvalidValue", "-1", "1:20"),
            ("%history --session -2", "UnknownInput", "session -2", "1:1"),
            ("%history -l 0", "InvalidValue", "`-l`", "1:13"),
            ("%history --greb x", "UnknownOption", "did you mean `--grep`", "1:10"),
        ];
        for (text, name, part, place) in cases {
            let error = run_in(&magics, text, &recorder).expect_err(text);
            let shown = rendered(&error);
            assert!(error.name.as_str() == name && shown.contains(part) && shown.contains(place), "{text}: {shown}");
        }
        assert_eq!(run_in(&magics, "%history", &FakeHost::without_session()).unwrap_err().name.as_str(), "NoSession");
    }
}
