//! The first steps of a new workload, so that what cannot be trained is known before a study begins.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{Ended, Line, run};
use crate::report::Status;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tunebook_pool::Environment;

/// Data may have to be read; a forward that takes longer than this for two steps is stuck, or useless.
const LIMIT: Duration = Duration::from_secs(120);
/// Lines of a log that are worth showing.
const LOG_LINES: usize = 20;

/// What the first steps showed.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct FirstSteps {
    ok: bool,
    problem: Option<String>,
    /// Sizes of the data.
    pub examples: Option<ExampleSizes>,
    /// How many numbers the model learns.
    pub parameters: Option<u64>,
    /// Metrics that were reported.
    #[serde(default)]
    pub metrics: Vec<String>,
}

/// How much there is, and the shape of an example.
#[derive(Clone, Debug, Deserialize)]
pub struct ExampleSizes {
    /// To train on.
    pub train: u64,
    /// To validate with.
    pub valid: u64,
    /// Shape of one input.
    pub inputs: Vec<i64>,
    /// Shape of one target.
    pub targets: Vec<i64>,
}

/// Lets a worker take two steps with the defaults.
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
        Some(Line::Out(line)) => match serde_json::from_str::<FirstSteps>(&line) {
            Ok(first_steps) => answer = Some(first_steps),
            Err(_) => log.push(line),
        },
        Some(Line::Error(line)) => log.push(line),
        None => status.say(&format!("Trying two steps of `{name}`, {} s", started.elapsed().as_secs())),
    });
    let problem = match (done, answer) {
        (Err(Ended::Interrupted), _) => {
            return Err(MagicError::interrupted(format!("`{name}` is built, but was not tried; run the cell again")));
        }
        (Ok(_), Some(first_steps)) if first_steps.ok => return Ok(first_steps),
        (Ok(_), Some(first_steps)) => first_steps.problem.unwrap_or_default(),
        (Ok(status), None) => format!("its process ended ({status})"),
        (Err(Ended::TimedOut), _) => format!("two steps did not end within {} s", LIMIT.as_secs()),
        (Err(Ended::CouldNot(error)), _) => error.to_string(),
    };
    let help = "mend the cell and run it again; no study has seen it".to_string();
    let message = format!("`{name}` compiles, but cannot be trained: {problem}");
    let error = MagicError::new(ErrorName::WorkloadError, message, Some(help));
    log.retain(|line| !line.trim().is_empty() && !problem.contains(line.trim()));
    if log.is_empty() {
        return Err(error);
    }
    let end = log.split_off(log.len().saturating_sub(LOG_LINES));
    Err(error.with_details(["What it printed last:".to_string()]).with_details(end))
}
