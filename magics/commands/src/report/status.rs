//! One line that says what a magic is doing, in a display that its result replaces.

use super::element_id;
use crate::host::{Bundle, Output, plain};
use std::time::{Duration, Instant};

/// The line is not replaced more often than this.
const REFRESH: Duration = Duration::from_millis(300);

/// See the module.
pub struct Status<'a> {
    output: &'a dyn Output,
    id: String,
    /// When it was brought up to date; `None`: it is not shown yet.
    shown: Option<Instant>,
}

impl<'a> Status<'a> {
    /// A display that is not shown yet.
    pub fn new(output: &'a dyn Output) -> Self {
        Self { output, id: element_id(), shown: None }
    }

    /// Says something, unless something else was said a moment ago.
    pub fn say(&mut self, text: &str) {
        if self.shown.is_none_or(|at| at.elapsed() >= REFRESH) {
            self.show(plain(text));
        }
    }

    /// Ends with a result.
    pub fn end(mut self, bundle: Bundle) {
        self.show(bundle);
    }

    /// Ends with nothing.
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
