//! A line that says what a magic is doing.

use super::{Report, element_id};
use crate::host::{Bundle, Output, plain};
use std::time::{Duration, Instant};

/// The shortest time between two updates of the line.
const REFRESH: Duration = Duration::from_millis(300);

/// A display with one line that says what a magic is doing. The result of the magic replaces it.
pub struct Status<'a> {
    output: &'a dyn Output,
    id: String,
    /// The time of the last update, or None if the line is not shown yet.
    shown: Option<Instant>,
}

impl<'a> Status<'a> {
    /// Creates a line that is not shown yet.
    pub fn new(output: &'a dyn Output) -> Self {
        Self { output, id: element_id(), shown: None }
    }

    /// Shows a text, unless the last update was just now.
    pub fn say(&mut self, text: &str) {
        if self.shown.is_none_or(|at| at.elapsed() >= REFRESH) {
            self.show(plain(text));
        }
    }

    /// Replaces the line by a result.
    pub fn end(mut self, report: Report) {
        self.show(report.bundle_for(self.output));
    }

    /// Removes the line.
    pub fn clear(mut self) {
        if self.shown.is_some() {
            self.show(plain(""));
        }
    }

    fn show(&mut self, bundle: Bundle) {
        match self.shown.replace(Instant::now()) {
            None => self.output.display(bundle, Some(&self.id)),
            Some(_) => self.output.update(bundle, &self.id),
        }
    }
}
