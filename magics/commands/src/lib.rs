//! The magics: one file each, which parses its line, acts, and reports.
//!
//! The kernel hands over the text of a magic ([`Magics::parse`]), learns at once whether it can be understood, and
//! runs it later ([`Magics::run`]) with an [`Output`] to show results on and an [`Interrupt`] to be stopped by.

pub mod error;
pub mod interrupt;
pub mod output;
mod syntax;

pub use error::MagicError;
pub use interrupt::Interrupt;
pub use output::{Bundle, Output, RESULT_MIME, Stream};

use std::path::PathBuf;

/// What the magics of one kernel share.
pub struct Magics {
    #[allow(dead_code)]
    settings: Settings,
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store's file; made with its folder when the first study is written.
    pub store: PathBuf,
    /// The command that starts a slot (`tunebook slot`).
    pub slot: Vec<String>,
    /// The worker's executable.
    pub worker: PathBuf,
}

/// A magic that was understood and can be run.
pub struct Parsed {}

/// Candidates for what stands before the cursor. Positions count unicode code points, as Jupyter does.
#[derive(Clone, Debug, PartialEq)]
pub struct Completions {
    /// Where the text to replace begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The candidates with their kind (`magic`, `option`, `study`, `hyperparameter`, `workload`, `metric`).
    pub matches: Vec<(String, &'static str)>,
}

impl Magics {
    /// Magics over a store and a worker; nothing is opened or started yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Understands one magic: a whole cell that begins with `%%`, or one line that begins with `%` or `?`, or ends in `?`.
    /// `first_line` is its line in the cell, from 0, for the error message.
    pub fn parse(&self, _text: &str, _first_line: usize) -> Result<Parsed, MagicError> {
        Ok(Parsed {})
    }

    /// Runs it to the end, or until the interrupt is raised (then the error's name is `Interrupted`).
    pub fn run(&self, _parsed: Parsed, _output: &dyn Output, _interrupt: &Interrupt) -> Result<(), MagicError> {
        Ok(())
    }

    /// Candidates at a cursor inside a magic line or cell magic; `None` where the cursor is in Rust.
    pub fn complete(&self, _code: &str, _cursor: usize) -> Option<Completions> {
        None
    }

    /// Help (text/plain, text/markdown) for the word at the cursor of a magic; `None` where there is none.
    pub fn inspect(&self, _code: &str, _cursor: usize) -> Option<Bundle> {
        None
    }

    /// Ends what still runs in the background; called when the kernel shuts down.
    pub fn shutdown(&self) {}
}
