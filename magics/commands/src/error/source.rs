//! The text of a magic, and spans in it.

use super::{ErrorName, MagicError};
use std::sync::Arc;

/// A range of byte offsets in the text of a magic.
pub type Span = std::ops::Range<usize>;

/// A parsed value with its span in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// The text of one magic, with its line in the cell.
#[derive(Clone, Debug)]
pub struct Source {
    text: Arc<str>,
    first_line: usize,
}

impl Source {
    /// `first_line` is the line of the cell on which the text begins, counted from 0.
    pub fn new(text: &str, first_line: usize) -> Self {
        Self { text: text.into(), first_line }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of the cell on which the text begins, counted from 0.
    pub fn first_line(&self) -> usize {
        self.first_line
    }

    /// A `SyntaxError` that points at a span.
    pub fn syntax_error(&self, span: Span, message: impl Into<String>, help: Option<String>) -> MagicError {
        self.error(ErrorName::SyntaxError, span, message, help)
    }

    /// An error that points at a span, with the label "here".
    pub fn error(&self, name: ErrorName, span: Span, message: impl Into<String>, help: Option<String>) -> MagicError {
        // An empty span (the end of a line) is widened, because ariadne underlines at least one character.
        let span = if span.is_empty() { span.start.saturating_sub(1)..span.end.max(1) } else { span };
        MagicError::at(name, self, span, message, "here", help)
    }
}
