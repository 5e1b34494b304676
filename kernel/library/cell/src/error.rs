//! Why something could not be done.

use std::fmt;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done: the name of the error, as a cell shows it, and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    name: String,
    message: String,
}

impl Error {
    pub(crate) fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into() }
    }

    /// `UnknownStudy`, `Interrupted`, …: what the kernel's reference lists.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl std::error::Error for Error {}
