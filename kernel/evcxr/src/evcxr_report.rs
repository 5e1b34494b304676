// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

// This file is a module of the crate `evcxr_runtime`, which is built for cells with the standard
// library alone. It is a module of evcxr as well only so that constants can be shared.

use std::cell::Cell;
use std::ffi::{c_int, c_ulong};
use std::fmt::Write as _;
use std::io::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const VALUE: &str = "EVCXR_VALUE ";
pub const USER_ERROR_OCCURRED: &str = "EVCXR_ERROR_OCCURRED ";

/// The environment variable with the number of the file descriptor to which reports are written. Without
/// it, they are written to standard output.
const REPORT_DESCRIPTOR: &str = "EVCXR_REPORT_FD";

thread_local! {
    /// Whether this is the thread that runs cells, as opposed to one that a cell has started.
    static IS_CELL_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Says that the current thread runs cells.
pub fn begin() {
    IS_CELL_THREAD.set(true);
}

/// Flushes standard output. It must be complete before the end of the cell is reported.
pub fn flush() {
    let _ = std::io::stdout().flush();
}

/// Writes a line for the context that evaluates the cell.
pub fn report(line: &str) {
    flush();
    let line = format!("{line}\n");
    match std::env::var(REPORT_DESCRIPTOR) {
        Ok(descriptor) => {
            let opened = std::fs::File::options()
                .write(true)
                .open(format!("/dev/fd/{descriptor}"));
            let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        }
        Err(_) => {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout
                .write_all(line.as_bytes())
                .and_then(|()| stdout.flush());
        }
    }
}

/// Reports the value of the cell as text, and cuts it at a size that front ends can show.
pub fn value(value: std::fmt::Arguments<'_>) {
    let mut cut = CutText::default();
    let _ = cut.write_fmt(value);
    report(&format!("{VALUE}{}", escaped(&cut.finish())));
}

/// The bytes of the longest value that is reported.
const LONGEST: usize = 1 << 20;
/// The same for a value that is itself a block of content, such as a page with a chart.
const LONGEST_CONTENT: usize = 1 << 26;

/// The beginning of a text. The rest is counted while it is written, and never held.
#[derive(Default)]
struct CutText {
    text: String,
    left_out: usize,
}

impl std::fmt::Write for CutText {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        let is_content = self.text.starts_with("\"EVCXR_BEGIN_CONTENT ");
        let longest = if is_content { LONGEST_CONTENT } else { LONGEST };
        let room = longest.saturating_sub(self.text.len());
        let taken = if self.left_out > 0 {
            0
        } else {
            more.floor_char_boundary(room)
        };
        self.text.push_str(&more[..taken]);
        self.left_out += more.len() - taken;
        // An error would make the value's own code panic if it does not expect one.
        Ok(())
    }
}

impl CutText {
    fn finish(mut self) -> String {
        if self.left_out > 0 {
            let left_out = self.left_out as f64 / 1e6;
            self.text
                .push_str(&format!("\n… {left_out:.1} MB more are left out"));
        }
        self.text
    }
}

/// Says to the kernel that what the cell displays next is its value.
pub fn value_follows() {
    if let Some(message) = message("{\"value\":true}") {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout
            .write_all(message.as_bytes())
            .and_then(|()| stdout.flush());
    }
}

/// Writes to standard output at once. `cell` is the name of the cell whose code prints.
pub fn print(args: std::fmt::Arguments<'_>, cell: &str) {
    settled();
    let mut stdout = std::io::stdout().lock();
    let _ = match with_cell_name(args, cell) {
        Some(text) => stdout.write_all(text.as_bytes()),
        None => stdout.write_fmt(args),
    };
    let _ = stdout.flush();
}

