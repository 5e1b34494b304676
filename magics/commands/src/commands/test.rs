//! `%%test [FILTER]` and `%test [FILTER]`: run the `#[test]` functions of a cell or of all cells, like `cargo test`
//! does.

use crate::error::{ErrorName, MagicError, Result, Source, Span};
use crate::host::session::{Ran, Session};
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::report::units::time;
use crate::rust::{DebugValue, SourceMap, TestFunction, no_magic_in, tests_in};
use crate::syntax::OptionSpec;
use std::fmt::Write;

/// Printed before and after each test, with the path of the test, so that its output can be recognized.
const MARK: &str = "\u{1}tunebook-test ";

pub const MAGIC: Magic = Magic {
    name: "test",
    line: true,
    body: Some(Body::Rust),
    usage: "%%test [FILTER] [--all] [--ignored] [--include-ignored]\n…Rust…\n\
        %test [FILTER] [--ignored] [--include-ignored]",
    example: "%%test\nfn half(x: i32) -> i32 {\n    x / 2\n}\n\n#[test]\nfn halves_are_rounded_towards_zero() {\n    assert_eq!(half(-3), -1);\n}",
    summary: "Run #[test] functions like cargo test does",
    help: "`%%test` defines the items of its body like any cell and runs the tests among them; with `--all`, it also \
        runs those of earlier cells. `%test` runs the tests of all cells. With FILTER, only tests whose path contains \
        it are run. Tests may return a `Result`, be in a `#[cfg(test)] mod tests`, and have `#[should_panic]`, \
        `#[should_panic(expected = \"…\")]` or `#[ignore]`. They run one after the other in the process that runs \
        cells, also after one has failed. A failed test makes the cell fail (`TestsFailed`).",
    options: &[
        OptionSpec { name: "all", value: None, help: "run tests of earlier cells too" },
        OptionSpec { name: "ignored", value: None, help: "run only ignored tests" },
        OptionSpec { name: "include-ignored", value: None, help: "run ignored tests too" },
    ],
    subject: Subject::None,
    export: Export::Items,
    parse,
};

struct Tests {
    source: Source,
    filter: String,
    all: bool,
    ignored: bool,
    include_ignored: bool,
    /// The tests to choose from: at first those of the body, later also those of earlier cells.
    tests: Vec<TestFunction>,
    /// The code that defines them, edited so that they can be called.
    code: String,
    /// The span of the body.
    body: Span,
}

fn parse(Invocation { arguments, body, catalogue }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(1)?;
    let source = arguments.source.clone();
    let all = body.is_none() || arguments.has("all");
    let body = body.unwrap_or(source.text().len()..source.text().len());
    no_magic_in(catalogue, &source, body.clone())?;
    let (tests, code) = tests_in(&source, body.clone())?;
    Ok(Box::new(Tests {
        filter: arguments.positional.first().map(|word| word.text.clone()).unwrap_or_default(),
        ignored: arguments.has("ignored"),
        include_ignored: arguments.has("include-ignored"),
        source,
        all,
        tests,
        code,
        body,
    }))
}

/// The result of a test.
struct TestResult {
    path: String,
    /// The reason if it failed.
    failed: Option<String>,
    /// The lines where it panicked, as far as they are known.
    lines: Vec<String>,
    /// What it printed to standard output, then to standard error.
    output: String,
}

