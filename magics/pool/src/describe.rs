//! What the worker can train, in its own words.

use crate::Environment;
use indexmap::IndexMap;
use serde::Deserialize;
use std::any::Any;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;
use tunebook_study::WorkloadDescription;
use tunebook_study::protocol::TrialRequest;

/// The worker could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It is not there.
    #[error("the worker {} is not there: {source}. `cargo demo` builds and installs it; TUNEBOOK_WORKER names another one", path.display())]
    Missing { path: PathBuf, source: std::io::Error },
    /// It ended badly; most often libtorch cannot be loaded.
    #[error("the worker {} cannot run: {reason}. Set-up with `cargo demo` brings the libtorch that it needs", path.display())]
    Failed { path: PathBuf, reason: String },
    /// It answered something else.
    #[error("the worker {} does not speak this kernel's language ({reason}); build both from the same sources", path.display())]
    Unreadable { path: PathBuf, reason: String },
}

/// Asks a worker with one word and reads its JSON answer.
pub(crate) fn ask<T: serde::de::DeserializeOwned>(
    worker: &Path,
    question: &str,
    environment: &Environment,
) -> Result<T, DescribeError> {
    ask_about(worker, question, "", environment)
}

/// The same with something to ask about on its standard input.
fn ask_about<T: serde::de::DeserializeOwned>(
    worker: &Path,
    question: &str,
    about: &str,
    environment: &Environment,
) -> Result<T, DescribeError> {
    let path = worker.to_path_buf();
    let missing = |source| DescribeError::Missing { path: worker.into(), source };
    let mut command = Command::new(worker);
    environment.give(&mut command);
    command.arg(question).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(missing)?;
    if let Some(mut stdin) = process.stdin.take() {
        // A worker that ended already has said why on its standard error.
        let _ = stdin.write_all(about.as_bytes());
    }
    let output = process.wait_with_output().map_err(missing)?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(DescribeError::Failed { path, reason: format!("{} ({last})", output.status) });
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| DescribeError::Unreadable { path, reason: error.to_string() })
}

/// The workloads of a worker.
pub fn describe(worker: &Path) -> Result<Vec<WorkloadDescription>, DescribeError> {
    once_per_build(worker, "describe", &Environment::default(), ask)
}

/// The same of a worker that is asked for the first time.
pub fn describe_anew(worker: &Path) -> Result<Vec<WorkloadDescription>, DescribeError> {
    ask(worker, "describe", &Environment::default())
}

/// What a trial's best checkpoint is worth on the test set.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum FinalEvaluation {
    /// It was evaluated.
    Done {
        /// `test/loss`, `test/error`, …; null where not finite.
        metrics: IndexMap<String, Option<f64>>,
        /// Hash of the test set.
        test_set: String,
        /// How many examples it has.
        examples: u64,
    },
    /// It could not be.
    Problem {
        /// Why.
        problem: String,
    },
}

/// Lets a worker evaluate a trial on the test set; that it was asked is for the caller to record.
pub fn evaluate_finally(
    worker: &Path,
    trial: &TrialRequest,
    environment: &Environment,
) -> Result<FinalEvaluation, DescribeError> {
    let request = serde_json::to_string(trial).unwrap_or_default();
    ask_about(worker, "final", &request, environment)
}

/// A worker's answer, asked once for each build of it and environment: starting it means loading libtorch.
pub(crate) fn once_per_build<T: Clone + Send + 'static>(
    worker: &Path,
    question: &'static str,
    environment: &Environment,
    ask: fn(&Path, &str, &Environment) -> Result<T, DescribeError>,
) -> Result<T, DescribeError> {
    type Build = (PathBuf, u64, Option<SystemTime>, Environment);
    type Known = HashMap<&'static str, (Build, Box<dyn Any + Send>)>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let metadata =
        std::fs::metadata(worker).map_err(|source| DescribeError::Missing { path: worker.into(), source })?;
    let build = (worker.to_path_buf(), metadata.len(), metadata.modified().ok(), environment.clone());
    if let Ok(known) = KNOWN.lock()
        && let Some((of, answer)) = known.as_ref().and_then(|known| known.get(question))
        && *of == build
        && let Some(answer) = answer.downcast_ref::<T>()
    {
        return Ok(answer.clone());
    }
    let answer = ask(worker, question, environment)?;
    if let Ok(mut known) = KNOWN.lock() {
        known.get_or_insert_default().insert(question, (build, Box::new(answer.clone())));
    }
    Ok(answer)
}
