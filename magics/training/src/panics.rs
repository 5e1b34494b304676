//! A panic in a workload's code, told in one line with the place in that code.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::path::Path;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The file of a `%%workload`, inside the crate that is made of it.
const USER_FILE: &str = "src/lib.rs";

/// Notes each panic with the line of the user's code that it came from, and prints it to standard error: the trial's log.
/// `crate_folder`: where the user's crate lies, if there is one.
pub(crate) fn install(crate_folder: Option<&'static str>) {
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_string()));
        let text = text.unwrap_or_else(|| "a panic without a message".into());
        let line = crate_folder.and_then(|folder| user_line(folder, info.location()));
        let said = match line {
            Some(line) => format!("{} (line {line} of the workload)", first_line(&text)),
            None => first_line(&text),
        };
        eprintln!("{said}");
        LAST.with_borrow_mut(|last| *last = Some(said));
    }));
}

/// What the last panic of this thread said.
pub(crate) fn last() -> Option<String> {
    LAST.with_borrow_mut(Option::take)
}

/// Leaves a message for the next one who asks.
pub(crate) fn put_back(said: Option<String>) {
    LAST.with_borrow_mut(|last| *last = said);
}

/// libtorch's messages go on with pages of its own frames, and tch's begin with the debug form of its error type.
fn first_line(text: &str) -> String {
    let text = text.strip_prefix("called `Result::unwrap()` on an `Err` value: ").unwrap_or(text);
    let text = text.strip_prefix("Torch(\"").unwrap_or(text);
    let end = text.find("\\n").unwrap_or(text.len());
    text[..end].lines().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_string()
}

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
    fn a_message_of_libtorch_is_its_first_line() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"mat1 and mat2 shapes cannot be multiplied (2x3 and \
                    4x5)\\nException raised from meta at /pytorch/x.cpp:1 (most recent call first):\\nframe #0\")";
        assert_eq!(first_line(text), "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
        assert_eq!(first_line("\n two\nlines"), "two");
    }
}
