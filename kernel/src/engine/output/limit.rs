//! How much text of a cell is shown: all of it up to a limit, then only the end, with a mark where something is missing. A
//! cell that prints for ever must not take the front end, the notebook's file and the memory with it.

use super::Cell;

/// Text of a cell beyond so many bytes is cut.
const HEAD: usize = 1 << 20;
/// And so much of its end is shown.
const TAIL: usize = 16 << 10;

/// The limit in bytes: `TUNEBOOK_OUTPUT_LIMIT`, or 1 MiB: with more, JupyterLab no longer answers at once.
fn limit() -> usize {
    static LIMIT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *LIMIT.get_or_init(|| {
        let set = std::env::var("TUNEBOOK_OUTPUT_LIMIT").ok().and_then(|text| text.trim().parse().ok());
        set.unwrap_or(HEAD)
    })
}

/// What was shown of a cell.
#[derive(Default)]
pub struct Limit {
    shown: usize,
    cut: Option<Cut>,
}

/// What was not.
#[derive(Default)]
struct Cut {
    bytes: usize,
    lines: usize,
    /// Its end.
    tail: Vec<u8>,
    is_error: bool,
}

impl Limit {
    /// Shows text, or as much of it as the limit allows.
    pub fn show(&mut self, cell: &dyn Cell, text: &str, is_error: bool) {
        if self.cut.is_none() {
            let allowed = limit().saturating_sub(self.shown);
            if text.len() <= allowed {
                self.shown += text.len();
                return cell.text(text, is_error);
            }
            let at = text.floor_char_boundary(allowed);
            // Between two lines, unless they are very long.
            let at = text[..at].rfind('\n').map(|newline| newline + 1).filter(|line| at - line < TAIL).unwrap_or(at);
            self.shown += at;
            cell.text(&text[..at], is_error);
            let mark = format!(
                "\n… output is cut here: this cell has printed {}; what follows is left out, but for its end\n",
                size(self.shown)
            );
            cell.text(&mark, true);
            self.cut = Some(Cut::default());
            return self.hide(&text[at..], is_error);
        }
        self.hide(text, is_error);
    }

    fn hide(&mut self, text: &str, is_error: bool) {
        let Some(cut) = &mut self.cut else { return };
        cut.bytes += text.len();
        cut.lines += text.bytes().filter(|byte| *byte == b'\n').count();
        cut.is_error = is_error;
        cut.tail.extend_from_slice(text.as_bytes());
        if cut.tail.len() > 4 * TAIL {
            cut.tail.drain(..cut.tail.len() - TAIL);
        }
    }

    /// The cell has ended: shows the end of what was left out.
    pub fn end(&mut self, cell: &dyn Cell) {
        let Some(cut) = self.cut.take() else { return };
        let from = cut.tail.len().saturating_sub(TAIL);
        let tail = String::from_utf8_lossy(&cut.tail[from..]);
        // From the beginning of a line, where there is one.
        let tail = tail.split_once('\n').map(|(_, rest)| rest).filter(|rest| !rest.trim().is_empty()).unwrap_or(&tail);
        let left_out = cut.bytes - tail.len().min(cut.bytes);
        let lines = if cut.lines > 1 { format!(" in {} lines", cut.lines) } else { String::new() };
        cell.text(&format!("… {}{lines} left out; the end:\n", size(left_out)), true);
        cell.text(tail, cut.is_error);
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
    use serde_json::Value;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Screen(Mutex<String>);

    impl Cell for Screen {
        fn text(&self, text: &str, _: bool) {
            self.0.lock().unwrap().push_str(text);
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
    fn the_beginning_and_the_end_are_shown_and_what_is_missing_is_said() {
        let (screen, mut shown) = (Screen::default(), Limit::default());
        for i in 0..1_000_000 {
            shown.show(&screen, &format!("line {i}\n"), false);
        }
        shown.end(&screen);
        let text = screen.0.lock().unwrap().clone();
        assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("line 999999\n"));
        assert!(text.contains("output is cut here: this cell has printed 1.0 MB"), "the mark");
        assert!(text.contains(" lines left out; the end:\n"));
        assert!(text.len() < HEAD + TAIL + 500);
    }

    #[test]
    fn what_is_within_the_limit_is_shown_as_it_is() {
        let (screen, mut shown) = (Screen::default(), Limit::default());
        shown.show(&screen, "a", false);
        shown.end(&screen);
        assert_eq!(*screen.0.lock().unwrap(), "a");
    }
}
