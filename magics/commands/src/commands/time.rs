//! `%time CODE` and `%%time`: run Rust like a cell does, and print how long it took.

use crate::error::{Result, Source, Span};
use crate::host::session::Ran;
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::report::units::long_time;
use crate::rust::{SourceMap, no_magic_in};

pub const MAGIC: Magic = Magic {
    name: "time",
    line: true,
    body: Some(Body::Rust),
    usage: "%time CODE\n%%time\n…Rust…",
    example: "%time (1..=1_000_000u64).sum::<u64>()",
    summary: "Run Rust once and print how long it took",
    help: "The code runs like in any cell: variables that it defines are kept, and its value is shown. *CPU times* are \
        those of the process that runs cells; it uses one processor unless the code starts threads. *Wall time* is the \
        time of the run without the compiler, whose time is shown separately. Cells are compiled with `opt-level = 2`, \
        overflow checks and debug assertions. For fast code, use `%timeit`.",
    options: &[],
    subject: Subject::Rust,
    export: Export::Rust,
    parse,
};

struct Time {
    source: Source,
    code: Span,
    /// Whether the code is the body of a cell magic.
    is_body: bool,
}

fn parse(Invocation { arguments, body, catalogue }: Invocation) -> Result<Box<dyn Command>> {
    let source = arguments.source.clone();
    let Some(body) = body else {
        let code = arguments.required(0, "the code")?.span.clone();
        return Ok(Box::new(Time { source, code, is_body: false }));
    };
    if let Some(word) = arguments.positional.first() {
        let message = "write the code of `%%time` in the lines below it";
        return Err(source.syntax_error(word.span.clone(), message, Some("`%time CODE` times one line".into())));
    }
    no_magic_in(catalogue, &source, body.clone())?;
    Ok(Box::new(Time { source, code: body, is_body: true }))
}

/// The code of a line magic after as many spaces as there are characters before it, so that the columns in errors of
/// the compiler are those of the cell.
pub fn at_its_column(source: &Source, code: &Span) -> String {
    let text = source.text();
    let line = text[..code.start].rfind('\n').map_or(0, |at| at + 1);
    " ".repeat(text[line..code.start].chars().count()) + &text[code.clone()]
}

impl Command for Time {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        let code = match self.is_body {
            // The body begins with the line break of the first line, so its line numbers are those of the cell.
            true => self.source.text()[self.code.clone()].to_string(),
            false => at_its_column(&self.source, &self.code),
        };
        let first_line = self.source.first_line();
        let source_map = SourceMap { text: self.source.text(), first_line, lines_above: 0 };
        let ran = session.run(&code, first_line, false).map_err(|error| source_map.restore(error))?;
        if let Some(value) = ran.value.clone() {
            output.display(value, None);
        }
        output.print(Stream::Stdout, &times(&ran));
        Ok(())
    }
}

/// The times in the format of IPython, and the time of the compiler.
fn times(ran: &Ran) -> String {
    let mut text = String::new();
    if let Some((user, system)) = ran.processor {
        let [user, system, total] = [user, system, user + system].map(|time| long_time(time.as_secs_f64()));
        text += &format!("CPU times: user {user}, sys: {system}, total: {total}\n");
    }
    let [run, compile] = [ran.run, ran.compile].map(|time| long_time(time.as_secs_f64()));
    text + &format!("Wall time: {run}\nCompile time: {compile}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::plain;
    use crate::testing::{FakeHost, Shown, run};
    use std::time::Duration;

    fn ran() -> Ran {
        Ran {
            value: Some(plain("3")),
            compile: Duration::from_millis(210),
            run: Duration::from_micros(13_100),
            processor: Some((Duration::from_micros(12_300), Duration::ZERO)),
            ..Ran::default()
        }
    }

    #[test]
    fn the_value_is_shown_and_then_the_times() {
        let fake = FakeHost::answering([Ok(ran())]);
        run("%time let x = f()?; x", &fake).unwrap();
        assert_eq!(fake.runs(), [("      let x = f()?; x".to_string(), 0, false)]);
        let times = "CPU times: user 12.3 ms, sys: 0 ns, total: 12.3 ms\nWall time: 13.1 ms\nCompile time: 210 ms\n"
            .to_string();
        assert_eq!(fake.shown(), [Shown::Display(plain("3")), Shown::Out(times)]);
    }

    #[test]
    fn a_body_keeps_its_lines_and_unknown_processor_times_are_left_out() {
        let fake = FakeHost::answering([Ok(Ran { processor: None, value: None, ..ran() })]);
        run("%%time\nlet x = 1;\nx", &fake).unwrap();
        assert_eq!(fake.runs(), [("\nlet x = 1;\nx".to_string(), 0, false)]);
        assert_eq!(fake.stdout(), "Wall time: 13.1 ms\nCompile time: 210 ms\n");
    }

    #[test]
    fn missing_code_and_magics_in_the_body_are_errors() {
        for (text, part) in
            [("%time", "the code is missing"), ("%%time f()\ng()", "below it"), ("%%time\n%who", "only Rust")]
        {
            let fake = FakeHost::answering([]);
            assert!(run(text, &fake).unwrap_err().message.contains(part), "{text}");
        }
    }
}
