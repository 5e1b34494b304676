//! The errors of Rust cells, with the lines of the cell that they are about.

use super::wording::{self, for_users};
use ariadne::{Color, Config, IndexType, Label, Report, ReportKind};
use evcxr::CompilationError;
use std::ops::Range;
use tunebook_magics::{ErrorName, page_colors};

/// The error of a cell, in the parts of Jupyter's `error` message.
#[derive(Clone, Debug, PartialEq)]
pub struct CellError {
    /// The `ename`.
    pub name: ErrorName,
    /// The `evalue`: a message of one line.
    pub message: String,
    /// The lines that front ends show, with ANSI colours.
    pub traceback: Vec<String>,
}

impl CellError {
    /// An error whose traceback is its name and its message.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        let message = message.into();
        let traceback = vec![format!("\x1b[31m{name}\x1b[0m: {message}")];
        Self { name, message, traceback }
    }

    /// The error of a dependency that could not be added: the output of cargo without its status lines.
    pub fn of_cargo(said: &str) -> Self {
        let said = &by_cargo(said);
        let is_status = |line: &&str| {
            let first = line.split_whitespace().next().unwrap_or("");
            ["Updating", "Downloading", "Downloaded", "Locking", "Adding", "Compiling", "Blocking"].contains(&first)
        };
        let lines: Vec<&str> = said.lines().filter(|line| !is_status(line)).collect();
        let first = lines.iter().find(|line| !line.trim().is_empty()).copied().unwrap_or("cargo gave no reason").trim();
        let mut error = Self::new(ErrorName::Error, first.strip_prefix("error: ").unwrap_or(first));
        error
            .traceback
            .extend(lines.iter().skip_while(|line| line.trim() != first).skip(1).map(|line| line.to_string()));
        let offline =
            ["--offline", "offline was specified", "Could not resolve host", "failed to download", "Couldn't connect"];
        if offline.iter().any(|sign| said.contains(sign)) {
            error.traceback.push(
                "Nothing was lost. Run the cell again when there is a network, or use a crate that is on this machine: \
                 `:dep NAME = { path = \"FOLDER\" }`. A crate that was built once needs no network."
                    .into(),
            );
        }
        error
    }

    /// The error of a cell that could not be built for a reason that is no error of its code.
    pub fn of_build(said: &str) -> Self {
        let reason = by_cargo(said);
        match reason.contains("error: ") && reason.lines().count() > 1 {
            true => Self::of_cargo(&reason),
            false => Self::new(ErrorName::Error, wording::for_users(reason.trim())),
        }
    }

    /// The error of code that is to run while a cell runs.
    pub fn busy() -> Self {
        let message = "a cell runs already, and Rust cannot run from within it: call magics that need no Rust";
        Self::new(ErrorName::Busy, message)
    }

    /// The error of all Rust code in a session without a toolchain.
    pub fn no_toolchain(reason: &str) -> Self {
        Self::new(ErrorName::NoToolchain, reason)
    }

    /// The error of a cell that was interrupted before any of it was compiled.
    pub fn interrupted_before_it_ran() -> Self {
        Self::new(ErrorName::Interrupted, "the cell was interrupted before it ran")
    }

    /// The error of a cell that panicked.
    ///
    /// `lines` is what Rust printed about the panic. `user_line` translates a line number of the generated code to one
    /// of the cell. `restored` says whether a snapshot took over, so that all variables are as before the cell.
    pub fn panic(
        lines: &[String],
        source: &str,
        user_line: impl FnMut(usize) -> Option<usize>,
        restored: bool,
    ) -> Self {
        let line = lines.iter().find_map(|line| line_of_panic(line)).and_then(user_line);
        let noise = |line: &str| is_panic_head(line) || line.starts_with("note: run with `RUST_BACKTRACE");
        let said = lines.iter().filter(|line| !noise(line)).skip_while(|line| line.trim().is_empty());
        let mut said: Vec<String> = said.cloned().collect();
        if said.is_empty() {
            said.push("the cell panicked".into());
        }
        Self::of_line(ErrorName::Panic, &said, line, source, restored)
    }

    /// The error of one line of a cell that happened while it ran. `said` is the message; its first line becomes the
    /// `evalue`.
    pub fn of_line(name: ErrorName, said: &[String], line: Option<usize>, source: &str, restored: bool) -> Self {
        let said = without_frames(said.iter());
        let message = said.first().map(|line| line.trim_start_matches("Internal torch error: ").to_string());
        let message = message.unwrap_or_default();
        let mut traceback = vec![format!("\x1b[31m{name}\x1b[0m: {message}")];
        traceback.extend(said.iter().skip(1).cloned());
        if let Some((line, text)) = line.and_then(|line| Some((line, source.lines().nth(line.checked_sub(1)?)?))) {
            traceback.push(format!("  \x1b[36m--> cell, line {line}\x1b[0m"));
            traceback.push(format!("  \x1b[36m{line} |\x1b[0m {text}"));
        }
        if restored {
            traceback.push("Every variable is as it was before the cell.".into());
        }
        Self { name, message, traceback }
    }
}

