//! Runs probes. A probe is a worker process that measures something and ends. A process that runs out of memory or
//! crashes is an answer too, not an error.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{Line, ProcessError, run};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tunebook_pool::Environment;
use tunebook_study::Params;
use tunebook_study::probe::{ProbeAnswer, ProbeRequest, ProbeTask};

/// The time limit of a probe.
const LIMIT: Duration = Duration::from_secs(1800);

/// Runs probes of one configuration of a workload.
pub struct Prober<'a> {
    /// The executable of the worker.
    pub worker: PathBuf,
    /// The name of the workload.
    pub workload: String,
    /// The hyperparameters that do not have their default values.
    pub params: Params,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The changes to the kernel's environment.
    pub environment: Environment,
    /// The sweeps that run in the background, which disturb a measurement of time.
    pub beside: Vec<String>,
    pub interrupt: &'a Interrupt,
}

impl Prober<'_> {
    /// The error that the workload cannot be `done` ("timed", "measured"), with the reason.
    pub fn cannot(&self, done: &str, reason: &str) -> MagicError {
        MagicError::new(ErrorName::WorkloadError, format!("`{}` cannot be {done}: {reason}", self.workload), None)
    }

    /// Runs a probe and returns all its answers. If the process ran out of memory, was killed or crashed, the last
    /// answer says so. `on_progress` gets the answers so far, after each answer and about twice a second.
    pub fn ask(&self, task: ProbeTask, on_progress: &mut dyn FnMut(&[ProbeAnswer])) -> Result<Vec<ProbeAnswer>> {
        let request = ProbeRequest { workload: self.workload.clone(), params: self.params.clone(), task };
        let size = request.task.largest_batch();
        let text = serde_json::to_string(&request).unwrap_or_default();
        let mut command = Command::new(&self.worker);
        self.environment.give(&mut command);
        command.arg("probe").env("TUNEBOOK_DEVICE", &self.device);
        command.envs([("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1"), ("GOMP_SPINCOUNT", "0")]);
        let (mut answers, mut log) = (vec![], vec![]);
        let ended = run(command, &text, self.interrupt, Some(LIMIT), &mut |line| match line {
            Some(Line::Stdout(line)) => match serde_json::from_str::<ProbeAnswer>(&line) {
                Ok(answer) => {
                    answers.push(answer);
                    on_progress(&answers);
                }
                Err(_) => log.push(line),
            },
            Some(Line::Stderr(line)) => log.push(line),
            None => on_progress(&answers),
        });
        let status = match ended {
            Ok(status) => status,
            Err(ProcessError::Interrupted) => return Err(MagicError::interrupted("the measurement was interrupted")),
            Err(ProcessError::TimedOut) => {
                let reason = format!("a probe did not end within {} s", LIMIT.as_secs());
                return Ok(vec![ProbeAnswer::Failed { reason }]);
            }
            Err(ProcessError::Io(error)) => {
                let message = format!("{}: {error}", self.worker.display());
                return Err(MagicError::new(ErrorName::WorkerError, message, None));
            }
        };
        if !status.success() {
            let last_line = log.iter().rfind(|line| !line.trim().is_empty()).cloned().unwrap_or_default();
            let out_of_memory = [
                "memory allocation of",
                "bad_alloc",
                "out of memory",
                "Cannot allocate memory",
                "can't allocate memory",
            ];
            // The operating system kills a process with SIGKILL (9) if memory runs out.
            let killed = status.signal() == Some(9);
            answers.push(match killed || log.iter().any(|line| out_of_memory.iter().any(|text| line.contains(text))) {
                true => ProbeAnswer::OutOfMemory {
                    batch_size: size,
                    reason: format!("the process ended ({status}) {last_line}"),
                },
                false => ProbeAnswer::Failed { reason: format!("the process ended ({status}) {last_line}") },
            });
        }
        Ok(answers)
    }
}
