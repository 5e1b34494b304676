//! A cell of the session as the engine of Rust cells sees it: it shows output, asks the user for input, and answers
//! questions of the code.

use super::Session;
use super::output::CellOutput;
use crate::engine::{Bundle, Cell};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use tokio::runtime::Handle;
use tunebook_magics::session;
use tunebook_magics::{Interrupt, Output, RESULT_MIME, Stream};
use tunebook_wire::Message;
use tunebook_wire::iopub::StreamName;

/// A cell that runs.
#[derive(Clone)]
pub struct RustCell {
    pub session: Arc<Session>,
    pub request: Message,
    /// The number of the cell, as the user sees it.
    pub count: u64,
    pub output: CellOutput,
    /// Whether the front end can ask for input.
    pub allow_stdin: bool,
    pub interrupt: Arc<Interrupt>,
    pub runtime: Handle,
}

impl Cell for RustCell {
    fn text(&self, text: &str, is_error: bool) {
        self.output.text(if is_error { StreamName::Stderr } else { StreamName::Stdout }, text);
    }

    fn display(&self, mut data: Bundle, metadata: Value, id: Option<&str>, update: bool) {
        self.session.magics.complete_figure(&mut data, &self.output);
        self.output.show(data, metadata, id, update);
    }

    fn clear(&self, wait: bool) {
        self.output.clear(wait);
        self.session.magics.output_cleared(&self.output);
    }

    fn count(&self) -> Option<u64> {
        Some(self.count)
    }

    fn input(&self, prompt: &str, password: bool, given_up: &dyn Fn() -> bool) -> Option<String> {
        if !self.allow_stdin {
            return None;
        }
        self.runtime.block_on(async {
            // The user must see what was printed before the question.
            self.session.iopub.flush().await;
            self.session.stdin.ask(&self.request, prompt, password, || self.interrupt.is_raised() || given_up()).await
        })
    }

    fn takes_input(&self) -> bool {
        self.allow_stdin
    }

    fn answer(&self, question: &Value) -> Result<Value, (String, String)> {
        let failed = |error: tunebook_magics::MagicError| (error.name.to_string(), error.message);
        if let Some(magic) = question["magic"].as_str() {
            let parsed = self.session.magics.parse(magic, 0).map_err(failed)?;
            let output = ResultCapture { cell: self.clone(), result: Mutex::default() };
            self.session.magics.run(parsed, &output, &self.interrupt).map_err(failed)?;
            return Ok(output.result.into_inner().unwrap_or(Value::Null));
        }
        if let Some(study) = question["study"].as_str() {
            return self.session.magics.study_as_json(study).map_err(failed);
        }
        Err(("UnknownQuestion".into(), format!("the kernel has no answer to {question}")))
    }
}

/// The output of a cell, which also captures the JSON result of the magic that runs.
struct ResultCapture {
    cell: RustCell,
    result: Mutex<Option<Value>>,
}

impl ResultCapture {
    fn capture(&self, bundle: &Bundle) {
        if let Some(result) = bundle.get(RESULT_MIME) {
            *self.result.lock() = Some(result.clone());
        }
    }
}

impl Output for ResultCapture {
    fn display(&self, bundle: Bundle, display_id: Option<&str>) {
        self.capture(&bundle);
        self.cell.output.display(bundle, display_id);
    }

    fn update(&self, bundle: Bundle, display_id: &str) {
        self.capture(&bundle);
        self.cell.output.update(bundle, display_id);
    }

    fn print(&self, stream: Stream, text: &str) {
        self.cell.output.print(stream, text);
    }

    fn page(&self, bundle: Bundle) {
        self.cell.output.page(bundle);
    }

    fn cell(&self) -> Option<String> {
        self.cell.output.cell()
    }

    fn detached(&self) -> Option<Arc<dyn Output>> {
        self.cell.output.detached()
    }

    fn session(&self) -> Option<&dyn session::Session> {
        Some(&self.cell)
    }
}

/// A cell whose output is discarded, such as that of a user expression.
pub struct SilentCell;

impl Cell for SilentCell {
    fn text(&self, _: &str, _: bool) {}

    fn display(&self, _: Bundle, _: Value, _: Option<&str>, _: bool) {}

    fn clear(&self, _: bool) {}

    fn input(&self, _: &str, _: bool, _: &dyn Fn() -> bool) -> Option<String> {
        None
    }

    fn answer(&self, _: &Value) -> Result<Value, (String, String)> {
        Err(("NotAvailable".into(), "a user expression can ask nothing".into()))
    }

    fn keeps_value(&self) -> bool {
        false
    }
}