/// What cargo said, without what evcxr puts around it.
fn by_cargo(said: &str) -> String {
    let said = said.replace("Compilation failed, but no parsable errors were found. STDERR:\n", "");
    said.split_once("\nSTDOUT:").map_or(said.as_str(), |(reason, _)| reason).to_string()
}

/// Lines without the C++ frames that libtorch adds to its messages, and without the names of tch's error type around
/// them.
fn without_frames<'a>(lines: impl Iterator<Item = &'a String>) -> Vec<String> {
    const FRAMES: [&str; 2] = ["Exception raised from ", "frame #"];
    let mut kept: Vec<String> = vec![];
    for line in lines.filter(|line| !FRAMES.iter().any(|text| line.starts_with(text))) {
        // In its debug form the whole message is one line.
        let escaped = line.split_once("Torch(\"").filter(|(_, text)| text.contains("\\nException raised from "));
        kept.push(match escaped {
            Some((_, text)) => text.split("\\n").next().unwrap_or_default().replace("\\\"", "\""),
            None => line.clone(),
        });
    }
    while kept.len() > 1 && kept.last().is_some_and(|line| line.trim().is_empty()) {
        kept.pop();
    }
    kept
}

/// The line number in `… panicked at src/lib.rs:1:2:`.
fn line_of_panic(line: &str) -> Option<usize> {
    let (_, place) = line.split_once("panicked at src/lib.rs:")?;
    place.split(':').next()?.parse().ok()
}

/// Whether a line is the first one that Rust prints about a panic: `thread '<unnamed>' (123) panicked at
/// src/lib.rs:1:2:`.
pub fn is_panic_head(line: &str) -> bool {
    line.starts_with("thread '") && line.contains("panicked at ")
}

/// The error of a cell that does not compile, with the code underlined that the compiler blames.
pub fn compilation(errors: &[CompilationError], source: &str) -> CellError {
    let mut traceback = vec![];
    for error in errors {
        traceback.extend(rendered(error, source).lines().map(String::from));
    }
    let message = errors.first().map(|error| match error.code() {
        Some(code) => format!("{code}: {}", error.message()),
        None => error.message(),
    });
    let message = message.unwrap_or_else(|| NO_REASON.into());
    let message = for_users(message.lines().next().unwrap_or_default());
    if traceback.is_empty() {
        traceback.push(format!("\x1b[31mCompilationError\x1b[0m: {message}"));
    }
    CellError { name: ErrorName::CompilationError, message, traceback }
}

/// What is said of a cell whose errors are all about generated code.
const NO_REASON: &str = "the cell does not compile: its last lines use or keep a value that was moved or is borrowed. \
    Put the cell's code into braces, `{ … }`, to run it without keeping its variables";

/// The warnings of the compiler, drawn like its errors.
pub fn warnings(warnings: &[CompilationError], source: &str) -> String {
    warnings.iter().map(|warning| rendered(warning, source)).collect()
}

/// A part of the cell that is underlined, and the messages about it.
struct Annotation {
    range: Range<usize>,
    texts: Vec<String>,
    is_primary: bool,
}

