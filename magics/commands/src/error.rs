//! What a magic says when it cannot do what it was asked.

use std::fmt;

/// An error of a magic, rendered: what the user wrote, where, why it cannot be, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct MagicError {
    /// `ename` of the Jupyter error: `SyntaxError`, `UnknownHyperparameter`, `StudyExists`, `Interrupted`, …
    pub name: &'static str,
    /// `evalue`: the message in one line.
    pub message: String,
    /// The coloured text that stands in the notebook, line by line.
    pub traceback: Vec<String>,
}

impl fmt::Display for MagicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl std::error::Error for MagicError {}
