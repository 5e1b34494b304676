//! What a magic may ask of the session that it runs in: the Rust side of the kernel, the inputs so far, the next cell.
//! The kernel stands behind it, as it does behind [`Output`]; a test can stand in.

use super::{Bundle, Output};
use crate::error::{ErrorName, MagicError, Result};
use std::path::Path;
use std::time::Duration;

/// The session behind a cell.
pub trait Session: Send + Sync {
    /// Runs Rust as the cell would; `first_line` is its line in the cell, from 0, for messages. Text goes to the cell, or, where
    /// `quiet`, into the answer alone; if it then fails, what was printed until it did goes to the cell.
    fn run(&self, code: &str, first_line: usize, quiet: bool) -> Result<Ran>;
    /// Variables of Rust cells, sorted by name.
    fn variables(&self) -> Result<Vec<Variable>>;
    /// Items (functions, types, imports, …) of Rust cells, sorted by name.
    fn items(&self) -> Result<Vec<Item>>;
    /// Forgets variables and items; gives the names that there were.
    fn forget(&self, names: &[String]) -> Result<Vec<String>>;
    /// Forgets all variables, items and dependencies; what was built stays.
    fn reset(&self) -> Result<()>;
    /// The dependencies that cells added: name, and what stands behind `=` in a manifest.
    fn dependencies(&self) -> Result<Vec<(String, String)>>;
    /// Documentation of a name or path, as a bundle; `None` where nothing is known of it.
    fn documentation(&self, path: &str) -> Result<Option<Bundle>>;
    /// The working directory of kernel, cells and shell from here on.
    fn change_directory(&self, folder: &Path) -> Result<()>;
    /// A variable of the environment of cells, shell and programs from here on; `None` takes it away.
    fn set_environment(&self, name: &str, value: Option<&str>) -> Result<()>;
    /// The environment that the shell and programs get beside the kernel's own; `None`: taken away.
    fn environment(&self) -> Vec<(String, Option<String>)>;
    /// Cells that were run, oldest first. `session` 0 is this one, -1 the one before.
    fn inputs(&self, session: i64) -> Result<Vec<Input>>;
    /// The front end's id of the cell that was run with this execution count, where that is known: what was run again can then be
    /// told from what was run beside it.
    fn cell_of(&self, _line: u64) -> Option<String> {
        None
    }
    /// Proposes a next cell; `replace`: in place of this one.
    fn next_input(&self, text: &str, replace: bool);
}

/// The session of an output, for a magic that cannot do without one.
pub fn required(output: &dyn Output) -> Result<&dyn Session> {
    output.session().ok_or_else(|| {
        let help = "run it in a cell of a notebook or of a console".to_string();
        MagicError::new(ErrorName::NoSession, "there is no session here that this magic could act on", Some(help))
    })
}

/// What running Rust brought.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// The value of the last expression.
    pub value: Option<Bundle>,
    /// What was printed, where it was to be quiet.
    pub stdout: String,
    /// What was printed to standard error, where it was to be quiet.
    pub stderr: String,
    /// What was displayed, where it was to be quiet.
    pub displays: Vec<Bundle>,
    /// Until it ran: analysis and compiler.
    pub compile: Duration,
    /// The run itself.
    pub run: Duration,
    /// Processor time of the run: of the cell's code, and of the system for it.
    pub processor: Option<(Duration, Duration)>,
}

/// A variable of Rust cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type as Rust writes it.
    pub kind: String,
}

/// An item of Rust cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Its source.
    pub code: String,
}

/// A cell that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its execution count.
    pub line: u64,
    /// Its code.
    pub code: String,
    /// Whether it ended well.
    pub succeeded: bool,
}
