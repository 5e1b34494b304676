//! The known workloads: those that are built in, and those that were defined with `%%workload`.

use super::locked::{CrateDifference, LockedCrates};
use super::{BuildCache, WorkloadCell};
use crate::error::{ErrorName, MagicError, Result, Source, Span, suggest};
use crate::host::{Interrupt, Output, Stream};
use crate::magic::Context;
use crate::report::Status;
use crate::report::table::{self, Rows};
use std::path::PathBuf;
use tunebook_study::store::{Store, WorkloadRecord};
use tunebook_study::{Value, WorkloadDescription, WorkloadHyperparameter, WorkloadReference};

/// A workload, which is something that can be trained.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How a study refers to it.
    pub reference: WorkloadReference,
    pub description: WorkloadDescription,
    /// Whether its cell was changed and failed since, so that this is still its earlier version.
    pub is_outdated: bool,
}

impl Workload {
    /// Finds a workload by the name at `span`. If there is none, the error points at the name.
    pub fn named<'a>(name: &str, all: &'a [Workload], source: &Source, span: &Span) -> Result<&'a Workload> {
        let found = all.iter().find(|workload| workload.description.name == name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|workload| workload.description.name.as_str()).collect();
            let message = format!("there is no workload `{name}`");
            source.error(ErrorName::UnknownWorkload, span.clone(), message, suggest(name, names))
        })?;
        if found.is_outdated {
            let message = format!("the last cell `%%workload {name}` failed, so `{name}` is still its earlier version");
            let help =
                "correct that cell and run it again; to train the earlier version, run its cell again".to_string();
            return Err(source.error(ErrorName::WorkloadError, span.clone(), message, Some(help)));
        }
        Ok(found)
    }

    /// Whether the training pipeline trains this workload. A training function has a loop of its own instead.
    pub fn has_pipeline(&self) -> bool {
        self.description.hyperparameters.iter().any(|h| h.shared)
    }
}

/// Returns the description of a study's workload. None for a program, and if the workload cannot be described now.
pub fn description(context: &Context, workload: &WorkloadReference) -> Option<WorkloadDescription> {
    let store = context.store_to_read().ok()?;
    description_in(context, store.as_ref(), workload)
}

/// The same for a workload of this store. The session may use another one by now.
pub fn description_in(
    context: &Context,
    store: Option<&Store>,
    workload: &WorkloadReference,
) -> Option<WorkloadDescription> {
    if matches!(workload, WorkloadReference::Command { .. } | WorkloadReference::Imported { .. }) {
        return None;
    }
    let known = known_in(context, store).unwrap_or_default();
    known.into_iter().find(|known| known.reference == *workload).map(|known| known.description)
}

/// All workloads: those of the built-in worker, and those that are recorded in the store.
pub fn known(context: &Context) -> Result<Vec<Workload>> {
    known_in(context, context.store_to_read()?.as_ref())
}

/// All workloads: those of the built-in worker, and those that are recorded in this store.
pub fn known_in(context: &Context, store: Option<&Store>) -> Result<Vec<Workload>> {
    let builtin = tunebook_pool::describe(&context.settings.worker)
        .map_err(|error| MagicError::new(ErrorName::WorkerError, error.to_string(), None))?;
    let builtin = builtin.into_iter().map(|description| Workload {
        reference: WorkloadReference::Builtin { name: description.name.clone() },
        description,
        is_outdated: false,
    });
    let defined = match store {
        Some(store) => store.workloads()?,
        None => vec![],
    };
    let failed = context.failed_workloads.lock().clone();
    let defined = defined.into_iter().map(|WorkloadRecord { name, source, description, .. }| Workload {
        is_outdated: failed.contains(&name),
        reference: WorkloadReference::Rust { name, source },
        description,
    });
    Ok(builtin.chain(defined).collect())
}

/// Returns the workload that a recorded study goes on with: its own if the current source differs from that in comments
/// and white space only, otherwise the current one.
pub fn continued(store: &Store, recorded: &WorkloadReference, current: WorkloadReference) -> Result<WorkloadReference> {
    let (WorkloadReference::Rust { source: before, .. }, WorkloadReference::Rust { name, source: now }) =
        (recorded, &current)
    else {
        return Ok(current);
    };
    let cell = |source: &str| -> Result<Option<WorkloadCell>> {
        let Some(record) = store.workload(source)? else { return Ok(None) };
        Ok(WorkloadCell::new(name, &record.body, &Source::new(&record.body, 0), 0).ok())
    };
    let same = cell(before)?.zip(cell(now)?).is_some_and(|(before, now)| before.means_the_same(&now));
    Ok(if same { recorded.clone() } else { current })
}

/// A table of hyperparameters with their defaults, values and meaning.
pub fn hyperparameter_rows<'a>(hyperparameters: impl Iterator<Item = &'a WorkloadHyperparameter>) -> Rows {
    let mut rows = Rows::new(&["hyperparameter", "default", "values", "meaning"]).with_sentences();
    for h in hyperparameters {
        let default = if h.default == Value::Null { "derived".into() } else { table::value(&h.default) };
        rows.row(vec![h.name.clone(), default, h.domain.to_string(), h.doc.clone()]);
    }
    rows
}

/// The executable of the worker that trains a workload, or None for the built-in worker. If the worker of a
/// `%%workload` is missing, it is built again from the source and the `Cargo.lock` in the store.
pub fn worker(
    context: &Context,
    reference: &WorkloadReference,
    output: &dyn Output,
    interrupt: &Interrupt,
) -> Result<Option<PathBuf>> {
    let WorkloadReference::Rust { name, source } = reference else { return Ok(None) };
    let Some(record) = context.store()?.workload(source)? else {
        let message = format!("the source of `{name}` is not in {}", context.store_file().display());
        let help = format!("run the cell `%%workload {name}` again");
        return Err(MagicError::new(ErrorName::UnknownWorkload, message, Some(help)));
    };
    let build_cache = BuildCache::open(context)?;
    if let Some(built) = build_cache.built(source, Some(&record.lock)) {
        return Ok(Some(built.worker));
    }
    let body = WorkloadCell::new(name, &record.body, &Source::new(&record.body, 0), 0)?;
    let mut status = Status::new(output);
    let built = build_cache.build(&body, Some(&record.lock), &mut status, interrupt);
    status.clear();
    let built = built?;
    let differences = LockedCrates::of(&record.lock).differences(&LockedCrates::of(&built.lock));
    if !differences.is_empty() {
        let named: Vec<String> =
            differences.iter().map(|d| format!("{} {} (recorded: {})", d.name, d.again, d.recorded)).collect();
        let note = format!("`{name}` was built again with other versions than recorded: {}.\n", named.join(", "));
        output.print(Stream::Stderr, &note);
    }
    Ok(Some(built.worker))
}

/// The crates of which the worker of a study was built with other versions than recorded. None are known for a worker
/// that is not built.
pub fn crate_differences(context: &Context, reference: &WorkloadReference) -> Result<Vec<CrateDifference>> {
    let WorkloadReference::Rust { source, .. } = reference else { return Ok(vec![]) };
    let Some(record) = context.store()?.workload(source)? else { return Ok(vec![]) };
    let built = BuildCache::open(context)?.built(source, Some(&record.lock));
    let again = built.map_or(record.lock.clone(), |built| built.lock);
    Ok(LockedCrates::of(&record.lock).differences(&LockedCrates::of(&again)))
}
