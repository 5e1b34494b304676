//! Trains a new workload for two steps, so that mistakes are found before a study begins.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{Line, ProcessError, run};
use crate::report::Status;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tunebook_pool::Environment;

/// The time limit for two steps and for reading the data.
const LIMIT: Duration = Duration::from_secs(120);
/// How many lines of the log an error shows.
const LOG_LINES: usize = 20;

/// What the worker reports about the first steps, as JSON.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct FirstSteps {
    ok: bool,
    problem: Option<String>,
    /// The sizes of the data. None for a training function.
    pub examples: Option<ExampleSizes>,
    /// What the table of the data became, in sentences.
    #[serde(default)]
    pub description: Vec<String>,
    /// The number of parameters of the model. None for a training function.
    pub parameters: Option<u64>,
    /// The names of the metrics that were reported.
    #[serde(default)]
    pub metrics: Vec<String>,
}

/// The numbers of examples and the shapes of one.
#[derive(Clone, Debug, Deserialize)]
pub struct ExampleSizes {
    /// The number of training examples.
    pub train: u64,
    /// The number of validation examples.
    pub valid: u64,
    /// The shape of one input.
    pub inputs: Vec<i64>,
    /// The shape of one target.
    pub targets: Vec<i64>,
}

/// Runs a worker for two steps with the default hyperparameters. Any failure is a `WorkloadError` with the end of the
/// log.
pub fn try_out(
    worker: &Path,
    name: &str,
    environment: &Environment,
    status: &mut Status<'_>,
    interrupt: &Interrupt,
) -> Result<FirstSteps> {
    status.say(&format!("Trying two steps of `{name}`"));
    let mut command = Command::new(worker);
    environment.give(&mut command);
    command.args(["smoke", name]).envs([("OMP_NUM_THREADS", "1"), ("GOMP_SPINCOUNT", "0")]);
    let (mut answer, mut log) = (None, vec![]);
    let started = Instant::now();
    let done = run(command, "", interrupt, Some(LIMIT), &mut |line| match line {
        Some(Line::Stdout(line)) => match serde_json::from_str::<FirstSteps>(&line) {
            Ok(first_steps) => answer = Some(first_steps),
            Err(_) => log.push(line),
        },
        Some(Line::Stderr(line)) => log.push(line),
        None => status.say(&format!("Trying two steps of `{name}`, {} s", started.elapsed().as_secs())),
    });
    let problem = match (done, answer) {
        (Err(ProcessError::Interrupted), _) => {
            return Err(MagicError::interrupted(format!("`{name}` is built, but was not tried; run the cell again")));
        }
        (Ok(_), Some(first_steps)) if first_steps.ok => return Ok(first_steps),
        (Ok(_), Some(first_steps)) => first_steps.problem.unwrap_or_default(),
        (Ok(status), None) => format!("its process ended ({status})"),
        (Err(ProcessError::TimedOut), _) => format!("two steps did not end within {} s", LIMIT.as_secs()),
        (Err(ProcessError::Io(error)), _) => error.to_string(),
    };
    let help = "correct the cell and run it again; no study was changed".to_string();
    let message = format!("`{name}` compiles, but cannot be trained: {problem}");
    let error = MagicError::new(ErrorName::WorkloadError, message, Some(help));
    log.retain(|line| !line.trim().is_empty() && !problem.contains(line.trim()));
    if log.is_empty() {
        return Err(error);
    }
    let end = log.split_off(log.len().saturating_sub(LOG_LINES));
    Err(error.with_details(["The end of its output:".to_string()]).with_details(end))
}
