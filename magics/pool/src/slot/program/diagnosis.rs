//! Says why a program ended without reporting its objective, from what it printed.

use super::report::{Lines, Misread};
use std::io::ErrorKind;

/// The reason, which quotes a line of the program. `words` are those of its command.
pub(super) fn reason(objective: &str, misread: &Misread, words: &[String]) -> String {
    let example = example(objective, words);
    let told = if misread.no_number.count > 0 {
        let hint = "a value that is not finite is written NaN or inf";
        format!(
            "{} it, but not as a number ({hint}): {}",
            does(&misread.no_number, "names", "name"),
            quoted(&misread.no_number)
        )
    } else if misread.no_step.count > 0 {
        let names: Vec<String> = misread.names.iter().map(|name| format!("`{name}`")).collect();
        format!(
            "{} like measurements and name no `step`; they have {}: {}. Print {example}",
            does(&misread.no_step, "looks", "look"),
            names.join(", "),
            quoted(&misread.no_step)
        )
    } else if misread.bad_step.count > 0 {
        let has = does(&misread.bad_step, "has", "have");
        format!("{has} a `step` that is not a whole number from 0 to 9e15: {}", quoted(&misread.bad_step))
    } else if misread.broken.count > 0 {
        let looks = does(&misread.broken, "looks like a measurement and is", "look like measurements and are");
        format!("{looks} not a complete JSON object: {}. Print {example}", quoted(&misread.broken))
    } else if !misread.metrics.is_empty() {
        let names: Vec<String> = misread.metrics.iter().map(|name| format!("`{name}`")).collect();
        let alike = misread.metrics.iter().find(|name| is_alike(name, objective));
        let advice = alike.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        format!("it reported {}{advice}", names.join(", "))
    } else if misread.on_stderr.count > 0 {
        let looks = does(&misread.on_stderr, "looks like a measurement", "look like measurements");
        format!(
            "{looks} and came on standard error, which is only log: {}. Print them on standard output",
            quoted(&misread.on_stderr)
        )
    } else if misread.prose.is_empty() {
        format!("it printed nothing on standard output. At each measurement, print {example}")
    } else {
        format!("it printed text only, such as {}. At each measurement, print {example}", quote(&misread.prose))
    };
    format!("the program ended without reporting `{objective}`: {told}")
}

/// Says how many lines look like reports and were not recorded, with the first one. None if there are none.
pub(super) fn unrecorded(misread: &Misread) -> Option<String> {
    let lines = &misread.unrecorded;
    let look = does(lines, "looks like a report and was", "look like reports and were");
    (lines.count > 0).then(|| {
        format!("{look} not recorded, because a report has a `step`, a whole number from 0 to 9e15: {}", quoted(lines))
    })
}

/// Says why a program did not start.
pub(super) fn not_started(program: &str, error: &std::io::Error) -> String {
    let what = match (error.kind(), error.raw_os_error()) {
        (ErrorKind::NotFound, _) if program.contains('/') => {
            format!("there is no file `{program}` in the kernel's folder")
        }
        (ErrorKind::NotFound, _) => "there is no such program in the folders of PATH".into(),
        (ErrorKind::PermissionDenied, _) => {
            format!(
                "it may not be run. `chmod +x {program}` allows that, or name its language: `command python3 {program}`"
            )
        }
        (_, Some(nix::libc::ENOEXEC)) => format!(
            "it is no program, and its first line is not `#!` with the program that runs it. Name that: `command python3 \
             {program}`"
        ),
        _ => error.to_string(),
    };
    format!("the program `{program}` cannot be started: {what}")
}

fn does(lines: &Lines, one: &str, many: &str) -> String {
    match lines.count {
        1 => format!("1 line {one}"),
        count => format!("{count} lines {many}"),
    }
}

fn quoted(lines: &Lines) -> String {
    quote(&lines.first)
}

