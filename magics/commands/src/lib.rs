//! The magics: one file each, which parses its line, acts, and reports.
//!
//! The kernel hands over the text of a magic ([`Magics::parse`]), learns at once whether it can be understood, and
//! runs it later ([`Magics::run`]) with an [`Output`] to show results on and an [`Interrupt`] to be stopped by.

mod commands;
mod completion;
pub mod error;
mod files;
pub mod host;
mod inputs;
mod magic;
mod probing;
mod process;
mod report;
mod rust;
pub mod shell;
mod studies;
mod syntax;
#[cfg(test)]
mod testing;

pub use completion::{Completions, Names};
pub use error::{ErrorName, MagicError, page_colors};
pub use host::{Bundle, Interrupt, Output, RESULT_MIME, Stream, session};
pub use magic::Settings;

use commands::{CATALOGUE, workload};
use magic::Context;
use tunebook_prebuilt::{BuildInputs, CellCrate, Sources};

/// What the magics of one kernel share.
pub struct Magics {
    context: Context,
}

/// A magic that was understood and can be run.
pub struct Parsed(Box<dyn magic::Command>);

impl Magics {
    /// Magics over a store and a worker; nothing is opened or started yet.
    pub fn new(settings: Settings) -> Self {
        Self { context: Context::new(settings, CATALOGUE) }
    }

    /// Understands one magic: a whole cell that begins with `%%`, or one line that begins with `%` or `?`, or ends in `?`.
    /// `first_line` is its line in the cell, from 0, for the error message.
    pub fn parse(&self, text: &str, first_line: usize) -> Result<Parsed, MagicError> {
        commands::parse(text, first_line).map(Parsed)
    }

    /// Runs it to the end, or until the interrupt is raised (then the error's name is `Interrupted`).
    pub fn run(&self, parsed: Parsed, output: &dyn Output, interrupt: &Interrupt) -> Result<(), MagicError> {
        self.context.learn_environment(output);
        let result = parsed.0.run(&self.context, output, interrupt);
        self.context.learn_environment(output);
        result
    }

    /// Whether there is a magic of this name.
    pub fn knows(&self, name: &str) -> bool {
        CATALOGUE.find(name).is_some()
    }

    /// Candidates at a cursor inside a magic line or cell magic; `None` where the cursor is in Rust.
    pub fn complete(&self, code: &str, cursor: usize, names: Names<'_>) -> Option<Completions> {
        completion::complete(&self.context, code, cursor, names)
    }

    /// Help (text/plain, text/markdown) for the word at the cursor of a magic; `None` where there is none.
    pub fn inspect(&self, code: &str, cursor: usize) -> Option<Bundle> {
        completion::inspect(&self.context, code, cursor)
    }

    /// Builds what every `%%workload` needs, and returns what the crates of Rust cells are built from.
    pub fn prepare(&self, output: &dyn Output, interrupt: &Interrupt) -> Result<BuildInputs, MagicError> {
        let workshop = workload::Workshop::open(&self.context)?;
        workshop.prepare(output, interrupt)?;
        let sources = Sources::open(self.cache())?;
        let (tunebook, lock_file) = (CellCrate::tunebook_with_tensors(&sources), sources.lock_file());
        Ok(BuildInputs { tunebook, lock_file, libtorch: self.context.libtorch()? })
    }

    /// Where things are built.
    pub fn cache(&self) -> &std::path::Path {
        &self.context.settings.cache
    }

    /// The crates that a Rust cell names, which it can use without asking for them.
    pub fn crates_for(&self, code: &str) -> Result<Vec<CellCrate>, MagicError> {
        workload::crates_for(&self.context, code)
    }

    /// Gives a Plotly figure of a cell an HTML form if it has none, and sends the script that draws it first.
    pub fn complete_figure(&self, bundle: &mut Bundle, output: &dyn Output) {
        report::complete_figure(bundle, &self.context.charts, output);
    }

    /// A study with all its trials, for the Rust cell that asks for it.
    pub fn study_as_json(&self, name: &str) -> Result<serde_json::Value, MagicError> {
        studies::study_as_json(&self.context, name)
    }

    /// Ends the slots that are kept warm, and what commands left running; called when the kernel shuts down.
    pub fn shutdown(&self) {
        shell::end_background();
        self.context.pool.lock().take();
    }
}

/// Whether a line of a cell asks for help, about a magic or a name of Rust. `alone`: it is the only line of its cell.
pub fn asks(line: &str, alone: bool) -> bool {
    magic::asks(CATALOGUE, line, alone)
}

/// Where Rust stands in a magic that runs Rust among the other cells, in bytes of its text: the code of `%time f()`, the body
/// of `%%time`.
pub fn rust_in(text: &str) -> Option<std::ops::Range<usize>> {
    CATALOGUE.rust_in(text)
}