/// Draws an error in ANSI colours, which front ends adapt to light and dark pages.
fn rendered(error: &CompilationError, source: &str) -> String {
    let (kind, color) = match error.level() {
        "warning" => (ReportKind::Custom("Warning", Color::Yellow), Color::Yellow),
        _ => (ReportKind::Custom("Error", Color::Red), Color::Red),
    };
    let title = for_users(&error.message());
    let messages = || {
        let mut messages: Vec<_> = error.spanned_messages().iter().chain(error.help_spanned()).collect();
        let place = |span: evcxr::Span| (span.start_line, span.start_column);
        messages.sort_by_key(|message| (message.span.map(place), !message.is_primary));
        messages
    };
    let spanned = error.primary_spanned_message().into_iter().chain(messages()).find_map(|message| message.span);
    let at = spanned.map(|span| characters(source, &span));
    // The compiler's message is about no place in the cell, but it may name one.
    let named = || {
        let bytes = wording::place(&error.message(), source)?;
        let count = |end: usize| source[..end].chars().count();
        Some(count(bytes.start)..count(bytes.end))
    };
    let Some(range) = at.or_else(named) else {
        return if error.rendered().is_empty() { title } else { wording::without_places(&error.rendered()) };
    };
    let config = Config::default().with_index_type(IndexType::Char);
    let mut report = Report::build(kind, ("cell", range.clone())).with_config(config).with_message(&title);
    if let Some(code) = error.code() {
        report = report.with_code(code);
    }
    let (mut notes, mut annotations): (Vec<String>, Vec<Annotation>) = (vec![], vec![]);
    for message in messages() {
        let text = Some(for_users(&message.label))
            .filter(|text| !text.is_empty() && !text.ends_with(&title) && !wording::is_of_generated_code(text));
        let range = message.span.map(|span| characters(source, &span));
        match annotations.iter_mut().find(|annotation| Some(&annotation.range) == range.as_ref()) {
            // Two annotations of one range would hide each other.
            Some(annotation) => annotation.texts.extend(text),
            None => match range {
                Some(range) => annotations.push(Annotation {
                    range,
                    texts: text.into_iter().collect(),
                    is_primary: message.is_primary,
                }),
                None => notes.extend(text),
            },
        }
    }
    if spanned.is_none() {
        annotations.push(Annotation { range, texts: vec![], is_primary: true });
        notes.extend(error.help().iter().map(|help| for_users(help)));
    }
    for Annotation { range, texts, is_primary } in annotations {
        // ariadne underlines nothing that has no text.
        let text = if texts.is_empty() { "here".into() } else { texts.join("\n") };
        let color = if is_primary { color } else { Color::Cyan };
        report = report.with_label(Label::new(("cell", range)).with_color(color).with_message(text));
    }
    if matches!(error.code(), Some("E0384" | "E0596")) {
        notes.push("a variable of an earlier cell becomes mutable by `let mut x = x;`".into());
    }
    if !notes.is_empty() {
        report.set_note(notes.join("\n"));
    }
    let mut drawn = vec![];
    match report.finish().write(("cell", ariadne::Source::from(source)), &mut drawn) {
        Ok(()) => page_colors(&drawn),
        Err(_) => title,
    }
}

/// The range of a span in characters, counted from the beginning of the cell.
fn characters(source: &str, span: &evcxr::Span) -> Range<usize> {
    let at = |line: usize, column: usize| {
        let before = source.split_inclusive('\n').take(line.saturating_sub(1));
        before.map(|line| line.chars().count()).sum::<usize>() + column.saturating_sub(1)
    };
    let start = at(span.start_line, span.start_column);
    start..at(span.end_line, span.end_column).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_libtorch_is_shown_without_its_frames() {
        let sentence = "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)";
        let escaped = format!(
            "called `Result::unwrap()` on an `Err` value: Torch(\"{sentence}\\nException raised from meta at \
             /pytorch/x.cpp:1 (most recent call first):\\nframe #0: c10::Error::Error()\\n\")"
        );
        let head = "thread 'main' (7) panicked at /crates/tch/src/generated.rs:1:2:";
        let panic = CellError::panic(&[head.into(), escaped], "a.matmul(&a)", |_| None, true);
        let text =
            format!("Internal torch error: {sentence}\nException raised from meta\nframe #0: c10::Error::Error()\n");
        let lines: Vec<String> = text.split('\n').map(String::from).collect();
        let returned = CellError::of_line(ErrorName::Error, &lines, Some(1), "a.f_matmul(&a)?", false);
        for error in [panic, returned] {
            assert_eq!(error.message, sentence);
            assert!(!error.traceback.join("\n").contains("frame #"), "{:?}", error.traceback);
        }
        let own = ["frames and Torch(\"x\") of one's own".to_string()];
        assert_eq!(CellError::of_line(ErrorName::Panic, &own, None, "", false).message, own[0]);
    }
}
