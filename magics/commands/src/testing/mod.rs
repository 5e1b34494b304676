//! A fake of the kernel for tests of magics. Its output records what is shown. Its session returns prepared results, or
//! compiles and runs the Rust that it gets.

mod compiled;

pub use compiled::Cells;

use crate::commands::CATALOGUE;
use crate::error::{MagicError, Result};
use crate::host::session::{Input, Item, Ran, Session, Variable};
use crate::host::{Bundle, Output, Stream, plain};
use crate::magic::{Context, Settings};
use crate::{Interrupt, Magics};
use compiled::compiled;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tunebook_study::{
    Condition, Direction, Distribution, Hyperparameter, Objective, ObjectiveValue, Params, Role, SearchSpace,
    StudyDefinition, Trial, TrialState, WorkloadReference,
};

/// Something that was shown. `Out` and `Err` are text on standard output and standard error.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Display(Bundle),
    Page(Bundle),
    Out(String),
    Err(String),
}

/// A function that a test calls with each printed text.
type OnPrint = Box<dyn Fn(&str) + Send + Sync>;

/// The fake. Some fields are the content of the session, and the others record calls.
#[derive(Default)]
pub struct FakeHost {
    variables: Vec<Variable>,
    items: Vec<Item>,
    dependencies: Vec<(String, String)>,
    lock: Option<&'static str>,
    documented: Vec<(&'static str, &'static str)>,
    /// The names that were removed; `all` for a reset.
    pub forgotten: Mutex<Vec<String>>,
    without_session: bool,
    /// The name of the cell.
    cell: &'static str,
    /// Inputs with the number of their session (0 is this one, -1 the one before).
    inputs: Vec<(i64, Input)>,
    /// The results of the next runs of Rust.
    answers: Mutex<VecDeque<Result<Ran>>>,
    /// If set, Rust is compiled and run among these cells.
    cells: Option<Cells>,
    runs: Mutex<Vec<(String, usize, bool)>>,
    shown: Mutex<Vec<Shown>>,
    on_print: Option<OnPrint>,
    folder: Mutex<Option<PathBuf>>,
    environment: Mutex<Vec<(String, Option<String>)>>,
    next: Mutex<Option<(String, bool)>>,
}

impl FakeHost {
    /// An output without a session.
    pub fn without_session() -> Self {
        Self { without_session: true, ..Self::default() }
    }

    /// Sets the name of the cell.
    pub fn in_cell(mut self, cell: &'static str) -> Self {
        self.cell = cell;
        self
    }

