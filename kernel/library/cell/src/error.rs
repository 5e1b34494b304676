//! The error of functions that ask the kernel or the user.

use std::fmt;

/// A result with the error of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error with the name that the error of a cell has, and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    name: String,
    message: String,
}

impl Error {
    pub(crate) fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into() }
    }

    /// The name, such as `UnknownStudy` or `Interrupted`. Tunebook's reference lists all names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong and what to do about it.
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
