//! What a magic sees of the session: the display area of its cell, and behind it the Rust side, the inputs, the next cell.

use super::rust_cell::RustCell;
use crate::rust::{Bundle, Cell, CellError, Engine};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tunebook_magics::session::{Input, Item, Ran, Session, Variable};
use tunebook_magics::{MagicError, Output, Stream};

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

    fn cell_id(&self) -> Option<String> {
        self.output.cell_id()
    }

    fn session(&self) -> Option<&dyn Session> {
        Some(self)
    }
}

impl Session for RustCell {
    fn run(&self, code: &str, first_line: usize, quiet: bool) -> Result<Ran> {
        let code = "\n".repeat(first_line) + code;
        let crates = self.session.magics.crates_for(&code)?;
        let kept = Arc::new(Quiet::default());
        let cell: Arc<dyn Cell> = if quiet { kept.clone() } else { Arc::new(self.clone()) };
        let ran = self.engine().run(&code, crates, cell, &self.interrupt);
        let (stdout, stderr, displays) = kept.take();
        let ran = ran.map_err(|error| {
            // What the code had to say is not lost with it.
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
        // A variable that is moved away is gone, with what it holds.
        let variables = self.variables()?;
        let held: Vec<&String> = names.iter().filter(|name| variables.iter().any(|v| v.name == **name)).collect();
        let moved: String = held.iter().map(|name| format!("std::mem::drop({name});\n")).collect();
        if !moved.is_empty() {
            // One that cannot be moved any more is forgotten all the same.
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
        cleared.map_err(|error| MagicError::new("Error", error, None))
    }

    fn dependencies(&self) -> Result<Vec<(String, String)>> {
        self.ask(|context| {
            let all = context.eval_context().dependencies().map(|(name, config)| (name.into(), config.into()));
            let mut all: Vec<(String, String)> = all.collect();
            all.sort();
            all
        })
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
            MagicError::new("FileError", message, None)
        };
        std::env::set_current_dir(folder).map_err(failed)?;
        self.tell_cells(&format!("let _ = std::env::set_current_dir({:?});", folder.display().to_string()))
    }

    fn set_environment(&self, name: &str, value: Option<&str>) -> Result<()> {
        if let Ok(mut environment) = self.session.environment.lock() {
            environment.insert(name.into(), value.map(String::from));
        }
        let change = match value {
            Some(value) => format!("set_var({name:?}, {value:?})"),
            None => format!("remove_var({name:?})"),
        };
        self.tell_cells(&format!("unsafe {{ std::env::{change} }};"))?;
        // A process that takes the place of this one is to have it as well.
        let (name, value) = (name.to_string(), value.map(String::from));
        self.engine().with(move |context| context.eval_context().set_environment(&name, value.as_deref()));
        Ok(())
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        let environment = self.session.environment.lock();
        environment.map(|environment| environment.clone().into_iter().collect()).unwrap_or_default()
    }

    fn inputs(&self, session: i64) -> Result<Vec<Input>> {
        Ok(self.session.history.inputs(session))
    }

    fn cell_of(&self, line: u64) -> Option<String> {
        self.session.cell_ids.lock().ok()?.get(&line).cloned()
    }

    fn next_input(&self, text: &str, replace: bool) {
        self.output.next_input(text, replace);
    }
}

impl RustCell {
    pub(super) fn engine(&self) -> Arc<Engine> {
        self.runtime.block_on(self.session.engine())
    }

    /// Asks evcxr, which must not be busy with the cell that asks.
    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&mut evcxr::CommandContext) -> T + Send + 'static) -> Result<T> {
        let engine = self.engine();
        if engine.is_busy() {
            return Err(as_magic_error(CellError::busy()));
        }
        engine.with(ask).ok_or_else(|| match engine.missing() {
            Some(reason) => MagicError::new("NoToolchain", reason, None),
            None => MagicError::new("EngineError", "the engine of Rust cells is not there; restart the kernel", None),
        })
    }

    /// Runs what concerns the process of cells; where there is no Rust, it concerns nobody.
    fn tell_cells(&self, code: &str) -> Result<()> {
        match self.engine().run(code, vec![], Arc::new(Quiet::default()), &self.interrupt) {
            Err(error) if error.name != "NoToolchain" => Err(as_magic_error(error)),
            _ => Ok(()),
        }
    }
}

fn as_magic_error(error: CellError) -> MagicError {
    let mut shown = MagicError::new("Error", error.message, None);
    // Names of errors are few, and live as long as the kernel.
    const NAMES: [&str; 10] = [
        "Busy",
        "CompilationError",
        "EngineError",
        "Interrupted",
        "NoToolchain",
        "NotAvailable",
        "NotPrepared",
        "Panic",
        "ProcessEnded",
        "InternalError",
    ];
    shown.name = NAMES.into_iter().find(|name| *name == error.name).unwrap_or("Error");
    shown.traceback = error.traceback;
    shown
}

/// A cell that keeps what it is given.
#[derive(Default)]
struct Quiet {
    kept: Mutex<(String, String, Vec<Bundle>)>,
}

impl Quiet {
    fn take(&self) -> (String, String, Vec<Bundle>) {
        self.kept.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default()
    }
}

impl Cell for Quiet {
    fn text(&self, text: &str, is_error: bool) {
        if let Ok(mut kept) = self.kept.lock() {
            if is_error { kept.1.push_str(text) } else { kept.0.push_str(text) }
        }
    }

    fn display(&self, data: Bundle, _: Value, _: Option<&str>, _: bool) {
        if let Ok(mut kept) = self.kept.lock() {
            kept.2.push(data);
        }
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
