//! `%timeit CODE` and `%%timeit [SETUP]`: measure how long a piece of Rust takes, from many runs.

use super::time::at_its_column;
use crate::error::{ErrorName, MagicError, Result, Source, Span};
use crate::host::session::Ran;
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::units::{count, time, times};
use crate::rust::{DebugValue, SourceMap, Statement, Statements, no_magic_in};
use crate::syntax::OptionSpec;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use tunebook_analysis::{Timing, timing};

/// The default number of samples.
const SAMPLES: u64 = 50;
/// The default time of the whole measurement, in seconds.
const BUDGET: f64 = 2.0;
/// The least number of samples, for code that is too slow for more.
const LEAST: u64 = 3;
/// How many lines are shown of what the code printed.
const LINES: usize = 10;

pub const MAGIC: Magic = Magic {
    name: "timeit",
    line: true,
    body: Some(Body::Rust),
    usage: "%timeit [--time T] [--samples N] [--loops N] CODE\n\
        %%timeit [--time T] [--samples N] [--loops N] [SETUP]\n…Rust…",
    example: "%timeit --time 1s (1..=1000u64).sum::<u64>()",
    summary: "Measure how long a piece of Rust takes, from many runs",
    help: "Like criterion: the code is warmed up and then run in samples with more and more loops, which takes about \
        two seconds in all. The time of a loop is the slope of the samples' times over their numbers of loops. Its 95 \
        % interval is the bootstrap. Samples outside of Tukey's fences are counted as outliers: something else ran at \
        that time.\n\n\
        `%%timeit` times its body. SETUP, on its first line, runs before each sample and is not timed; the body can \
        use what it defines. Variables of cells can be used. Code that moves a variable cannot be repeated and does \
        not compile.\n\n\
        The value of the code is passed to `std::hint::black_box`, and the time to drop it is included. The compiler \
        may remove code that has no value and no effect, and may compute only once what does not change between loops. \
        So end with the value, and write `std::hint::black_box(x)` for an input `x`. Cells are compiled with \
        `opt-level = 2`, overflow checks and debug assertions, so a release build may be faster.",
    options: &[
        OptionSpec { name: "time", value: Some("T"), help: "about how long the measurement takes (default: 2s)" },
        OptionSpec {
            name: "samples",
            value: Some("N"),
            help: "number of samples (default: 50, fewer if the code is slow); also -r N",
        },
        OptionSpec {
            name: "loops",
            value: Some("N"),
            help: "loops in each sample (default: chosen from --time); also -n N",
        },
    ],
    subject: Subject::Rust,
    export: Export::Comment,
    parse,
};

struct TimeIt {
    source: Source,
    /// The span of the code that is timed.
    code: Span,
    /// The span of the setup in a cell magic, which can be empty. None for a line magic.
    setup: Option<Span>,
    /// The seconds that the measurement should take.
    budget: f64,
    samples: u64,
    /// The least number of samples, however long they take.
    least: u64,
    /// The loops of each sample, if the user has set them.
    loops: Option<u64>,
}

fn parse(Invocation { arguments, body, catalogue }: Invocation) -> Result<Box<dyn Command>> {
    let source = arguments.source.clone();
    let budget = arguments.duration("time")?.map_or(BUDGET, |time| time.as_secs_f64());
    let asked = arguments.small_count("samples", 1)?.map(u64::from);
    let loops = arguments.count("loops", 1)?;
    let word = arguments.positional.first().map(|word| word.span.clone());
    let (code, setup) = match body {
        None => (arguments.required(0, "the code")?.span.clone(), None),
        Some(body) => {
            no_magic_in(catalogue, &source, body.clone())?;
            if source.text()[body.clone()].trim().is_empty() {
                let help = "write the code in the lines below this one, or use `%timeit CODE` for one line";
                return Err(source.syntax_error(arguments.line.clone(), "there is nothing to time", Some(help.into())));
            }
            (body, Some(word.unwrap_or_default()))
        }
    };
    let (samples, least) = (asked.unwrap_or(SAMPLES), asked.unwrap_or(LEAST));
    Ok(Box::new(TimeIt { source, code, setup, budget, samples, least, loops }))
}