/// A line in backquotes, at most 120 characters of it.
pub(super) fn quote(line: &str) -> String {
    let cut: String = line.replace('\n', " ").chars().take(120).collect();
    let more = if line.chars().count() > 120 { "…" } else { "" };
    format!("`{cut}{more}`")
}

/// Whether a metric probably is the objective by another name.
fn is_alike(name: &str, objective: &str) -> bool {
    let simple = |text: &str| text.to_lowercase().replace(['_', '-', '.', ' '], "/");
    let (name, objective) = (simple(name), simple(objective));
    let ends =
        |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    ends(&name, &objective) || ends(&objective, &name)
}

/// A line of code that prints a measurement, in the language of the program.
fn example(objective: &str, words: &[String]) -> String {
    let names: Vec<&str> = words.iter().filter_map(|word| word.rsplit('/').next()).collect();
    let is = |programs: &[&str], ending: &str| {
        names.first().is_some_and(|name| programs.iter().any(|program| name.starts_with(program)))
            || names.iter().any(|name| name.ends_with(ending))
    };
    let name = objective.replace(['"', '\\'], "");
    if is(&["python", "ipython", "pypy"], ".py") {
        format!("`print(json.dumps({{\"step\": step, \"{name}\": value}}), flush=True)`")
    } else if is(&["Rscript", "R"], ".R") {
        format!("`cat(sprintf('{{\"step\": %d, \"{name}\": %g}}\\n', step, value))`")
    } else if is(&["node", "deno", "bun"], ".js") {
        format!("`console.log(JSON.stringify({{step: step, \"{name}\": value}}))`")
    } else if is(&["julia"], ".jl") {
        format!("`println(\"{{\\\"step\\\": $step, \\\"{name}\\\": $value}}\")`")
    } else {
        format!("a line like `{{\"step\": 100, \"{name}\": 0.5}}`")
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::*;

    fn reason_for(lines: &[&str]) -> String {
        let mut report = Report::new("valid/error");
        lines.iter().for_each(|line| drop(report.take(line)));
        report.end();
        reason("valid/error", &report.misread, &["python3".into(), "train.py".into()])
    }

    #[test]
    fn the_reason_quotes_a_line_and_says_what_is_wrong() {
        for (lines, parts) in [
            (
                &["{'epoch': 1, 'valid/error': .5}"; 3][..],
                &["3 lines look", "no `step`", "have `epoch`", "{'epoch': 1"][..],
            ),
            (&[r#"{"step": "x", "valid/error": 1}"#], &["1 line has a `step`", "\"x\""]),
            (&[r#"{"step": 1, "valid/error": null}"#], &["not as a number", "null"]),
            (&[r#"{"step": 1, "valid/error": }"#], &["not a complete JSON object", "}`"]),
            (&[r#"{"step": 1, "Error": 0.5}"#], &["it reported `Error`", "did you mean `Error`"]),
            (&["Epoch 1 error 0.5"], &["`Epoch 1 error 0.5`", "print(json.dumps({\"step\": step, \"valid/error\""]),
            (&[], &["printed nothing"]),
        ] {
            let reason = reason_for(lines);
            assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
        }
    }

    #[test]
    fn lines_that_were_not_recorded_are_counted_and_the_first_one_is_quoted() {
        let note = |lines: &[&str]| {
            let mut report = Report::new("m");
            lines.iter().for_each(|line| drop(report.take(line)));
            unrecorded(&report.misread)
        };
        assert_eq!(note(&[r#"{"step": 1, "m": 0.5}"#, r#"{"step": 1e3, "m": 0.4}"#, "done"]), None);
        let note = note(&[r#"{"step": 1, "m": 0.5}"#, r#"{"step": 2.5, "m": 0.4}"#, r#"{"m": 0.3}"#]).unwrap();
        assert!(note.starts_with("2 lines look like reports and were not recorded"), "{note}");
        assert!(note.ends_with(r#": `{"step": 2.5, "m": 0.4}`"#), "{note}");
    }
}