/// Writes to standard error. `cell` is the name of the cell whose code prints. A kernel gets the text on
/// standard output, between two messages, so that it keeps its place in what is printed there.
pub fn eprint(args: std::fmt::Arguments<'_>, cell: &str) {
    let marks = message("{\"stderr\":true}").zip(message("{\"stderr\":false}"));
    let Some((begin, end)) = marks else {
        let _ = std::io::stderr().write_all(args.to_string().as_bytes());
        return;
    };
    settled();
    let text = format!("{begin}{args}{end}");
    let text = with_cell_name(format_args!("{text}"), cell).unwrap_or(text);
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .flush()
        .and_then(|()| stdout.write_all(text.as_bytes()))
        .and_then(|()| stdout.flush());
}

/// Waits until the kernel has read what was written to standard error itself, so that what is printed next
/// comes after it. Without a kernel, or if the kernel does not read, this does not wait for ever.
fn settled() {
    const PATIENCE: Duration = Duration::from_secs(10);
    static STDERR: OnceLock<Option<c_int>> = OnceLock::new();
    let descriptor = STDERR.get_or_init(|| std::env::var("TUNEBOOK_CELL_STDERR").ok()?.parse().ok());
    let Some(descriptor) = *descriptor else { return };
    if unread(descriptor) == 0 {
        return;
    }
    let started = Instant::now();
    while unread(descriptor) > 0 && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Returns how many bytes of a pipe nobody has read yet.
fn unread(descriptor: c_int) -> c_int {
    unsafe extern "C" {
        fn ioctl(descriptor: c_int, request: c_ulong, ...) -> c_int;
    }
    const FIONREAD: c_ulong = if cfg!(target_os = "linux") { 0x541b } else { 0x4004_667f };
    let mut count: c_int = 0;
    // The call writes one number, to which it gets a pointer.
    match unsafe { ioctl(descriptor, FIONREAD, &raw mut count) } {
        0 => count,
        _ => 0,
    }
}

/// Returns what is printed by a thread that a cell has started, between messages to the kernel that name
/// the cell. Returns None for the thread that runs cells: what it prints is that of the cell that runs.
fn with_cell_name(args: std::fmt::Arguments<'_>, cell: &str) -> Option<String> {
    if IS_CELL_THREAD.get() || cell.is_empty() {
        return None;
    }
    let begin = message(&format!("{{\"cell\":{cell:?}}}"))?;
    let end = message("{\"cell\":null}")?;
    Some(format!("{begin}{args}{end}"))
}

/// Returns a message to the kernel within what is printed. Nobody else knows the token with which it
/// begins. Returns None without a kernel.
fn message(json: &str) -> Option<String> {
    let token = std::env::var("TUNEBOOK_CELL_TOKEN").ok()?;
    Some(format!("\u{1}{token} {json}\n"))
}

/// Reports the error that a `?` of the cell met, and the line of the generated code where it stands.
pub fn user_error(text: &str, line: u32) {
    report(&format!("{USER_ERROR_OCCURRED}{line} {}", escaped(text)));
}

/// Returns the text as one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

/// Returns the text that `escaped` was given.
pub fn unescaped(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => unescaped.push('\n'),
                Some('r') => unescaped.push('\r'),
                other => unescaped.extend(other),
            },
            c => unescaped.push(c),
        }
    }
    unescaped
}

#[cfg(test)]
mod test {
    use super::CutText;
    use super::LONGEST;
    use super::escaped;
    use super::unescaped;

    #[test]
    fn a_long_value_is_cut_while_it_is_written() {
        use std::fmt::Write;
        let mut cut = CutText::default();
        for _ in 0..LONGEST {
            cut.write_str("äöü").unwrap();
        }
        let text = cut.finish();
        assert!(text.len() < LONGEST + 100 && text.ends_with("… 5.2 MB more are left out"));

        let mut short = CutText::default();
        write!(short, "{:?}", [1, 2]).unwrap();
        assert_eq!(short.finish(), "[1, 2]");
    }

    #[test]
    fn text_is_one_line_and_comes_back() {
        for text in ["", "a\nb\r\n", "\\n", "\\", "ä\\\\\n"] {
            assert!(!escaped(text).contains(['\n', '\r']), "{text:?}");
            assert_eq!(unescaped(&escaped(text)), text);
        }
    }
}