impl TimeIt {
    /// The cell that measures. The lines and columns of the user's code stay the same, as far as possible.
    fn generated(&self) -> String {
        const RESULT: &str = "::core::result::Result";
        let text = self.source.text();
        let loops = self.loops.map_or("None".into(), |loops| format!("Some({loops})"));
        let head = format!(
            "{{ let mut tunebook_sampler = tunebook_timing::Sampler::new({:?}, {}, {}, \
             ::core::option::Option::{loops}); while let ::core::option::Option::Some(tunebook_loops) = \
             tunebook_sampler.next() {{",
            self.budget, self.samples, self.least
        );
        let (opened, closed) = match has_question_mark(&text[self.code.clone()]) {
            false => ("tunebook_sampler.time(tunebook_loops, || {".to_string(), "});"),
            true => (
                format!(
                    "tunebook_sampler.time(tunebook_loops, || tunebook_timing::value((|| -> {RESULT}<_, \
                     tunebook_timing::Problem> {{ {RESULT}::Ok({{"
                ),
                "}) })()));",
            ),
        };
        let tail = format!(
            "{closed} }}\n#[allow(dead_code)]\nmod tunebook_timing {{\n{}\n{}\n}}\ntunebook_sampler.answer() }}",
            include_str!("../rust/generated/answer.rs"),
            include_str!("../rust/generated/timing.rs")
        );
        match &self.setup {
            None => format!("{head} {opened}\n{}\n{tail}", at_its_column(&self.source, &self.code)),
            Some(setup) => {
                let setup = at_its_column(&self.source, setup);
                // The setup needs a semicolon at its end, unless it has one or ends with a block.
                let ended =
                    Statements::of(&setup).is_some_and(|found| !found.list.last().is_some_and(Statement::is_value));
                let end = if ended { "" } else { ";" };
                format!("{head}\n{setup}{end} {opened}{}\n{tail}", &text[self.code.clone()])
            }
        }
    }

    /// Runs the generated cell. Returns the run, and the loops and the seconds of each sample.
    fn measure(&self, output: &dyn Output) -> Result<(Ran, Vec<(u64, f64)>)> {
        let first_line = self.source.first_line();
        // One generated line precedes the line of the magic. It takes the number of the line above in the cell, if
        // there is one.
        let lines_above = usize::from(first_line == 0);
        let source_map = SourceMap { text: self.source.text(), first_line, lines_above };
        let ran = session::required(output)?.run(&self.generated(), first_line.saturating_sub(1), true);
        let ran = ran.map_err(|error| with_help_for_moves(source_map.restore(error)))?;
        let pair = |pair: &DebugValue| match pair.items() {
            [loops, seconds] => Some((loops.number()? as u64, seconds.number()?)),
            _ => None,
        };
        let samples = DebugValue::of(&ran).map(|answer| answer.items().iter().filter_map(pair).collect());
        let no_times = || {
            MagicError::advising(ErrorName::NoAnswer, "the code ran, but its times are missing", "run the cell again")
        };
        Ok((ran, samples.ok_or_else(no_times)?))
    }
}