impl Command for Tests {
    fn run(mut self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        if self.all {
            self.add_earlier(session)?;
        }
        let (chosen, ignored) = self.chosen();
        let first_line = self.source.first_line();
        let source_map = SourceMap { text: self.source.text(), first_line, lines_above: 0 };
        let ran = session.run(&self.generated(&chosen), first_line, true).map_err(|error| source_map.restore(error))?;
        let (before, stdout) = split_output(&ran.stdout);
        output.print(Stream::Stdout, before);
        let (before, stderr) = split_output(&ran.stderr);
        output.print(Stream::Stderr, before);
        let results = self.results(&chosen, &ran, &stdout, &stderr)?;
        output.print(Stream::Stdout, &self.report(&results, &ignored, ran.run.as_secs_f64()));
        let failed: Vec<&str> = results.iter().filter(|r| r.failed.is_some()).map(|r| r.path.as_str()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let tests = if results.len() == 1 { "test" } else { "tests" };
        let message = format!("{} of {} {tests} failed: {}", failed.len(), results.len(), failed.join(", "));
        Err(MagicError::new(ErrorName::TestsFailed, message, None))
    }
}

impl Tests {
    /// Adds the tests among the items of earlier cells. Items are defined again if the compiler has removed their
    /// tests.
    fn add_earlier(&mut self, session: &dyn Session) -> Result<()> {
        for item in session.items()? {
            let source = Source::new(&item.code, 0);
            let (mut tests, code) = tests_in(&source, 0..item.code.len())?;
            tests.retain(|test| !self.tests.iter().any(|known| root(&known.path) == root(&test.path)));
            if tests.is_empty() {
                continue;
            }
            if code != item.code {
                self.code += &format!("\n{code}");
            }
            self.tests.extend(tests.into_iter().map(|test| TestFunction { lines: 0..0, ..test }));
        }
        Ok(())
    }

    /// The tests to run, and the paths of those that are reported as ignored.
    fn chosen(&self) -> (Vec<TestFunction>, Vec<String>) {
        let wanted = self.tests.iter().filter(|test| test.path.contains(&self.filter));
        let (run, left): (Vec<&TestFunction>, Vec<&TestFunction>) =
            wanted.partition(|test| test.ignored == self.ignored || self.include_ignored);
        let ignored = left.into_iter().filter(|test| test.ignored).map(|test| test.path.clone()).collect();
        (run.into_iter().cloned().collect(), ignored)
    }

    /// The cell that defines the tests, calls them and ends with their outcomes.
    fn generated(&self, chosen: &[TestFunction]) -> String {
        let call = |TestFunction { path, should_panic, .. }: &TestFunction| {
            let should_panic = match should_panic {
                None => "None".to_string(),
                Some(None) => "Some(::core::option::Option::None)".into(),
                Some(Some(text)) => format!("Some(::core::option::Option::Some({text:?}))"),
            };
            format!("tunebook_testing::run({path:?}, ::core::option::Option::{should_panic}, || crate::{path}()),\n")
        };
        let calls: String = chosen.iter().map(call).collect();
        format!(
            "{}\n{{\n#[allow(dead_code)]\nmod tunebook_testing {{\n{}\n{}\n}}\ntunebook_testing::Answer::<\
             ::std::vec::Vec<tunebook_testing::Outcome>>(::std::vec![\n{calls}])\n}}",
            self.code,
            include_str!("../rust/generated/answer.rs"),
            include_str!("../rust/generated/testing.rs")
        )
    }

    /// The results of the tests, from the value and the output of the generated cell.
    fn results(
        &self,
        chosen: &[TestFunction],
        ran: &Ran,
        stdout: &[TestOutput],
        stderr: &[TestOutput],
    ) -> Result<Vec<TestResult>> {
        let answer = DebugValue::of(ran);
        let rows = answer.as_ref().map_or(&[] as &[DebugValue], DebugValue::items);
        let result = |test: &TestFunction| {
            let row = rows
                .iter()
                .map(DebugValue::items)
                .find(|row| row.first().and_then(DebugValue::text) == Some(&test.path))?;
            let [_, failed, lines] = row else { return None };
            let printed = stdout.iter().chain(stderr).filter(|(path, _)| *path == test.path);
            Some(TestResult {
                path: test.path.clone(),
                failed: failed.text().map(String::from),
                lines: lines.items().iter().filter_map(|line| self.line_in_cell(test, line.text()?)).collect(),
                output: printed.map(|(_, text)| *text).collect(),
            })
        };
        let no_results = || {
            MagicError::advising(
                ErrorName::NoAnswer,
                "the tests ran, but their results are missing",
                "run the cell again",
            )
        };
        chosen.iter().map(result).collect::<Option<_>>().ok_or_else(no_results)
    }

