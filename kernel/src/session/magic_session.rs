//! The session as magics see it: Rust code to run, variables, dependencies, the folder, the environment, the history,
//! and the output area of the cell.

use super::rust_cell::RustCell;
use crate::engine::{Bundle, Cell, CellError, Engine, Readiness, lock_file};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tunebook_magics::session::{Input, Item, Ran, Session, Variable};
use tunebook_magics::{ErrorName, MagicError, Output, Stream};

type Result<T> = std::result::Result<T, MagicError>;

impl Output for RustCell {
    fn display(&self, bundle: Bundle, display_id: Option<&str>) {
        self.output.display(bundle, display_id);
    }

    fn update(&self, bundle: Bundle, display_id: &str) {
        self.output.update(bundle, display_id);
    }

    fn print(&self, stream: Stream, text: &str) {
        self.output.print(stream, text);
    }

    fn page(&self, bundle: Bundle) {
        self.output.page(bundle);
    }

    fn cell(&self) -> Option<String> {
        self.output.cell()
    }

    fn detached(&self) -> Option<Arc<dyn Output>> {
        self.output.detached()
    }

    fn session(&self) -> Option<&dyn Session> {
        Some(self)
    }
}

impl Session for RustCell {
    fn run(&self, code: &str, first_line: usize, quiet: bool) -> Result<Ran> {
        let code = "\n".repeat(first_line) + code;
        let crates = self.session.magics.crates_for(&code)?;
        let captured = Arc::new(CaptureCell::default());
        let cell: Arc<dyn Cell> = if quiet { captured.clone() } else { Arc::new(self.clone()) };
        let ran = self.engine().run(&code, crates, cell, &self.interrupt);
        let Captured { stdout, stderr, displays } = captured.take();
        let ran = ran.map_err(|error| {
            // The output explains the error, so it is shown after all.
            self.output.print(Stream::Stdout, &stdout);
            self.output.print(Stream::Stderr, &stderr);
            displays.iter().for_each(|bundle| self.output.display(bundle.clone(), None));
            as_magic_error(error)
        })?;
        let (compile, run, processor) = (ran.compile, ran.run, ran.processor);
        Ok(Ran { value: ran.value, stdout, stderr, displays, compile, run, processor })
    }

    fn variables(&self) -> Result<Vec<Variable>> {
        self.ask(|context| {
            let variable = |(name, kind): (&str, &str)| Variable { name: name.into(), kind: kind.into() };
            let mut variables: Vec<Variable> = context.variables_and_types().map(variable).collect();
            variables.sort_by(|a, b| a.name.cmp(&b.name));
            variables
        })
    }

    fn items(&self) -> Result<Vec<Item>> {
        self.ask(|context| {
            let item = |(name, code): (&str, String)| Item { name: name.into(), code };
            let mut items: Vec<Item> = context.eval_context().items().map(item).collect();
            items.sort_by(|a, b| a.name.cmp(&b.name));
            items
        })
    }

    fn forget(&self, names: &[String]) -> Result<Vec<String>> {
        // Moving a variable out drops its value, and evcxr forgets a variable that was moved.
        let variables = self.variables()?;
        let held: Vec<&String> = names.iter().filter(|name| variables.iter().any(|v| v.name == **name)).collect();
        let moved: String = held.iter().map(|name| format!("std::mem::drop({name});\n")).collect();
        if !moved.is_empty() {
            // A variable that was moved already gives an error here, and is forgotten below.
            let _ = Session::run(self, &moved, 0, true);
        }
        let (names, held) = (names.to_vec(), held.into_iter().cloned().collect::<Vec<_>>());
        self.ask(move |context| {
            let context = context.eval_context();
            names.into_iter().filter(|name| context.forget(name) || held.contains(name)).collect()
        })
    }

    fn reset(&self) -> Result<()> {
        let cleared = self.ask(|context| context.eval_context().clear().map_err(|error| error.to_string()))?;
        cleared.map_err(|error| MagicError::new(ErrorName::Error, error, None))
    }

    fn dependencies(&self) -> Result<Vec<(String, String)>> {
        self.ask(|context| {
            let all = context.eval_context().dependencies().map(|(name, config)| (name.into(), config.into()));
            let mut all: Vec<(String, String)> = all.collect();
            all.sort();
            all
        })
    }

