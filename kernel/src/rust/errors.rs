//! What went wrong in a Rust cell, in the user's lines.

use super::last_value::as_written;
use evcxr::CompilationError;

/// The error of a cell as Jupyter shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct CellError {
    /// `ename`.
    pub name: String,
    /// `evalue`: the message in one line.
    pub message: String,
    /// Coloured text, line by line.
    pub traceback: Vec<String>,
}

impl CellError {
    /// An error without more to show than its message.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let traceback = vec![format!("\x1b[31m{name}\x1b[0m: {message}")];
        Self { name: name.into(), message, traceback }
    }

    /// Rust was to run while Rust runs.
    pub fn busy() -> Self {
        let message = "a cell runs already, and Rust cannot run from within it: call magics that need no Rust";
        Self::new("Busy", message)
    }

    /// A panic: `lines` is what was printed about it, `user_line` gives the line of the cell for one of the generated code, and
    /// `restored` says whether the variables are as before the cell.
    pub fn panic(
        lines: &[String],
        source: &str,
        mut user_line: impl FnMut(usize) -> Option<usize>,
        restored: bool,
    ) -> Self {
        let name = "Panic";
        let place = lines.iter().find_map(|line| place_of_panic(line)).and_then(|(line, column)| {
            let line = user_line(line)?;
            Some((line, column, source.lines().nth(line - 1)?))
        });
        let noise = |line: &str| is_panic_head(line) || line.starts_with("note: run with `RUST_BACKTRACE");
        let said: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !noise(line)).collect();
        let said: Vec<&str> = said.into_iter().skip_while(|line| line.trim().is_empty()).collect();
        let message = said.first().unwrap_or(&"the cell panicked").to_string();
        let mut traceback = vec![format!("\x1b[31m{name}\x1b[0m: {message}")];
        traceback.extend(said.iter().skip(1).map(|line| line.to_string()));
        if let Some((line, _, text)) = place {
            traceback.push(format!("  \x1b[36m--> cell, line {line}\x1b[0m"));
            traceback.push(format!("  \x1b[36m{line} |\x1b[0m {text}"));
        }
        if restored {
            traceback.push("Every variable is as it was before the cell.".into());
        }
        Self { name: name.into(), message, traceback }
    }
}

/// Line and column of `… panicked at src/lib.rs:1:2:`.
fn place_of_panic(line: &str) -> Option<(usize, usize)> {
    let (_, place) = line.split_once("panicked at src/lib.rs:")?;
    let mut numbers = place.trim_end().trim_end_matches(':').split(':').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// `thread '<unnamed>' (123) panicked at src/lib.rs:1:2:`.
pub fn is_panic_head(line: &str) -> bool {
    line.starts_with("thread '") && line.contains("panicked at ")
}

/// Compilation errors with the user's code underlined.
pub fn compilation(errors: &[CompilationError], source: &str) -> CellError {
    let mut traceback = vec![];
    for error in errors {
        traceback.extend(rendered(error, source).lines().map(String::from));
    }
    let message = errors.first().map(|error| match error.code() {
        Some(code) => format!("{code}: {}", error.message()),
        None => error.message(),
    });
    let message = message.unwrap_or_else(|| "the cell does not compile".into());
    let message = as_written(message.lines().next().unwrap_or_default());
    if traceback.is_empty() {
        traceback.push(format!("\x1b[31mCompilationError\x1b[0m: {message}"));
    }
    CellError { name: "CompilationError".into(), message, traceback }
}

/// What the compiler warns of, drawn like its errors.
pub fn warnings(warnings: &[CompilationError], source: &str) -> String {
    warnings.iter().map(|warning| rendered(warning, source)).collect()
}

fn rendered(error: &CompilationError, source: &str) -> String {
    let report = error.build_report("cell".into(), source.to_string(), evcxr::Theme::Light);
    let mut drawn = Vec::new();
    let cell = ("cell".to_string(), ariadne::Source::from(source.to_string()));
    match report.map(|report| report.write(cell, &mut drawn)) {
        Some(Ok(())) => as_written(&String::from_utf8_lossy(&drawn)),
        // A message without a place in the cell.
        _ if !error.rendered().is_empty() => error.rendered(),
        _ => error.message(),
    }
}
