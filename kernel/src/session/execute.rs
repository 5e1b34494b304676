//! Runs a cell: its parts in order, and then publishes its result or its error.

use super::Session;
use super::ambiguous;
use super::history::CellOutcome;
use super::output::CellOutput;
use super::rust_cell::{RustCell, SilentCell};
use crate::engine::{Cell, CellError, Engine, Readiness};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tunebook_magics::session::Session as _;
use tunebook_magics::{ErrorName, Interrupt, MagicError, Parsed, asks, shell};
use tunebook_split::{Segment, segments};
use tunebook_wire::Message;

/// How long no cell must have run before crates are added in advance.
const QUIET: Duration = Duration::from_secs(3);

/// A part of a cell whose magic, if it is one, was parsed.
enum Part {
    Rust {
        code: String,
        first_line: usize,
        /// What the user typed, if the code stands for it.
        typed: Option<String>,
    },
    Magic(Parsed),
    Shell(String),
}

impl From<MagicError> for CellError {
    fn from(error: MagicError) -> Self {
        Self { name: error.name, traceback: error.traceback(), message: error.message }
    }
}

impl Session {
    /// Answers an `execute_request`.
    pub(super) async fn execute(self: &Arc<Self>, request: &Message) -> Value {
        let content = &request.content;
        let flag = |name: &str, default: bool| content[name].as_bool().unwrap_or(default);
        // The mark at the start of a file (BOM) may come along with text that was pasted.
        let code = content["code"].as_str().unwrap_or("").trim_start_matches('\u{feff}').to_string();
        let silent = flag("silent", false);
        let keep = flag("store_history", !silent) && !silent;
        let count = match keep {
            true => self.count.fetch_add(1, Ordering::SeqCst) + 1,
            false => self.count.load(Ordering::SeqCst).max(1),
        };
        // From here on an interrupt belongs to this cell, in whatever part of it the interrupt comes.
        let interrupt = Arc::new(Interrupt::default());
        self.set_interrupt(Some(interrupt.clone()));
        if !silent {
            self.iopub.publish(&request.header, "execute_input", json!({ "code": code, "execution_count": count }));
        }
        let cell_id = request.metadata["cellId"].as_str();
        let output = CellOutput {
            iopub: self.iopub.clone(),
            parent: request.header.clone(),
            cell: cell_id.unwrap_or(&code).into(),
            silent,
            payload: Arc::default(),
        };
        if keep {
            self.history.keep(count, &code, None);
            if let Some(id) = cell_id {
                self.cell_ids.lock().insert(count, id.into());
            }
        }
        // JupyterLab and Notebook say which cells were deleted since the last one ran.
        let deleted = request.metadata["deletedCells"].as_array().into_iter().flatten();
        let deleted: Vec<String> = deleted.filter_map(|id| id.as_str().map(String::from)).collect();
        let (session, begins) = (self.clone(), output.clone());
        let _ = tokio::task::spawn_blocking(move || session.magics.begin_cell(&begins, &deleted)).await;
        let cell = RustCell {
            session: self.clone(),
            request: request.clone(),
            count,
            output: output.clone(),
            allow_stdin: flag("allow_stdin", false),
            interrupt: interrupt.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let result = self.run_cell(&code, &cell).await;
        let shown = match &result {
            Ok(value) => {
                value.as_ref().and_then(|data| data.get("text/plain")).and_then(Value::as_str).map(String::from)
            }
            Err(_) => None,
        };
        if keep {
            self.history.keep(count, &code, Some(CellOutcome { output: shown, succeeded: result.is_ok() }));
        }
        let reply = match result {
            Ok(value) => {
                if let (Some(data), false) = (value, silent) {
                    let content = json!({ "execution_count": count, "data": data, "metadata": {}, "transient": {} });
                    self.iopub.publish(&request.header, "execute_result", content);
                }
                let expressions = self.user_expressions(&content["user_expressions"], &interrupt).await;
                let payload = self.offered.lock().without_repeated(&output.cell, output.payload.lock().clone());
                json!({ "status": "ok", "execution_count": count, "user_expressions": expressions, "payload": payload })
            }
            Err(error) => {
                let said =
                    json!({ "ename": error.name.as_str(), "evalue": error.message, "traceback": error.traceback });
                if !silent {
                    self.iopub.publish(&request.header, "error", said.clone());
                }
                let mut reply = said;
                reply["status"] = json!("error");
                reply["execution_count"] = json!(count);
                reply["user_expressions"] = json!({});
                reply["payload"] = json!([]);
                reply
            }
        };
        self.set_interrupt(None);
        reply
    }

    fn set_interrupt(&self, interrupt: Option<Arc<Interrupt>>) {
        *self.interrupt.lock() = interrupt;
    }

    /// Runs the parts of a cell, and returns the value of the last part if it is Rust and has a value.
    async fn run_cell(self: &Arc<Self>, code: &str, cell: &RustCell) -> Result<Option<Value>, CellError> {
        let interrupt = &cell.interrupt;
        // Every magic is parsed before any part runs, so that a typing error in the last line shows at once.
        let mut parts = vec![];
        for segment in segments(code, asks) {
            let typed = match &segment {
                Segment::Magic { text, .. } => Some(text.trim().to_string()),
                _ => None,
            };
            parts.push(match self.as_rust(segment, cell).await? {
                Segment::Rust { code, first_line } => Part::Rust { code, first_line, typed },
                Segment::Magic { text, first_line } => Part::Magic(self.magics.parse(&text, first_line)?),
                Segment::Shell { command, .. } => Part::Shell(command),
            });
        }
        let mut value = None;
        for part in parts {
            if interrupt.is_raised() {
                return Err(CellError::new(ErrorName::Interrupted, "the cell was interrupted"));
            }
            value = None;
            match part {
                Part::Rust { code, first_line, typed } => {
                    let ran = self.run_rust("\n".repeat(first_line) + &code, cell).await;
                    value = ran.map_err(|mut error| {
                        // The user's line is shown, and not what it stands for.
                        if let Some(typed) = typed {
                            error.traceback.iter_mut().for_each(|line| *line = line.replace(&code, &typed));
                        }
                        error
                    })?;
                }
                Part::Magic(parsed) => {
                    self.preload().await;
                    let (session, cell) = (self.clone(), cell.clone());
                    blocking(interrupt, move |interrupt| Ok(session.magics.run(parsed, &cell, interrupt)?)).await?;
                }
                Part::Shell(command) => {
                    let cell = cell.clone();
                    if let Some(note) = ambiguous::note_of_shell(&command) {
                        Cell::text(&cell, &note, true);
                    }
                    blocking(interrupt, move |interrupt| Ok(shell::run(&command, &cell, interrupt)?)).await?;
                }
            }
        }
        Ok(value)
    }

    /// A part of a cell, as Rust if it only looks like a question or a command for the shell and is about variables.
    async fn as_rust(self: &Arc<Self>, segment: Segment, cell: &RustCell) -> Result<Segment, CellError> {
        let line = match &segment {
            Segment::Magic { text, .. } => text.trim().to_string(),
            Segment::Shell { command, .. } => format!("!{command}"),
            Segment::Rust { .. } => return Ok(segment),
        };
        // Without an engine there are no variables.
        if !ambiguous::may_be_rust(&line) || self.engine().await.readiness() != Readiness::Ready {
            return Ok(segment);
        }
        let asked = cell.clone();
        let of_line = line.clone();
        let found = blocking(&cell.interrupt, move |_| {
            let variables = asked.variables().unwrap_or_default();
            let is_method = |path: &str| {
                let documentation = asked.documentation(path).ok().flatten().unwrap_or_default();
                documentation.get("text/plain").is_some_and(|text| text.to_string().contains("fn "))
            };
            Ok(match of_line.strip_prefix('!') {
                Some(command) => ambiguous::negation(command, &variables),
                None => ambiguous::question(&of_line, &variables, is_method),
            })
        })
        .await?;
        Ok(match (found, segment) {
            (Some(rust), Segment::Magic { first_line, .. } | Segment::Shell { first_line, .. }) => {
                if let Some(note) = &rust.note {
                    Cell::text(cell, note, true);
                }
                Segment::Rust { code: rust.code, first_line }
            }
            (_, segment) => segment,
        })
    }

    /// Adds the crates of tensors in advance, once no cell has run for a while: somebody who uses magics is likely to
    /// look at tensors later.
    async fn preload(self: &Arc<Self>) {
        if self.preloaded.swap(true, Ordering::SeqCst) {
            return;
        }
        let (engine, magics, session) = (self.engine().await, self.magics.clone(), self.clone());
        tokio::spawn(async move {
            // This must not run beside a cell, which may be a measurement.
            let mut quiet_since = Instant::now();
            while quiet_since.elapsed() < QUIET || engine.idle().is_none_or(|idle| idle < QUIET) {
                tokio::time::sleep(QUIET / 10).await;
                if engine.readiness() == Readiness::Missing {
                    return;
                }
                if session.interrupt.lock().is_some() {
                    quiet_since = Instant::now();
                }
            }
            let find = tokio::task::spawn_blocking(move || magics.crates_for("tch::"));
            if let Ok(Ok(crates)) = find.await {
                engine.preload(crates);
            }
        });
    }

    async fn run_rust(self: &Arc<Self>, code: String, cell: &RustCell) -> Result<Option<Value>, CellError> {
        let engine = self.engine().await;
        let (interrupt, output, cell) = (&cell.interrupt, cell.output.clone(), Arc::new(cell.clone()));
        let magics = self.magics.clone();
        let run = move |interrupt: &Interrupt| {
            let crates = magics.crates_for(&code)?;
            engine.run(&code, crates, cell, interrupt)
        };
        let mut value = blocking(interrupt, run).await?.value;
        if let Some(value) = &mut value {
            self.magics.complete_figure(value, &output);
        }
        Ok(value.map(Value::Object))
    }

    /// Evaluates the user expressions of a request. One that fails gives an error in its place, and no error of the
    /// cell.
    async fn user_expressions(self: &Arc<Self>, expressions: &Value, interrupt: &Arc<Interrupt>) -> Value {
        let mut results = Map::new();
        for (name, code) in expressions.as_object().into_iter().flatten() {
            let engine: Arc<Engine> = self.engine().await;
            let code = code.as_str().unwrap_or("").to_string();
            let result =
                blocking(interrupt, move |interrupt| engine.run(&code, vec![], Arc::new(SilentCell), interrupt)).await;
            let shown = match result {
                Ok(ran) => json!({ "status": "ok", "data": ran.value.unwrap_or_default(), "metadata": {} }),
                Err(CellError { name, message, traceback }) => {
                    json!({ "status": "error", "ename": name.as_str(), "evalue": message, "traceback": traceback })
                }
            };
            results.insert(name.clone(), shown);
        }
        Value::Object(results)
    }
}

/// Runs a function that may take long on a thread of its own.
async fn blocking<T: Send + 'static>(
    interrupt: &Arc<Interrupt>,
    work: impl FnOnce(&Interrupt) -> Result<T, CellError> + Send + 'static,
) -> Result<T, CellError> {
    let interrupt = interrupt.clone();
    let result = tokio::task::spawn_blocking(move || work(&interrupt)).await;
    result.unwrap_or_else(|panic| {
        Err(CellError::new(ErrorName::InternalError, format!("the kernel has a fault: {panic}")))
    })
}