    fn lock_file(&self) -> Result<Option<String>> {
        // On the thread of the engine, so that nothing is being added.
        self.ask(|_| lock_file())
    }

    fn documentation(&self, path: &str) -> Result<Option<Bundle>> {
        let found = self.engine().inspect(path, path.len());
        Ok(found.map(|(text, markdown)| {
            let mut bundle = Bundle::new();
            bundle.insert("text/plain".into(), json!(text));
            bundle.insert("text/markdown".into(), json!(markdown));
            bundle
        }))
    }

    fn change_directory(&self, folder: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            let message = format!("{} cannot be entered: {error}", folder.display());
            MagicError::new(ErrorName::FileError, message, None)
        };
        std::env::set_current_dir(folder).map_err(failed)?;
        self.tell_cells(&format!("let _ = std::env::set_current_dir({:?});", folder.display().to_string()))
    }

    fn set_environment(&self, name: &str, value: Option<&str>) -> Result<()> {
        self.session.environment.lock().insert(name.into(), value.map(String::from));
        let change = match value {
            Some(value) => format!("set_var({name:?}, {value:?})"),
            None => format!("remove_var({name:?})"),
        };
        self.tell_cells(&format!("unsafe {{ std::env::{change} }};"))?;
        // A new process of cells, after the end of this one, must have it as well.
        let (name, value) = (name.to_string(), value.map(String::from));
        let _ = self.engine().with(move |context| context.eval_context().set_environment(&name, value.as_deref()));
        Ok(())
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        self.session.environment.lock().clone().into_iter().collect()
    }

    fn inputs(&self, session: i64) -> Result<Vec<Input>> {
        Ok(self.session.history.inputs(session))
    }

    fn cell_of(&self, line: u64) -> Option<String> {
        self.session.cell_ids.lock().get(&line).cloned()
    }

    fn next_input(&self, text: &str, replace: bool) {
        self.output.next_input(text, replace);
    }
}

impl RustCell {
    pub(super) fn engine(&self) -> Arc<Engine> {
        self.runtime.block_on(self.session.engine())
    }

    /// Calls a function with evcxr. An error while Rust code runs: the code that asks would wait for itself.
    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&mut evcxr::CommandContext) -> T + Send + 'static) -> Result<T> {
        let engine = self.engine();
        if engine.is_busy() {
            return Err(as_magic_error(CellError::busy()));
        }
        engine.with(ask).map_err(as_magic_error)
    }

    /// Runs code that changes the process of cells. Without a toolchain there is no such process, and nothing to do.
    fn tell_cells(&self, code: &str) -> Result<()> {
        let engine = self.engine();
        match engine.run(code, vec![], Arc::new(CaptureCell::default()), &self.interrupt) {
            Err(error) if engine.readiness() != Readiness::Missing => Err(as_magic_error(error)),
            _ => Ok(()),
        }
    }
}

fn as_magic_error(error: CellError) -> MagicError {
    MagicError::drawn(error.name, error.message, error.traceback)
}

/// A cell whose output is captured instead of shown.
#[derive(Default)]
struct CaptureCell {
    captured: Mutex<Captured>,
}

#[derive(Default)]
struct Captured {
    stdout: String,
    stderr: String,
    displays: Vec<Bundle>,
}

impl CaptureCell {
    fn take(&self) -> Captured {
        std::mem::take(&mut *self.captured.lock())
    }
}

impl Cell for CaptureCell {
    fn text(&self, text: &str, is_error: bool) {
        let mut captured = self.captured.lock();
        if is_error { captured.stderr.push_str(text) } else { captured.stdout.push_str(text) }
    }

    fn display(&self, data: Bundle, _: Value, _: Option<&str>, _: bool) {
        self.captured.lock().displays.push(data);
    }

    fn clear(&self, _: bool) {}

    fn input(&self, _: &str, _: bool, _: &dyn Fn() -> bool) -> Option<String> {
        None
    }

    fn answer(&self, _: &Value) -> std::result::Result<Value, (String, String)> {
        Err(("NotAvailable".into(), "nothing can be asked from here".into()))
    }

    fn keeps_value(&self) -> bool {
        false
    }
}
