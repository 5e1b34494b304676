//! The magics. `commands` holds them, with one folder or file each; the other modules are the framework that they
//! share.
//!
//! The kernel first passes the text of a magic to [`Magics::parse`], which reports errors in the text without running
//! anything. Later it calls [`Magics::run`] with an [`Output`] for results and an [`Interrupt`] that stops the magic.

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
pub use files::write_whole;
pub use host::{Bundle, Interrupt, Output, RESULT_MIME, Stream, session};
pub use magic::{CommandLineMagic, MagicBody, Settings};
pub use report::table::TEXT_COLUMNS;
pub use syntax::{duration, quoted_word};

use commands::{CATALOGUE, workload};
use host::WithPng;
use magic::Context;
use std::sync::Arc;
use tunebook_prebuilt::{BuildInputs, CellCrate, Sources};

/// The magics of one kernel, with the state that they share.
pub struct Magics {
    context: Arc<Context>,
}

/// A magic that was parsed and can be run.
pub struct Parsed(Box<dyn magic::Command>);

impl Magics {
    /// Creates the magics. The store is not opened and no process is started yet.
    pub fn new(settings: Settings) -> Self {
        Self { context: Context::new(settings, CATALOGUE) }
    }

    /// Parses one magic: a whole cell that begins with `%%`, or one line that begins with `%` or `?` or ends with `?`.
    /// `first_line` is its line in the cell, counted from 0, for error messages.
    pub fn parse(&self, text: &str, first_line: usize) -> Result<Parsed, MagicError> {
        commands::parse(text, first_line).map(Parsed).map_err(MagicError::naming_lookalikes)
    }

    /// Runs a magic to its end, or until the interrupt is raised; then the error is `Interrupted`.
    pub fn run(&self, parsed: Parsed, output: &dyn Output, interrupt: &Interrupt) -> Result<(), MagicError> {
        self.context.update_environment(output);
        let result = match self.context.config.charts_png() {
            true => parsed.0.run(&self.context, &WithPng::new(output), interrupt),
            false => parsed.0.run(&self.context, output, interrupt),
        };
        self.context.update_environment(output);
        result.map_err(MagicError::naming_lookalikes)
    }

    /// Whether there is a magic with this name.
    pub fn knows(&self, name: &str) -> bool {
        CATALOGUE.find(name).is_some()
    }

    /// The completions at a cursor in a line magic or cell magic, or None if the cursor is in Rust. `cursor` counts
    /// Unicode code points.
    pub fn complete(&self, code: &str, cursor: usize, names: Names<'_>) -> Option<Completions> {
        completion::complete(&self.context, code, cursor, names)
    }

    /// The help for the word at the cursor of a magic, as text and sometimes Markdown. None if there is none, or if the
    /// cursor is not in a magic. `cursor` counts Unicode code points.
    pub fn inspect(&self, code: &str, cursor: usize) -> Option<Bundle> {
        completion::inspect(&self.context, code, cursor)
    }

    /// Compiles what every `%%workload` needs, so that the first one need not wait for it. Returns what the crates of
    /// Rust cells are built from.
    pub fn prepare(&self, output: &dyn Output, interrupt: &Interrupt) -> Result<BuildInputs, MagicError> {
        let build_cache = workload::BuildCache::open(&self.context)?;
        build_cache.prepare(output, interrupt)?;
        let sources = Sources::open(self.cache())?;
        let (tunebook, lock_file) = (CellCrate::tunebook_with_tensors(&sources), sources.lock_file());
        Ok(BuildInputs { tunebook, lock_file, libtorch: self.context.libtorch()? })
    }

    /// The folder in which workloads and crates for cells are built.
    pub fn cache(&self) -> &std::path::Path {
        &self.context.settings.cache
    }

    /// The crates of Tunebook and of workloads that a Rust cell names. The kernel adds them without `:dep`.
    pub fn crates_for(&self, code: &str) -> Result<Vec<CellCrate>, MagicError> {
        workload::crates_for(&self.context, code)
    }

    /// Adds an HTML form to a Plotly figure that has none, after it has sent the script that draws it.
    pub fn complete_figure(&self, bundle: &mut Bundle, output: &dyn Output) {
        report::complete_figure(bundle, &self.context.charts, output);
    }

    /// Call this when a cell begins to run, before its first magic. `deleted` are the cells that the user has deleted.
    pub fn begin_cell(&self, output: &dyn Output, deleted: &[String]) {
        self.context.charts.begin(output, deleted);
    }

    /// Call this when a cell has cleared its output.
    pub fn output_cleared(&self, output: &dyn Output) {
        if let Some(cell) = output.cell() {
            self.context.charts.lose(&cell);
        }
    }

    /// A study with all its trials as JSON, for `tunebook::study` in Rust cells.
    pub fn study_as_json(&self, name: &str) -> Result<serde_json::Value, MagicError> {
        studies::study_as_json(&self.context, name)
    }

    /// Ends the sweeps in the background, the slots of the pool, and the processes of shell commands with all that they
    /// left running. The kernel calls this when it shuts down.
    pub fn shutdown(&self) {
        self.context.background.stop_all();
        shell::end_all();
        self.context.pool.lock().take();
    }
}

/// The magics that can be used on the command line, without a notebook.
pub fn command_line_magics() -> impl Iterator<Item = CommandLineMagic> {
    CATALOGUE.0.iter().filter_map(magic::Magic::on_command_line)
}

/// Whether a line of a cell asks for the help of a magic or the documentation of a Rust name. `alone` says that it is
/// the only line of its cell.
pub fn asks(line: &str, alone: bool) -> bool {
    magic::asks(CATALOGUE, line, alone)
}

/// The span of the code, in bytes, in a magic that runs Rust in the process of the Rust cells: `f()` in `%time f()`,
/// the body in `%%time`. None for other magics.
pub fn rust_in(text: &str) -> Option<std::ops::Range<usize>> {
    CATALOGUE.rust_in(text)
}

/// The Rust in a magic that completion and inspection look at, as its span in bytes. `true` says that it is the body of
/// a `%%workload`, in which the names of [`WORKLOAD_NAMES`] are in scope.
pub fn rust_to_inspect(text: &str) -> Option<(std::ops::Range<usize>, bool)> {
    CATALOGUE.rust_to_inspect(text)
}

/// The names that are in scope in the body of a `%%workload`.
pub const WORKLOAD_NAMES: &str = "use tunebook_training::prelude::*; ";