/// Whether the code contains a `?` outside of items, closures and async blocks. In macros, every `?` counts.
fn has_question_mark(code: &str) -> bool {
    struct Search(bool);
    impl<'a> Visit<'a> for Search {
        fn visit_expr_try(&mut self, _: &'a syn::ExprTry) {
            self.0 = true;
        }
        fn visit_expr_closure(&mut self, _: &'a syn::ExprClosure) {}
        fn visit_expr_async(&mut self, _: &'a syn::ExprAsync) {}
        fn visit_item(&mut self, _: &'a syn::Item) {}
        fn visit_macro(&mut self, of: &'a syn::Macro) {
            self.0 |= has_mark(of.tokens.clone());
        }
    }
    fn has_mark(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Punct(mark) => mark.as_char() == '?',
            TokenTree::Group(group) => has_mark(group.stream()),
            _ => false,
        })
    }
    let Some(statements) = Statements::of(code) else { return false };
    let mut search = Search(false);
    for statement in &statements.list {
        visit::visit_stmt(&mut search, &statement.parsed);
    }
    search.0
}

/// Adds help to the error that a variable is moved, since the same code would compile outside of a loop.
fn with_help_for_moves(error: MagicError) -> MagicError {
    let moved = ["E0382", "E0505", "E0507"].iter().any(|code| error.message.starts_with(code));
    if !moved {
        return error;
    }
    let help = "%timeit runs the code many times, and a value can be moved out of its variable only once: borrow it \
                (`&x`), or use `x.clone()`, whose time `%timeit x.clone()` measures";
    error.with_help(help)
}

impl Command for TimeIt {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (ran, samples) = self.measure(output)?;
        let Some(timing) = timing(&samples) else {
            return Err(MagicError::advising(ErrorName::NoAnswer, "the times are missing", "run the cell again"));
        };
        for (stream, text) in [(Stream::Stdout, &ran.stdout), (Stream::Stderr, &ran.stderr)] {
            output.print(stream, &beginning(text));
        }
        let mut report = Report::new("timeit", &timing).line(&sentence(&timing));
        let outliers = timing.outliers;
        if outliers.count() > 0 {
            let kinds = [
                (outliers.low_severe, "low severe"),
                (outliers.low_mild, "low mild"),
                (outliers.high_mild, "high mild"),
                (outliers.high_severe, "high severe"),
            ];
            let named = kinds.iter().filter(|(n, _)| *n > 0).map(|(n, kind)| format!("{n} {kind}"));
            let named = named.collect::<Vec<_>>().join(", ");
            report = report.line(&format!("{} of {} samples are outliers: {named}.", outliers.count(), timing.samples));
        }
        if timing.samples < self.samples as usize {
            report = report.line(&format!(
                "The code is too slow for {} samples in {}; `--time` allows more time.",
                self.samples,
                time(self.budget, 2)
            ));
        }
        report.show(&context.charts, output);
        Ok(())
    }
}

/// The result as a line of text.
fn sentence(timing: &Timing) -> String {
    let mut details = vec![];
    details.extend(timing.interval.map(|interval| format!("95 %: {}", times(interval, 4))));
    let mut about = vec![format!("median {}", time(timing.median, 4))];
    about.extend(timing.standard_deviation.map(|deviation| format!("std {}", time(deviation, 3))));
    let [least, most] = timing.loops_of_a_sample;
    let loops = match least == most {
        true => count(most),
        false => format!("{} to {}", count(least), count(most)),
    };
    let one = |n: u64, word: &str| if n == 1 { word.to_string() } else { format!("{word}s") };
    about.push(format!("{} {} of {loops} {}", timing.samples, one(timing.samples as u64, "sample"), one(most, "loop")));
    details.push(about.join(", "));
    format!("{} per loop ({})", time(timing.seconds, 4), details.join("; "))
}

