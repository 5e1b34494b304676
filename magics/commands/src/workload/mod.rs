//! What can be trained: the worker's own workloads and those that were defined with `%%workload`.

mod cargo;
mod cells;
mod source;
mod try_out;
mod workshop;

pub use cells::crates_for;
pub use source::{Body, problem_with_name};
pub use try_out::{FirstSteps, try_out};
pub use workshop::Workshop;

use crate::context::Context;
use crate::error::{MagicError, Result, suggest};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::status::Status;
use crate::syntax::{Source, Span};
use crate::table::{self, Rows};
use std::path::PathBuf;
use tunebook_study::{Value, WorkloadDescription, WorkloadHyperparameter, WorkloadReference};

/// One of them.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How a study refers to it.
    pub reference: WorkloadReference,
    /// What it says of itself.
    pub description: WorkloadDescription,
}

impl Workload {
    /// The one of a name that stands in a magic, or the error that points at it.
    pub fn named<'a>(name: &str, all: &'a [Workload], source: &Source, span: &Span) -> Result<&'a Workload> {
        all.iter().find(|workload| workload.description.name == name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|workload| workload.description.name.as_str()).collect();
            let message = format!("there is no workload `{name}`");
            source.error("UnknownWorkload", span.clone(), message, suggest(name, names))
        })
    }
}

impl Workload {
    /// Whether the training pipeline trains it, step by step; a training function has steps of its own.
    pub fn has_pipeline(&self) -> bool {
        self.description.hyperparameters.iter().any(|h| h.shared)
    }
}

/// Hyperparameters with their values and what they mean.
pub fn hyperparameter_rows<'a>(hyperparameters: impl Iterator<Item = &'a WorkloadHyperparameter>) -> Rows {
    let mut rows = Rows::new(&["hyperparameter", "default", "values", "meaning"]);
    for h in hyperparameters {
        let default = if h.default == Value::Null { "derived".into() } else { table::value(&h.default) };
        rows.row(vec![h.name.clone(), default, h.domain.to_string(), h.doc.clone()]);
    }
    rows
}

/// The worker that trains a workload; `None`: the built-in one. One that is not there any more is built again from the
/// source that the store keeps.
pub fn worker(
    context: &Context,
    reference: &WorkloadReference,
    output: &dyn Output,
    interrupt: &Interrupt,
) -> Result<Option<PathBuf>> {
    let WorkloadReference::Rust { name, source } = reference else { return Ok(None) };
    let workshop = Workshop::open(context)?;
    if let Some(worker) = workshop.worker(source) {
        return Ok(Some(worker));
    }
    let Some(record) = context.store()?.workload(source)? else {
        let message = format!("the source of `{name}` is not in {}", context.settings.store.display());
        let help = format!("run the cell `%%workload {name}` again");
        return Err(MagicError::new("UnknownWorkload", message, Some(help)));
    };
    let body = Body::new(name, &record.body, &Source::new(&record.body, 0), 0)?;
    let mut status = Status::new(output);
    let built = workshop.build(&body, &mut status, interrupt);
    status.clear();
    Ok(Some(built?.worker))
}
