//! What can be trained: the worker's own workloads and those that were defined with `%%workload`.

use super::{WorkloadCell, Workshop};
use crate::error::{ErrorName, MagicError, Result, Source, Span, suggest};
use crate::host::{Interrupt, Output};
use crate::magic::Context;
use crate::report::Status;
use crate::report::table::{self, Rows};
use std::path::PathBuf;
use tunebook_study::store::{Store, WorkloadRecord};
use tunebook_study::{Value, WorkloadDescription, WorkloadHyperparameter, WorkloadReference};

/// A workload: something that can be trained.
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
            source.error(ErrorName::UnknownWorkload, span.clone(), message, suggest(name, names))
        })
    }

    /// Whether the training pipeline trains it, step by step; a training function has steps of its own.
    pub fn has_pipeline(&self) -> bool {
        self.description.hyperparameters.iter().any(|h| h.shared)
    }
}

/// All workloads: those that the worker brings and those that were defined beside this store.
pub fn known(context: &Context) -> Result<Vec<Workload>> {
    let builtin = tunebook_pool::describe(&context.settings.worker)
        .map_err(|error| MagicError::new(ErrorName::WorkerError, error.to_string(), None))?;
    let builtin = builtin.into_iter().map(|description| Workload {
        reference: WorkloadReference::Builtin { name: description.name.clone() },
        description,
    });
    let defined = match Store::open_to_read(&context.settings.store)? {
        Some(store) => store.workloads()?,
        None => vec![],
    };
    let defined = defined.into_iter().map(|WorkloadRecord { name, source, description, .. }| Workload {
        reference: WorkloadReference::Rust { name, source },
        description,
    });
    Ok(builtin.chain(defined).collect())
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
        return Err(MagicError::new(ErrorName::UnknownWorkload, message, Some(help)));
    };
    let body = WorkloadCell::new(name, &record.body, &Source::new(&record.body, 0), 0)?;
    let mut status = Status::new(output);
    let built = workshop.build(&body, &mut status, interrupt);
    status.clear();
    Ok(Some(built?.worker))
}
