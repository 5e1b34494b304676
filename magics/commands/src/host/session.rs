//! What a magic can ask of its session: to run Rust, the variables and items of Rust cells, the history of inputs, the
//! environment, and the next cell.

use super::{Bundle, Output};
use crate::error::{ErrorName, MagicError, Result};
use std::path::Path;
use std::time::Duration;

/// The session behind a cell.
pub trait Session: Send + Sync {
    /// Runs Rust like a cell does. `first_line` is the line of the cell on which the code begins, counted from 0;
    /// messages of the compiler use it. If `quiet`, output is returned and not shown, but if the code fails, it is
    /// shown.
    fn run(&self, code: &str, first_line: usize, quiet: bool) -> Result<Ran>;
    /// The variables of Rust cells, sorted by name.
    fn variables(&self) -> Result<Vec<Variable>>;
    /// The items (functions, types, imports, …) of Rust cells, sorted by name.
    fn items(&self) -> Result<Vec<Item>>;
    /// Deletes variables and items. Returns the names of those that existed.
    fn forget(&self, names: &[String]) -> Result<Vec<String>>;
    /// Deletes all variables, items and dependencies. What was compiled is kept in the cache.
    fn reset(&self) -> Result<()>;
    /// The dependencies that cells added: the name, and the TOML value that follows `=` in a manifest.
    fn dependencies(&self) -> Result<Vec<(String, String)>>;
    /// The text of the `Cargo.lock` with which cells were built, or None if there is none.
    fn lock_file(&self) -> Result<Option<String>>;
    /// The documentation of a name or path, or None if there is none.
    fn documentation(&self, path: &str) -> Result<Option<Bundle>>;
    /// Changes the working directory of the kernel, of cells and of shell commands.
    fn change_directory(&self, folder: &Path) -> Result<()>;
    /// Sets an environment variable of cells, shell commands and programs, or removes it if `value` is None.
    fn set_environment(&self, name: &str, value: Option<&str>) -> Result<()>;
    /// The changes to the kernel's own environment that shell commands and programs get. A variable with None is
    /// removed.
    fn environment(&self) -> Vec<(String, Option<String>)>;
    /// The cells that were run in a session, the oldest first. Session 0 is this one, -1 the one before.
    fn inputs(&self, session: i64) -> Result<Vec<Input>>;
    /// The front end's id of the cell that was run with this execution count, or None if it is unknown. Inputs with the
    /// same id are runs of the same cell.
    fn cell_of(&self, _execution_count: u64) -> Option<String> {
        None
    }
    /// Puts text into a new cell below this one, or into this one if `replace`.
    fn next_input(&self, text: &str, replace: bool);
}

/// The session of an output. It is the error `NoSession` if there is none.
pub fn required(output: &dyn Output) -> Result<&dyn Session> {
    output.session().ok_or_else(|| {
        let help = "run it in a cell of a notebook or of a console".to_string();
        MagicError::new(ErrorName::NoSession, "this magic needs a session, and there is none here", Some(help))
    })
}

/// The result of running Rust.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// The value of the last expression, if there is one.
    pub value: Option<Bundle>,
    /// What was printed to standard output, if the run was quiet.
    pub stdout: String,
    /// What was printed to standard error, if the run was quiet.
    pub stderr: String,
    /// What was displayed, if the run was quiet.
    pub displays: Vec<Bundle>,
    /// The time before the run, for the analysis of the code and the compiler.
    pub compile: Duration,
    /// The wall time of the run.
    pub run: Duration,
    /// The processor time of the run, in user mode and in the system. None if it is unknown.
    pub processor: Option<(Duration, Duration)>,
}

/// A variable of Rust cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// The type in Rust's syntax.
    pub kind: String,
}

/// An item (a function, type, import, …) of Rust cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub code: String,
}

/// A cell that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The execution count.
    pub line: u64,
    pub code: String,
    /// Whether the cell ended without an error.
    pub succeeded: bool,
}
