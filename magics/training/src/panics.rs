//! Turns a panic in a workload's code into one line of text that names the line of the cell.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::path::Path;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether a panic is expected, so that it is neither printed nor kept.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The number of characters that are shown of a value in a message of `assert_eq!`.
const VALUE: usize = 120;

/// The file that holds the source of a `%%workload` cell, within the crate that is made of it.
const USER_FILE: &str = "src/lib.rs";

/// Installs a panic hook. It prints one line for each panic to standard error, which is the trial's log, and keeps that
/// line for [`take_last`].
///
/// `crate_folder` is the folder of the crate that was made of a `%%workload` cell, or None in the worker of the
/// built-in workloads. With it, the line also names the line of the cell that the panic came from.
pub(crate) fn install(crate_folder: Option<&'static str>) {
    std::panic::set_hook(Box::new(move |info| {
        if QUIET.get() {
            return;
        }
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_string()));
        let text = text.unwrap_or_else(|| "a panic without a message".into());
        let line = crate_folder.and_then(|folder| user_line(folder, info.location()));
        let message = match line {
            Some(line) => format!("{} (line {line} of the workload)", first_line(&text)),
            None => first_line(&text),
        };
        eprintln!("{message}");
        LAST.with_borrow_mut(|last| *last = Some(message));
    }));
}

/// Calls a function and returns its result, or the line of text of its panic. tch turns C++ exceptions into panics
/// after C++ has returned, so the process can go on.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    // A panic within `tch::no_grad` leaves gradients off. When the guard goes, they are as they were.
    let _as_before = tch::no_grad_guard();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tch::with_grad(body)));
    caught.map_err(|_| take_last().unwrap_or_else(|| "a panic without a message".into()))
}

/// Calls a function that may panic because of what it is given. Its panic is not printed.
pub(crate) fn quietly<T>(body: impl FnOnce() -> T) -> Result<T, ()> {
    let before = QUIET.replace(true);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    QUIET.set(before);
    caught.map_err(drop)
}

/// Returns the line of text of this thread's last panic, once; None if there was no panic since.
pub(crate) fn take_last() -> Option<String> {
    LAST.with_borrow_mut(Option::take)
}

/// Makes a line of text the one that [`take_last`] returns next.
pub(crate) fn put_back(message: Option<String>) {
    LAST.with_borrow_mut(|last| *last = message);
}

/// Returns the first line of a panic message, without the debug form of tch's error type around it. libtorch's messages
/// go on with its C++ backtrace. `assert_eq!` has the values that differ in lines of their own, which are kept.
fn first_line(text: &str) -> String {
    let text = text.strip_prefix("called `Result::unwrap()` on an `Err` value: ").unwrap_or(text);
    let text = text.strip_prefix("Torch(\"").unwrap_or(text);
    let end = text.find("\\n").unwrap_or(text.len());
    let mut lines = text[..end].lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("no message").to_string();
    if !first.starts_with("assertion `") {
        return first;
    }
    let values = lines.filter(|line| line.starts_with("left:") || line.starts_with("right:"));
    values.fold(first, |message, value| {
        let shown: String = value.chars().take(VALUE).collect();
        format!("{message}, {shown}")
    })
}

/// Returns the line of the `%%workload` cell in which a panic began: its own location, or the innermost frame of the
/// backtrace that lies in the cell. None if no frame does.
fn user_line(folder: &str, location: Option<&std::panic::Location<'_>>) -> Option<u32> {
    let file = Path::new(folder).join(USER_FILE);
    if let Some(location) = location.filter(|location| Path::new(folder).join(location.file()) == file) {
        return Some(location.line());
    }
    let frames = Backtrace::force_capture().to_string();
    let file = file.display().to_string();
    let named = |line: &str| {
        line.trim().strip_prefix("at ").is_some_and(|at| at.starts_with(&file) || at.starts_with("./src/lib.rs"))
    };
    let frame = frames.lines().find(|line| named(line))?;
    frame.trim().rsplit(':').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn a_message_of_libtorch_is_shortened_to_its_first_line() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"mat1 and mat2 shapes cannot be multiplied \
                    (2x3 and 4x5)\\nException raised from meta at /pytorch/x.cpp:1 (most recent call first):\\nframe \
                    #0\")";
        assert_eq!(first_line(text), "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
        assert_eq!(first_line("\n two\nlines"), "two");
        assert_eq!(
            first_line("assertion `left == right` failed: sizes\n  left: [3]\n right: [4]"),
            "assertion `left == right` failed: sizes, left: [3], right: [4]"
        );
    }
}