    /// A source line with its number in the cell. It is searched for in the lines of the test, then in the whole body.
    fn line_in_cell(&self, test: &TestFunction, line: &str) -> Option<String> {
        if line.is_empty() {
            return None;
        }
        let body = &self.source.text()[self.body.clone()];
        let same: Vec<usize> = body.lines().enumerate().filter(|(_, l)| l.trim() == line).map(|(i, _)| i).collect();
        let found = same.iter().find(|i| test.lines.contains(i)).or(same.first());
        Some(match found {
            Some(number) => format!("line {}: {line}", self.source.first_line() + number + 1),
            None => line.to_string(),
        })
    }

    /// The report, in the format of `cargo test`.
    fn report(&self, results: &[TestResult], ignored: &[String], seconds: f64) -> String {
        let (good, bad) = ("\x1b[32mok\x1b[0m", "\x1b[31mFAILED\x1b[0m");
        let mut text = String::new();
        let named = results.len() + ignored.len();
        // Writing to memory cannot fail.
        let _ = writeln!(text, "\nrunning {named} {}", if named == 1 { "test" } else { "tests" });
        for result in results {
            let _ = writeln!(text, "test {} ... {}", result.path, if result.failed.is_some() { bad } else { good });
        }
        for path in ignored {
            let _ = writeln!(text, "test {path} ... \x1b[33mignored\x1b[0m");
        }
        let failed: Vec<(&TestResult, &String)> =
            results.iter().filter_map(|r| Some((r, r.failed.as_ref()?))).collect();
        if !failed.is_empty() {
            text += "\nfailures:\n";
        }
        for (result, why) in &failed {
            let _ = writeln!(text, "\n---- {} ----", result.path);
            if !result.output.is_empty() {
                let _ = writeln!(text, "{}", result.output.trim_end());
            }
            for line in &result.lines {
                let _ = writeln!(text, "at {line}");
            }
            let _ = writeln!(text, "{}", why.trim_end());
        }
        let filtered = self.tests.len() - named;
        let (count, passed) = (failed.len(), results.len() - failed.len());
        let _ = writeln!(
            text,
            "\ntest result: {}. {passed} passed; {count} failed; {} ignored; {filtered} filtered out; finished in {}",
            if failed.is_empty() { good } else { bad },
            ignored.len(),
            time(seconds, 3)
        );
        if self.tests.is_empty() {
            text += if self.all {
                "No cell has a function with `#[test]`.\n"
            } else {
                "No function of this cell has `#[test]`.\n"
            };
        }
        text
    }
}

/// The first name of a path.
fn root(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// The path of a test and the text that it printed.
type TestOutput<'a> = (&'a str, &'a str);

/// Splits output at the marks, into the text before the first test and the output of each test.
fn split_output(text: &str) -> (&str, Vec<TestOutput<'_>>) {
    let mut pieces = text.split(MARK);
    let before = pieces.next().unwrap_or_default();
    (before, pieces.filter_map(|piece| piece.split_once('\n')).filter(|(path, _)| !path.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cells, FakeHost, run};

    const BODY: &str = "fn double(x: i32) -> i32 {\n    x * 2\n}\nprintln!(\"before\");\n#[test]\nfn doubles() {\n    \
                        assert_eq!(double(2), 4);\n}\n#[test]\nfn fails() {\n    println!(\"a hint\");\n    \
                        assert_eq!(double(2), 5, \"so {}\", \"it is\");\n}\n#[test]\n\
                        #[should_panic(expected = \"overflow\")]\n\
                        fn overflows() {\n    double(i32::MAX);\n}\n#[test]\n#[ignore]\nfn slow() {\n    panic!();\n}\n\
                        #[cfg(test)]\nmod tests {\n    use super::*;\n    fn helper() -> i32 {\n        \
                        double(1)\n    }\n    \
                        #[test]\n    fn parses() -> Result<(), std::num::ParseIntError> {\n        \
                        let n: i32 = \"2\".parse()?;\n        \
                        assert_eq!(n, helper());\n        Ok(())\n    }\n    #[test]\n    \
                        fn errs() -> Result<(), String> {\n        \
                        Err(\"no \\\"x\\\"\".into())\n    }\n    #[test]\n    #[should_panic]\n    fn quiet() {}\n}\n\
                        double(3)";

    fn without_colours(text: &str) -> String {
        ["\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"]
            .iter()
            .fold(text.into(), |text: String, code| text.replace(code, ""))
    }

    #[test]
    fn generated_code_runs_all_kinds_of_tests() {
        let fake = FakeHost::running(Cells { items: "", before: "", after: "" });
        let error = run(&format!("%%test\n{BODY}"), &fake).unwrap_err();
        assert_eq!(error.name.as_str(), "TestsFailed");
        assert_eq!(error.message, "3 of 6 tests failed: fails, tests::errs, tests::quiet");
        let text = without_colours(&fake.stdout());
        let wanted = "before\n\nrunning 7 tests\ntest doubles ... ok\ntest fails ... FAILED\ntest overflows ... ok\n\
                      test tests::parses ... ok\ntest tests::errs ... FAILED\ntest tests::quiet ... FAILED\n\
                      test slow ... ignored\n\n\
                      failures:\n\n---- fails ----\na hint\n\
                      at line 13: assert_eq!(double(2), 5, \"so {}\", \"it is\");\n\
                      assertion `left == right` failed: so it is\n  left: 4\n right: 5\n\n---- tests::errs ----\n\
                      Error: \"no \\\"x\\\"\"\n\n\
                      ---- tests::quiet ----\nit should have panicked, but did not\n\n\
                      test result: FAILED. 3 passed; 3 failed; 1 ignored; 0 filtered out; finished in ";
        assert!(text.starts_with(wanted), "{text}");
    }

    #[test]
    fn tests_of_earlier_cells_can_be_run() {
        let items = [
            ("later", "#[test]\nfn later() { assert!(true); }"),
            ("f", "fn f() {}"),
            ("old", "#[cfg_attr(test, test)] fn old() {}"),
        ];
        let answer = "[(\"later\", None, []), (\"old\", None, [])]";
        let ran = Ran { value: Some(crate::host::plain(answer)), ..Ran::default() };
        let fake = FakeHost::answering([Ok(ran)]).with_items(&items);
        run("%test l", &fake).unwrap();
        let code = fake.runs().remove(0).0;
        assert!(code.contains("#[cfg_attr(test, test)]\nfn later()") && !code.contains("fn old()"), "{code}");
        assert!(
            without_colours(&fake.stdout()).contains("running 2 tests\ntest later ... ok\ntest old ... ok\n"),
            "{}",
            fake.stdout()
        );
    }

    #[test]
    fn filters_and_options_choose_tests() {
        let chosen = |head: &str| {
            let answers: String =
                ["doubles", "fails", "overflows", "slow", "tests::parses", "tests::errs", "tests::quiet"]
                    .iter()
                    .map(|name| format!("({name:?}, None, []), "))
                    .collect();
            let ran = Ran { value: Some(crate::host::plain(format!("[{answers}]"))), ..Ran::default() };
            let fake = FakeHost::answering([Ok(ran)]);
            run(&format!("{head}\n{BODY}"), &fake).unwrap();
            let text = without_colours(&fake.stdout());
            text.lines().filter(|line| line.starts_with("test ")).map(String::from).collect::<Vec<_>>()
        };
        let lines = chosen("%%test tests::e");
        assert_eq!(lines[0], "test tests::errs ... ok");
        assert!(lines[1].contains("1 passed; 0 failed; 0 ignored; 6 filtered out"), "{lines:?}");
        assert_eq!(chosen("%%test --ignored")[0], "test slow ... ok");
        assert_eq!(chosen("%%test --include-ignored").len(), 8);
    }
}