    /// A session whose runs of Rust return these results, in this order.
    pub fn answering(answers: impl IntoIterator<Item = Result<Ran>>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    /// A session that compiles and runs Rust among the code of other cells.
    pub fn running(cells: Cells) -> Self {
        Self { cells: Some(cells), ..Self::default() }
    }

    /// Adds variables, with their names and types.
    pub fn with_variables(mut self, variables: &[(&str, &str)]) -> Self {
        let variable = |(name, kind): &(&str, &str)| Variable { name: name.to_string(), kind: kind.to_string() };
        self.variables = variables.iter().map(variable).collect();
        self
    }

    /// Adds items, with their names and sources.
    pub fn with_items(mut self, items: &[(&str, &str)]) -> Self {
        let item = |(name, code): &(&str, &str)| Item { name: name.to_string(), code: code.to_string() };
        self.items = items.iter().map(item).collect();
        self
    }

    /// Adds a dependency, with its TOML value.
    pub fn with_dependency(mut self, name: &str, value: &str) -> Self {
        self.dependencies.push((name.into(), value.into()));
        self
    }

    /// Sets the text of the `Cargo.lock`.
    pub fn with_lock(mut self, lock: &'static str) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Adds documentation of a path.
    pub fn with_documentation(mut self, path: &'static str, text: &'static str) -> Self {
        self.documented.push((path, text));
        self
    }

    /// Adds inputs of this session, with execution counts from 1.
    pub fn with_cells(self, codes: &[&str]) -> Self {
        let inputs: Vec<(i64, u64, &str)> =
            codes.iter().enumerate().map(|(i, code)| (0, i as u64 + 1, *code)).collect();
        self.with_inputs(&inputs)
    }

    /// Adds inputs: number of the session, execution count, code.
    pub fn with_inputs(mut self, inputs: &[(i64, u64, &str)]) -> Self {
        let input =
            |&(session, line, code): &(i64, u64, &str)| (session, Input { line, code: code.into(), succeeded: true });
        self.inputs = inputs.iter().map(input).collect();
        self
    }

    /// Calls a function with each text that is printed.
    pub fn on_print(mut self, act: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_print = Some(Box::new(act));
        self
    }

    /// The runs of Rust so far: code, first line, and whether the run was quiet.
    pub fn runs(&self) -> Vec<(String, usize, bool)> {
        self.runs.lock().clone()
    }

    /// Everything that was shown, in order, without empty texts.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().clone()
    }

    /// All of standard output so far.
    pub fn stdout(&self) -> String {
        let shown = self.shown().into_iter();
        shown.filter_map(|shown| if let Shown::Out(text) = shown { Some(text) } else { None }).collect()
    }

    /// All of standard error so far.
    pub fn stderr(&self) -> String {
        let shown = self.shown().into_iter();
        shown.filter_map(|shown| if let Shown::Err(text) = shown { Some(text) } else { None }).collect()
    }

    /// The text representations of all displays.
    pub fn displayed(&self) -> String {
        let text = |shown: &Shown| match shown {
            Shown::Display(bundle) => bundle["text/plain"].as_str().map(String::from),
            _ => None,
        };
        self.shown.lock().iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }

    /// Sets or removes an environment variable of the session.
    pub fn set(&self, name: &str, value: Option<&str>) {
        self.environment.lock().push((name.into(), value.map(String::from)));
    }

    /// The folder of the last change of the working directory.
    pub fn folder(&self) -> Option<PathBuf> {
        self.folder.lock().clone()
    }

    /// The text for the next cell, and whether it replaces this one.
    pub fn next(&self) -> Option<(String, bool)> {
        self.next.lock().clone()
    }

    fn show(&self, shown: Shown) {
        self.shown.lock().push(shown);
    }
}

impl Output for FakeHost {
    fn display(&self, bundle: Bundle, _: Option<&str>) {
        self.show(Shown::Display(bundle));
    }

    fn update(&self, bundle: Bundle, _: &str) {
        self.show(Shown::Display(bundle));
    }

    fn print(&self, stream: Stream, text: &str) {
        match stream {
            _ if text.is_empty() => return,
            Stream::Stdout => self.show(Shown::Out(text.into())),
            Stream::Stderr => self.show(Shown::Err(text.into())),
        }
        if let Some(act) = &self.on_print {
            act(text);
        }
    }

    fn page(&self, bundle: Bundle) {
        self.show(Shown::Page(bundle));
    }

    fn cell(&self) -> Option<String> {
        Some(self.cell.into())
    }

    fn session(&self) -> Option<&dyn Session> {
        (!self.without_session).then_some(self)
    }
}

impl Session for FakeHost {
    fn run(&self, code: &str, first_line: usize, quiet: bool) -> Result<Ran> {
        self.runs.lock().push((code.into(), first_line, quiet));
        match self.cells {
            Some(cells) => compiled(cells, code),
            None => self.answers.lock().pop_front().expect("the test has no result for this run"),
        }
    }

    fn variables(&self) -> Result<Vec<Variable>> {
        Ok(self.variables.clone())
    }

    fn items(&self) -> Result<Vec<Item>> {
        Ok(self.items.clone())
    }

    fn forget(&self, names: &[String]) -> Result<Vec<String>> {
        self.forgotten.lock().extend(names.iter().cloned());
        Ok(names.to_vec())
    }

    fn reset(&self) -> Result<()> {
        self.forgotten.lock().push("all".into());
        Ok(())
    }

    fn dependencies(&self) -> Result<Vec<(String, String)>> {
        Ok(self.dependencies.clone())
    }

