//! A session for tests: it keeps what it was asked, and answers what it was told to, or compiles the Rust and runs it.

use super::Statements;
use crate::context::{Context, Settings};
use crate::error::{MagicError, Result};
use crate::interrupt::Interrupt;
use crate::output::{Bundle, Output, Stream, plain};
use crate::session::{Input, Item, Ran, Session, Variable};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use syn::Stmt;

/// Cells that ran before: items, statements, and statements that prove afterwards that the variables are still there.
#[derive(Clone, Copy)]
pub struct Cells {
    pub items: &'static str,
    pub before: &'static str,
    pub after: &'static str,
}

/// Something that was shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Display(Bundle),
    Page(Bundle),
    Out(String),
    Err(String),
}

/// See the module.
#[derive(Default)]
pub struct Fake {
    pub variables: Vec<Variable>,
    pub items: Vec<Item>,
    pub inputs: Vec<Input>,
    pub dependencies: Vec<(String, String)>,
    pub documented: Vec<(&'static str, &'static str)>,
    pub forgotten: Mutex<Vec<String>>,
    pub answers: Mutex<VecDeque<Result<Ran>>>,
    pub cells: Option<Cells>,
    pub runs: Mutex<Vec<(String, usize, bool)>>,
    pub shown: Mutex<Vec<Shown>>,
}

impl Fake {
    /// One that answers its runs in this order.
    pub fn answering(answers: impl IntoIterator<Item = Result<Ran>>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    /// One that compiles what it is to run, beside other cells, and runs it.
    pub fn running(cells: Cells) -> Self {
        Self { cells: Some(cells), ..Self::default() }
    }

    /// With variables of these names and types.
    pub fn with_variables(mut self, variables: &[(&str, &str)]) -> Self {
        let variable = |(name, kind): &(&str, &str)| Variable { name: name.to_string(), kind: kind.to_string() };
        self.variables = variables.iter().map(variable).collect();
        self
    }

    /// With items of these names and sources.
    pub fn with_items(mut self, items: &[(&str, &str)]) -> Self {
        let item = |(name, code): &(&str, &str)| Item { name: name.to_string(), code: code.to_string() };
        self.items = items.iter().map(item).collect();
        self
    }

    /// With cells that were run.
    pub fn with_inputs(mut self, inputs: &[&str]) -> Self {
        let input = |(i, code): (usize, &&str)| Input { line: i as u64 + 1, code: code.to_string(), succeeded: true };
        self.inputs = inputs.iter().enumerate().map(input).collect();
        self
    }

    /// What was run: code, first line, whether it was to be quiet.
    pub fn runs(&self) -> Vec<(String, usize, bool)> {
        self.runs.lock().unwrap().clone()
    }

    /// What was shown, but for empty text.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap().clone()
    }

    /// What was printed to standard output.
    pub fn text(&self) -> String {
        let shown = self.shown().into_iter();
        shown.filter_map(|shown| if let Shown::Out(text) = shown { Some(text) } else { None }).collect()
    }

    fn show(&self, shown: Shown) {
        self.shown.lock().unwrap().push(shown);
    }
}

/// Understands and runs a magic in the session.
pub fn run(text: &str, fake: &Fake) -> Result<()> {
    let nowhere = PathBuf::from("/nowhere");
    let cache = std::env::temp_dir().join("tunebook-tests");
    let settings = Settings { store: nowhere.clone(), slot: vec![], worker: nowhere, cache };
    crate::registry::parse(text, 0)?.run(&Context::new(settings), fake, &Interrupt::default())
}

impl Output for Fake {
    fn display(&self, bundle: Bundle, _: Option<&str>) {
        self.show(Shown::Display(bundle));
    }

    fn update(&self, bundle: Bundle, _: &str) {
        self.show(Shown::Display(bundle));
    }

    fn print(&self, stream: Stream, text: &str) {
        match stream {
            _ if text.is_empty() => {}
            Stream::Stdout => self.show(Shown::Out(text.into())),
            Stream::Stderr => self.show(Shown::Err(text.into())),
        }
    }