/// The first lines of a text. Code that prints does so in each loop, so the text can be long.
fn beginning(text: &str) -> String {
    let count = text.lines().count();
    if count <= LINES {
        return text.into();
    }
    let first: String = text.split_inclusive('\n').take(LINES).collect();
    format!("{first}… and {} more lines\n", count - LINES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{RESULT_MIME, plain};
    use crate::testing::{Cells, FakeHost, Shown, run};

    /// The text and the result of the display.
    fn result(fake: &FakeHost) -> (String, serde_json::Value) {
        let shown = fake.shown();
        let Some(Shown::Display(bundle)) = shown.last() else { panic!("{shown:?}") };
        (bundle["text/plain"].as_str().unwrap().into(), bundle[RESULT_MIME].clone())
    }

    fn answer(samples: &[(u64, f64)]) -> Result<Ran> {
        Ok(Ran { value: Some(plain(format!("{samples:?}"))), ..Ran::default() })
    }

    #[test]
    fn text_and_result_contain_all_that_was_measured() {
        let samples: Vec<(u64, f64)> = (1..=50).map(|i| (100 * i, 1.234e-4 * i as f64)).collect();
        let fake = FakeHost::answering([answer(&samples)]);
        run("%timeit f(x)", &fake).unwrap();
        let (text, result) = result(&fake);
        assert!(!text.contains("outliers"), "{text}");
        let wanted = "1.234 µs per loop (95 %: 1.234 to 1.234 µs; median 1.234 µs, std ";
        assert!(
            text.starts_with(wanted) && text.replace('\n', " ").ends_with("50 samples of 100 to 5\u{202f}000 loops)"),
            "{text}"
        );
        assert_eq!((&result["kind"], &result["version"]), (&"timeit".into(), &1.into()));
        assert_eq!((&result["samples"], &result["loops"]), (&50.into(), &127_500.into()));
        for field in ["seconds", "interval", "median", "standard_deviation", "mean", "outliers"] {
            assert!(!result[field].is_null(), "{field}");
        }
    }

    #[test]
    fn slow_code_has_fewer_samples_and_the_text_says_so() {
        let fake = FakeHost::answering([answer(&[(1, 3.0), (1, 3.1), (1, 3.2)])]);
        run("%timeit f(x)", &fake).unwrap();
        assert!(result(&fake).0.contains("too slow for 50 samples in 2.0 s"), "{}", result(&fake).0);
    }

    #[test]
    fn an_error_about_a_move_has_help() {
        let moved =
            MagicError::new(ErrorName::CompilationError, "E0507: cannot move out of `v`, a captured variable", None);
        let fake = FakeHost::answering([Err(moved)]);
        let error = run("%timeit drop(v)", &fake).unwrap_err();
        assert!(error.traceback().join("\n").contains("only once"), "{error:?}");
    }

    #[test]
    fn options_and_setup_are_used() {
        let fake = FakeHost::answering([answer(&[(7, 1.0); 4])]);
        run("%%timeit --time 5s -n7 -r 4 let w = v.clone();\nw.len()", &fake).unwrap();
        let (code, first_line, quiet) = fake.runs().remove(0);
        let lines: Vec<&str> = code.lines().collect();
        assert!(lines[0].contains("Sampler::new(5.0, 4, 4, ::core::option::Option::Some(7))"), "{}", lines[0]);
        assert!(lines[1].starts_with(&format!("{}let w = v.clone();", " ".repeat(28))), "{}", lines[1]);
        assert_eq!((lines[2], first_line, quiet), ("w.len()", 0, true));
        assert!(
            run("%%timeit let w = 1;\n", &FakeHost::answering([])).unwrap_err().message.contains("nothing to time")
        );
    }

    #[test]
    fn question_marks_outside_of_closures_and_items_are_found() {
        for (code, found) in
            [("f()?", true), ("(|| f()?)()", false), ("println!(\"{}\", f()?)", true), ("fn f() { g()? }", false)]
        {
            assert_eq!(has_question_mark(code), found, "{code}");
        }
    }

    #[test]
    fn generated_code_measures() {
        let cells = Cells { items: "", before: "let v: Vec<u64> = (0..1000).collect();", after: "drop(v);" };
        let fake = FakeHost::running(cells);
        run("%timeit --time 0.2s --samples 20 std::hint::black_box(&v).iter().sum::<u64>()", &fake).unwrap();
        let (text, found) = result(&fake);
        let seconds = found["seconds"].as_f64().unwrap();
        assert!((1e-9..1e-4).contains(&seconds) && found["samples"] == 20, "{text}");
        assert!(found["loops"].as_u64().unwrap() > 1000, "{text}");
    }

    #[test]
    fn generated_code_handles_setup_question_marks_and_slow_code() {
        let fake =
            FakeHost::running(Cells { items: "", before: "let text = String::from(\"7\");", after: "drop(text);" });
        let code = "%%timeit --time 0.1s let mut sleeps = 0;\nlet n = text.parse::<u64>()?;\nsleeps += 1;\n\
                    std::thread::sleep(std::time::Duration::from_millis(20 * n)); assert!(sleeps == 1); \
                    println!(\"slept\")";
        run(code, &fake).unwrap();
        let (text, found) = result(&fake);
        assert_eq!((&found["samples"], &found["loops"]), (&3.into(), &3.into()), "{text}");
        assert!(found["seconds"].as_f64().unwrap() > 0.14 && text.contains("too slow"), "{text}");
        assert_eq!(fake.stdout(), "slept\nslept\nslept\n");
    }
}