    fn lock_file(&self) -> Result<Option<String>> {
        Ok(self.lock.map(String::from))
    }

    fn documentation(&self, path: &str) -> Result<Option<Bundle>> {
        Ok(self.documented.iter().find(|(known, _)| *known == path).map(|(_, text)| plain(*text)))
    }

    fn change_directory(&self, folder: &Path) -> Result<()> {
        *self.folder.lock() = Some(folder.into());
        Ok(())
    }

    fn set_environment(&self, name: &str, value: Option<&str>) -> Result<()> {
        self.set(name, value);
        Ok(())
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        self.environment.lock().clone()
    }

    fn inputs(&self, session: i64) -> Result<Vec<Input>> {
        Ok(self.inputs.iter().filter(|(of, _)| *of == session).map(|(_, input)| input.clone()).collect())
    }

    fn next_input(&self, text: &str, replace: bool) {
        *self.next.lock() = Some((text.into(), replace));
    }
}

/// Settings with paths in a folder, none of which exists yet.
pub fn settings(folder: &Path) -> Settings {
    let (store, worker, cache) = (folder.join("studies.db"), folder.join("worker"), folder.join("cache"));
    Settings { first_store: store, slot: vec![], guard: vec![], worker, cache }
}

/// A context with paths in a folder.
pub fn context(folder: &Path) -> Arc<Context> {
    Context::new(settings(folder), CATALOGUE)
}

/// A trial that is the only one of its configuration, without hyperparameters and measurements.
pub fn trial(number: u32, state: TrialState) -> Trial {
    Trial {
        number,
        configuration: number - 1,
        params: Params::new(),
        seed: 0,
        state,
        reason: None,
        summaries: Default::default(),
        seconds: 0.0,
        started: 0.0,
    }
}

/// A space with two branches: the learning rate of sgd, and that of adam.
pub fn branches(of_sgd: Distribution, of_adam: Distribution) -> SearchSpace {
    let mut space = SearchSpace::new();
    let optimizers = Distribution::choice(vec!["sgd".into(), "adam".into()]).unwrap();
    for (name, distribution, of) in
        [("optimizer", optimizers, None), ("lr", of_sgd, Some("sgd")), ("lr", of_adam, Some("adam"))]
    {
        let condition = |word: &str| Condition { name: "optimizer".into(), values: vec![word.into()] };
        let (name, role, conditions) = (name.into(), Role::Nuisance, of.map(condition).into_iter().collect());
        space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
    }
    space
}

/// The definition of a study with one hyperparameter, the learning rate.
pub fn definition() -> StudyDefinition {
    let mut space = SearchSpace::new();
    let distribution = Distribution::log_uniform(1e-4, 1.0).unwrap();
    space
        .declare(Hyperparameter { name: "lr".into(), role: Role::Nuisance, distribution, conditions: vec![] })
        .unwrap();
    StudyDefinition {
        seed: 7,
        question: Some("how fast?".into()),
        ..StudyDefinition::new(
            WorkloadReference::Builtin { name: "digits_mlp".into() },
            space,
            Objective { metric: "valid/error".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }
}

/// Magics whose store and worker do not exist.
pub fn magics() -> Magics {
    magics_in(&std::env::temp_dir().join("tunebook-not-there"))
}

/// Magics whose store is that of [`context`] with this folder.
pub fn magics_in(folder: &Path) -> Magics {
    Magics::new(settings(folder))
}

/// Parses and runs one magic.
pub fn run(text: &str, host: &FakeHost) -> Result<()> {
    run_in(&magics(), text, host)
}

/// Parses and runs one magic. Several calls with the same `magics` share the state of one kernel.
pub fn run_in(magics: &Magics, text: &str, host: &FakeHost) -> Result<()> {
    magics.run(magics.parse(text, 0)?, host, &Interrupt::default())
}

/// The name and the message of an error, and its traceback without colours.
pub fn rendered(error: &MagicError) -> String {
    let text = format!("{error}\n{}", error.traceback().join("\n"));
    let mut plain = String::new();
    let mut parts = text.split("\x1b[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}
