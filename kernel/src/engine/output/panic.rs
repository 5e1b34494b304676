//! What Rust prints of a panic. It becomes the error of the cell if the cell ended by it, and is text like any other otherwise;
//! which of the two is known only later.

use super::super::errors::is_panic_head;
use std::time::{Duration, Instant};

/// A cell that has not ended so long after a panic was not ended by it.
const CAUGHT: Duration = Duration::from_millis(300);

/// See the module.
#[derive(Default)]
pub struct PanicText {
    /// A line that has not ended, as far as it may be the head of a panic.
    line: String,
    /// The head of a panic and what came after it.
    held: String,
    since: Option<Instant>,
    /// Empty lines: one stands before a panic.
    newlines: usize,
    last: Vec<String>,
}

impl PanicText {
    /// Takes text; gives what is to be shown now.
    pub fn take(&mut self, text: &str) -> String {
        let mut shown = String::new();
        for piece in text.split_inclusive('\n') {
            if self.since.is_some() {
                self.held.push_str(piece);
                continue;
            }
            self.line.push_str(piece);
            let may_be_head = "thread '".starts_with(self.line.as_str()) || self.line.starts_with("thread '");
            match piece.ends_with('\n') {
                true if self.line == "\n" => {
                    self.newlines += 1;
                    self.line.clear();
                }
                true if is_panic_head(&self.line) => {
                    shown.push_str(&"\n".repeat(self.newlines.saturating_sub(1)));
                    self.newlines = 0;
                    self.held = std::mem::take(&mut self.line);
                    self.since = Some(Instant::now());
                }
                ended if ended || !may_be_head => shown.push_str(&self.line()),
                _ => {}
            }
        }
        shown
    }

    fn line(&mut self) -> String {
        "\n".repeat(std::mem::take(&mut self.newlines)) + &std::mem::take(&mut self.line)
    }

    /// Whether something waits.
    pub fn is_held(&self) -> bool {
        self.since.is_some() || self.newlines > 0 || !self.line.is_empty()
    }

    /// Nothing has come for a while: gives what is to be shown after all.
    pub fn settle(&mut self) -> String {
        match self.since {
            None => self.line(),
            Some(since) if since.elapsed() > CAUGHT => {
                self.since = None;
                let held = std::mem::take(&mut self.held);
                self.last = lines(&held);
                format!("\n{held}")
            }
            Some(_) => String::new(),
        }
    }

    /// The cell has ended: what was printed of its last panic.
    pub fn end(&mut self) -> Vec<String> {
        let held = std::mem::take(&mut self.held);
        let last = std::mem::take(&mut self.last);
        match self.since.take() {
            Some(_) => lines(&held),
            None => last,
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "thread 'main' (7) panicked at src/lib.rs:3:4:\n";

    #[test]
    fn a_panic_is_held_back_and_text_before_it_is_not() {
        let mut text = PanicText::default();
        assert_eq!(text.take("a\nb"), "a\nb");
        assert_eq!(text.take("\n"), "");
        assert_eq!(text.take(&format!("\n{HEAD}boom\n")), "\n");
        assert!(text.is_held());
        assert_eq!(text.end(), [HEAD.trim(), "boom"]);
        assert!(!text.is_held());
    }

    #[test]
    fn lines_that_only_begin_like_one_are_shown() {
        let mut text = PanicText::default();
        assert_eq!(text.take("thread"), "");
        assert_eq!(text.settle(), "thread");
        assert_eq!(text.take("threads\nthread 'x' is well\n"), "threads\nthread 'x' is well\n");
        assert_eq!(text.take("\n\nx"), "\n\nx");
    }
}
