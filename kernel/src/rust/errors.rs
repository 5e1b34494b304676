//! What went wrong in a Rust cell, in the user's lines.

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

    /// A panic: `lines` is what was printed about it.
    pub fn panic(lines: &[String]) -> Self {
        let name = "Panic";
        let text: Vec<&String> =
            lines.iter().filter(|line| !line.starts_with("note: run with `RUST_BACKTRACE")).collect();
        // The head of a panic names a line of generated code, which says nothing to the user.
        let said: Vec<&str> = text.iter().map(|line| line.as_str()).filter(|line| !is_panic_head(line)).collect();
        let message = said.iter().find(|line| !line.trim().is_empty()).unwrap_or(&"the cell panicked").to_string();
        let mut traceback = vec![format!("\x1b[31m{name}\x1b[0m: {message}")];
        traceback.extend(said.iter().skip_while(|line| line.trim().is_empty()).skip(1).map(|line| line.to_string()));
        Self { name: name.into(), message, traceback }
    }
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
    let message = message.lines().next().unwrap_or_default().to_string();
    if traceback.is_empty() {
        traceback.push(format!("\x1b[31mCompilationError\x1b[0m: {message}"));
    }
    CellError { name: "CompilationError".into(), message, traceback }
}

fn rendered(error: &CompilationError, source: &str) -> String {
    let report = error.build_report("cell".into(), source.to_string(), evcxr::Theme::Light);
    let mut drawn = Vec::new();
    let cell = ("cell".to_string(), ariadne::Source::from(source.to_string()));
    match report.map(|report| report.write(cell, &mut drawn)) {
        Some(Ok(())) => String::from_utf8_lossy(&drawn).into_owned(),
        // It cannot draw source that is not ASCII; the compiler's own text can.
        _ if !error.rendered().is_empty() => error.rendered(),
        _ => error.message(),
    }
}
