// Tunebook: a part of every cell's crate (see CHANGES.md). It must build with the standard library alone.

// What the generated code tells whoever evaluates goes to a descriptor of its own, and never to standard output, where
// it could be mistaken for what the user prints.

use std::cell::Cell;
use std::io::Write;

thread_local! {
    // Whether this thread runs the cell, as opposed to one that the cell started.
    static IS_CELL: Cell<bool> = const { Cell::new(false) };
}

pub fn begin() {
    IS_CELL.set(true);
}

/// Standard output as far as it was written, so that all of it is there before the end of the cell is.
pub fn flush() {
    let _ = std::io::stdout().flush();
}

/// A line for whoever evaluates.
pub fn report(line: &str) {
    flush();
    let line = format!("{line}\n");
    match std::env::var("EVCXR_REPORT_FD") {
        Ok(descriptor) => {
            let path = format!("/dev/fd/{descriptor}");
            let opened = std::fs::File::options().write(true).open(path);
            let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        }
        Err(_) => print(format_args!("{line}"), ""),
    }
}

/// The value of the last expression, as text.
pub fn value(text: &str) {
    report(&format!("EVCXR_VALUE {}", escaped(text)));
}

/// The error that a `?` met, and the line where it stands.
pub fn user_error(text: &str, line: u32) {
    report(&format!("EVCXR_ERROR_OCCURRED {line} {}", escaped(text)));
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// What follows on standard output is the value of the cell: it displays itself.
pub fn value_follows() {
    if let Some(mark) = mark("{\"value\":true}") {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(mark.as_bytes()).and_then(|()| out.flush());
    }
}

fn mark(what: &str) -> Option<String> {
    let token = std::env::var("TUNEBOOK_CELL_TOKEN").ok()?;
    Some(format!("\u{1}{token} {what}\n"))
}

/// What a thread of a cell prints bears the name of the cell, so that it is shown there.
fn marked(args: std::fmt::Arguments<'_>, cell: &str) -> Option<String> {
    if IS_CELL.get() || cell.is_empty() {
        return None;
    }
    let (begin, end) = (mark(&format!("{{\"cell\":{cell:?}}}"))?, mark("{\"cell\":null}")?);
    Some(format!("{begin}{args}{end}"))
}

pub fn print(args: std::fmt::Arguments<'_>, cell: &str) {
    let mut out = std::io::stdout().lock();
    let _ = match marked(args, cell) {
        Some(text) => out.write_all(text.as_bytes()),
        None => out.write_fmt(args),
    };
    let _ = out.flush();
}

pub fn eprint(args: std::fmt::Arguments<'_>, cell: &str) {
    let text = marked(args, cell).unwrap_or_else(|| args.to_string());
    let _ = std::io::stderr().write_all(text.as_bytes());
}
