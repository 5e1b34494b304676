//! Holds back what Rust prints about a panic. If the panic ended the cell, that text becomes the error of the cell; if
//! the panic was caught, it is ordinary output. Which of the two is known only when the cell goes on or ends.

use super::super::errors::is_panic_head;
use std::time::{Duration, Instant};

/// A panic is taken for caught if the cell has not ended this long after it.
const CAUGHT_AFTER: Duration = Duration::from_millis(300);

/// The text of standard error that is held back.
#[derive(Default)]
pub struct PanicText {
    /// An unfinished line that may become the first line about a panic.
    line: String,
    /// The first line about a panic, and all text after it.
    held: String,
    /// When the panic was seen; None if none is held back.
    since: Option<Instant>,
    /// Empty lines before `line`. They are held back because Rust prints one before it reports a panic.
    newlines: usize,
    /// What was printed about the last panic that was taken for caught.
    last: Vec<String>,
}

impl PanicText {
    /// Takes text, and returns the text that can be shown now.
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

    /// Returns the text that must be shown before anything else is. What was printed about a panic stays held back.
    pub fn give_way(&mut self) -> String {
        if self.since.is_none() { self.line() } else { String::new() }
    }

    fn line(&mut self) -> String {
        "\n".repeat(std::mem::take(&mut self.newlines)) + &std::mem::take(&mut self.line)
    }

    /// Whether text is held back.
    pub fn is_held(&self) -> bool {
        self.since.is_some() || self.newlines > 0 || !self.line.is_empty()
    }

    /// Returns the text that is not held back any longer, because nothing more has come for a while.
    pub fn settle(&mut self) -> String {
        match self.since {
            None => self.line(),
            Some(since) if since.elapsed() > CAUGHT_AFTER => {
                self.since = None;
                let held = std::mem::take(&mut self.held);
                self.last = lines(&held);
                format!("\n{held}")
            }
            Some(_) => String::new(),
        }
    }

    /// Returns the lines about the last panic of the cell, which has ended.
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
    fn only_the_text_from_a_panic_on_is_held_back() {
        let mut text = PanicText::default();
        assert_eq!(text.take("a\nb"), "a\nb");
        assert_eq!(text.take("\n"), "");
        assert_eq!(text.take(&format!("\n{HEAD}boom\n")), "\n");
        assert!(text.is_held());
        assert_eq!(text.end(), [HEAD.trim(), "boom"]);
        assert!(!text.is_held());
    }

    #[test]
    fn lines_that_only_begin_like_a_panic_are_shown() {
        let mut text = PanicText::default();
        assert_eq!(text.take("thread"), "");
        assert_eq!(text.settle(), "thread");
        assert_eq!(text.take("threads\nthread 'x' is well\n"), "threads\nthread 'x' is well\n");
        assert_eq!(text.take("\n\nx"), "\n\nx");
    }
}
