//! Questions to a worker: what it can train, and what a trained model is worth on the test set.

use crate::Environment;
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde::Deserialize;
use std::any::Any;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;
use tunebook_study::protocol::TrialRequest;
use tunebook_study::{ClassCount, WorkloadDescription};

/// Why a worker did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// The worker cannot be started.
    #[error(
        "the worker {} is not there: {source}. `cargo demo` builds and installs it; TUNEBOOK_WORKER names another one",
        path.display()
    )]
    Missing { path: PathBuf, source: std::io::Error },
    /// The worker ended with an error. Most often it cannot load libtorch.
    #[error(
        "the worker {} cannot run: {reason}. Set-up with `cargo demo` installs the libtorch that it needs",
        path.display()
    )]
    Failed { path: PathBuf, reason: String },
    /// The answer cannot be read.
    #[error(
        "the answer of the worker {} cannot be read ({reason}); build the worker and this kernel from the same sources",
        path.display()
    )]
    Unreadable { path: PathBuf, reason: String },
}

/// Starts a worker with one word as its argument and reads its answer, which is JSON.
pub(crate) fn ask<T: serde::de::DeserializeOwned>(
    worker: &Path,
    question: &str,
    environment: &Environment,
) -> Result<T, DescribeError> {
    ask_about(worker, question, "", environment)
}

/// As [`ask`], with a text on the standard input of the worker.
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
        // Writing fails if the worker has ended already; then it has said why on its standard error.
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

/// The workloads that a worker can train. A worker is asked once for each build of it.
pub fn describe(worker: &Path) -> Result<Vec<WorkloadDescription>, DescribeError> {
    once_per_build(worker, "describe", &Environment::default(), ask)
}

/// As [`describe`], but asks the worker again.
pub fn describe_anew(worker: &Path) -> Result<Vec<WorkloadDescription>, DescribeError> {
    ask(worker, "describe", &Environment::default())
}

/// The evaluation of a trial's best checkpoint on the test set.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum FinalEvaluation {
    /// The checkpoint was evaluated.
    Done {
        /// The values of `test/loss`, `test/error` and so on; None (in JSON null) for a value that is not finite.
        metrics: IndexMap<String, Option<f64>>,
        /// The hash of the test set.
        test_set: String,
        /// The number of examples in the test set.
        examples: u64,
        /// How many of each class are right. Empty if the targets are no classes.
        #[serde(default)]
        classes: Vec<ClassCount>,
    },
    /// The checkpoint could not be evaluated.
    Problem {
        /// Why not.
        problem: String,
    },
}

/// Asks a worker to evaluate a trial on the test set. The caller records that this was done.
pub fn evaluate_finally(
    worker: &Path,
    trial: &TrialRequest,
    environment: &Environment,
) -> Result<FinalEvaluation, DescribeError> {
    let request = serde_json::to_string(trial).unwrap_or_default();
    ask_about(worker, "final", &request, environment)
}

/// The answer of a worker, which is asked once for each build of it and each environment: to start it takes as long as
/// loading libtorch does.
pub(crate) fn once_per_build<T: Clone + Send + 'static>(
    worker: &Path,
    question: &'static str,
    environment: &Environment,
    ask: fn(&Path, &str, &Environment) -> Result<T, DescribeError>,
) -> Result<T, DescribeError> {
    type Build = (PathBuf, u64, Option<SystemTime>, Environment);
    type Answers = BTreeMap<&'static str, (Build, Box<dyn Any + Send>)>;
    // The last answer to each question. Static, because the magics that ask have nothing else in common.
    static ANSWERS: Mutex<Answers> = Mutex::new(BTreeMap::new());
    let metadata =
        std::fs::metadata(worker).map_err(|source| DescribeError::Missing { path: worker.into(), source })?;
    let build = (worker.to_path_buf(), metadata.len(), metadata.modified().ok(), environment.clone());
    if let Some((asked, answer)) = ANSWERS.lock().get(question)
        && *asked == build
        && let Some(answer) = answer.downcast_ref::<T>()
    {
        return Ok(answer.clone());
    }
    let answer = ask(worker, question, environment)?;
    ANSWERS.lock().insert(question, (build, Box::new(answer.clone())));
    Ok(answer)
}
