//! Bounds the text that is shown of a cell: all of it up to a limit, and of the rest only the end, with a note about
//! what is left out. Without a bound, a cell that prints for ever would freeze the front end and fill the notebook's
//! file and the memory.

use super::Cell;

/// The bytes of a cell's text that are shown as they come, unless `TUNEBOOK_OUTPUT_LIMIT` says otherwise. With more,
/// JupyterLab becomes slow.
const DEFAULT_LIMIT: usize = 1 << 20;
/// The bytes at the end of the text that are shown besides, if it is longer.
const TAIL: usize = 16 << 10;

/// The limit in bytes: the value of `TUNEBOOK_OUTPUT_LIMIT`, or the default.
fn limit() -> usize {
    static LIMIT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *LIMIT.get_or_init(|| {
        let set = std::env::var("TUNEBOOK_OUTPUT_LIMIT").ok().and_then(|text| text.trim().parse().ok());
        set.unwrap_or(DEFAULT_LIMIT)
    })
}

/// Counts the text of one cell.
#[derive(Default)]
pub struct OutputLimit {
    /// The bytes that were shown.
    shown: usize,
    /// The text beyond the limit, once there is any.
    hidden: Option<Hidden>,
}

/// The text of a cell that is not shown while the cell runs.
#[derive(Default)]
struct Hidden {
    bytes: usize,
    lines: usize,
    /// The end of the text.
    tail: Vec<u8>,
    /// Whether the last text went to standard error.
    is_error: bool,
}

impl OutputLimit {
    /// Shows text, or the part of it that the limit allows.
    pub fn show(&mut self, cell: &dyn Cell, text: &str, is_error: bool) {
        if self.hidden.is_none() {
            let allowed = limit().saturating_sub(self.shown);
            if text.len() <= allowed {
                self.shown += text.len();
                return cell.text(text, is_error);
            }
            let at = text.floor_char_boundary(allowed);
            // The cut is between two lines, unless the line is very long.
            let at = text[..at].rfind('\n').map(|newline| newline + 1).filter(|line| at - line < TAIL).unwrap_or(at);
            self.shown += at;
            cell.text(&text[..at], is_error);
            let mark = format!(
                "\n… output is cut here: this cell has printed {}; of what follows only the end is shown\n",
                size(self.shown)
            );
            cell.text(&mark, true);
            self.hidden = Some(Hidden::default());
            return self.hide(&text[at..], is_error);
        }
        self.hide(text, is_error);
    }

    fn hide(&mut self, text: &str, is_error: bool) {
        let Some(hidden) = &mut self.hidden else { return };
        hidden.bytes += text.len();
        hidden.lines += text.bytes().filter(|byte| *byte == b'\n').count();
        hidden.is_error = is_error;
        hidden.tail.extend_from_slice(text.as_bytes());
        if hidden.tail.len() > 4 * TAIL {
            hidden.tail.drain(..hidden.tail.len() - TAIL);
        }
    }

    /// Shows the end of the hidden text, because the cell has ended.
    pub fn end(&mut self, cell: &dyn Cell) {
        let Some(hidden) = self.hidden.take() else { return };
        let from = hidden.tail.len().saturating_sub(TAIL);
        let tail = String::from_utf8_lossy(&hidden.tail[from..]);
        // It starts with a whole line, unless it is one long line.
        let tail = tail.split_once('\n').map(|(_, rest)| rest).filter(|rest| !rest.trim().is_empty()).unwrap_or(&tail);
        let left_out = hidden.bytes - tail.len().min(hidden.bytes);
        let lines = if hidden.lines > 1 { format!(" in {} lines", hidden.lines) } else { String::new() };
        cell.text(&format!("… {}{lines} left out; the end:\n", size(left_out)), true);
        cell.text(tail, hidden.is_error);
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bundle;
    use super::*;
    use parking_lot::Mutex;
    use serde_json::Value;

    #[derive(Default)]
    struct Screen(Mutex<String>);

    impl Cell for Screen {
        fn text(&self, text: &str, _: bool) {
            self.0.lock().push_str(text);
        }
        fn display(&self, _: Bundle, _: Value, _: Option<&str>, _: bool) {}
        fn clear(&self, _: bool) {}
        fn input(&self, _: &str, _: bool, _: &dyn Fn() -> bool) -> Option<String> {
            None
        }
        fn answer(&self, _: &Value) -> Result<Value, (String, String)> {
            Ok(Value::Null)
        }
    }

    #[test]
    fn the_beginning_and_the_end_are_shown_with_a_note_on_what_is_left_out() {
        let (screen, mut shown) = (Screen::default(), OutputLimit::default());
        for i in 0..1_000_000 {
            shown.show(&screen, &format!("line {i}\n"), false);
        }
        shown.end(&screen);
        let text = screen.0.lock().clone();
        assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("line 999999\n"));
        assert!(text.contains("output is cut here: this cell has printed 1.0 MB"), "the mark");
        assert!(text.contains(" lines left out; the end:\n"));
        assert!(text.len() < DEFAULT_LIMIT + TAIL + 500);
    }

    #[test]
    fn text_within_the_limit_is_shown_unchanged() {
        let (screen, mut shown) = (Screen::default(), OutputLimit::default());
        shown.show(&screen, "a", false);
        shown.end(&screen);
        assert_eq!(*screen.0.lock(), "a");
    }
}
