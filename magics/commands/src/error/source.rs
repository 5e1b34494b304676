//! The text of a magic and places in it.

use super::{ErrorName, MagicError};
use std::sync::Arc;

/// Byte offsets into the text of a magic.
pub type Span = std::ops::Range<usize>;

/// A piece with the place where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A piece at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// The text of one magic as it stands in its cell.
#[derive(Clone, Debug)]
pub struct Source {
    text: Arc<str>,
    first_line: usize,
}

impl Source {
    /// `first_line`: the line of the cell, from 0, on which the text begins.
    pub fn new(text: &str, first_line: usize) -> Self {
        Self { text: text.into(), first_line }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of the cell on which the text begins, from 0.
    pub fn first_line(&self) -> usize {
        self.first_line
    }

    /// A `SyntaxError` that points at a place.
    pub fn syntax_error(&self, span: Span, message: impl Into<String>, help: Option<String>) -> MagicError {
        self.error(ErrorName::SyntaxError, span, message, help)
    }

    /// An error that points at a place and needs no words beside it.
    pub fn error(&self, name: ErrorName, span: Span, message: impl Into<String>, help: Option<String>) -> MagicError {
        // An empty span (the end of a line) still needs a character to stand under.
        let span = if span.is_empty() { span.start.saturating_sub(1)..span.end.max(1) } else { span };
        MagicError::at(name, self, span, message, "here", help)
    }
}