    fn page(&self, bundle: Bundle) {
        self.show(Shown::Page(bundle));
    }

    fn cell_id(&self) -> Option<String> {
        None
    }

    fn session(&self) -> Option<&dyn Session> {
        Some(self)
    }
}

impl Session for Fake {
    fn run(&self, code: &str, first_line: usize, quiet: bool) -> Result<Ran> {
        self.runs.lock().unwrap().push((code.into(), first_line, quiet));
        match self.cells {
            Some(cells) => compiled(cells, code),
            None => self.answers.lock().unwrap().pop_front().expect("a run that the test expects"),
        }
    }

    fn variables(&self) -> Result<Vec<Variable>> {
        Ok(self.variables.clone())
    }

    fn items(&self) -> Result<Vec<Item>> {
        Ok(self.items.clone())
    }

    fn forget(&self, names: &[String]) -> Result<Vec<String>> {
        self.forgotten.lock().unwrap().extend(names.iter().cloned());
        Ok(names.to_vec())
    }

    fn reset(&self) -> Result<()> {
        self.forgotten.lock().unwrap().push("all".into());
        Ok(())
    }

    fn dependencies(&self) -> Result<Vec<(String, String)>> {
        Ok(self.dependencies.clone())
    }

    fn documentation(&self, path: &str) -> Result<Option<Bundle>> {
        Ok(self.documented.iter().find(|(known, _)| *known == path).map(|(_, text)| plain(*text)))
    }

    fn change_directory(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn set_environment(&self, _: &str, _: Option<&str>) -> Result<()> {
        Ok(())
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        vec![]
    }

    fn inputs(&self, _: i64) -> Result<Vec<Input>> {
        Ok(self.inputs.clone())
    }

    fn next_input(&self, _: &str, _: bool) {}
}

/// Compiles a cell as evcxr does, items at the root of the crate and the last expression shown, with the same flags.
fn compiled(cells: Cells, code: &str) -> Result<Ran> {
    let statements = Statements::of(code).unwrap_or_else(|| panic!("generated code does not parse:\n{code}"));
    let (mut items, mut body) = (cells.items.to_string(), String::new());
    for (i, statement) in statements.list.iter().enumerate() {
        let text = &code[statement.span.clone()];
        match &statement.parsed {
            Stmt::Item(_) => items += &format!("{text}\n"),
            _ if i + 1 == statements.list.len() && statement.is_value() => {
                body += &format!("({text}\n).evcxr_display();\n");
            }
            _ => body += &format!("{text}\n"),
        }
    }
    let (before, after) = (cells.before, cells.after);
    let source = format!("#![allow(dead_code)]\n{items}\nfn main() {{ {before}\n{body}\n{after} }}\n");
    let folder = tempfile::tempdir().unwrap();
    // Where the generated code of tests looks for its own source.
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/lib.rs"), source).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "bin", "-o", "cell", "src/lib.rs"]);
    rustc.args(["-C", "opt-level=2", "-C", "overflow-checks=on", "-C", "debug-assertions=on"]);
    let built = rustc.env("CARGO_MANIFEST_DIR", folder.path()).current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() {
        let first = said.lines().find(|line| line.starts_with("error[")).unwrap_or_default();
        return Err(MagicError::new("CompilationError", first.trim_start_matches("error["), Some(said.clone())));
    }
    assert!(!said.contains("warning"), "generated code has warnings:\n{said}");
    let ended = Command::new(folder.path().join("cell")).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    if !ended.status.success() {
        return Err(MagicError::new("Panic", stderr.clone(), Some(stderr)));
    }
    let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
    let shown = stdout.split_once("EVCXR_BEGIN_CONTENT text/plain\n");
    let (printed, value) = shown.map_or((stdout.as_str(), None), |(printed, rest)| {
        (printed, rest.split_once("\nEVCXR_END_CONTENT").map(|(value, _)| value))
    });
    Ok(Ran { value: value.map(plain), stdout: printed.into(), stderr, ..Ran::default() })
}
