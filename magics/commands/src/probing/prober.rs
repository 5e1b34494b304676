//! One probe: a worker that measures and ends. However it ends is an answer.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{Ended, Line, run};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tunebook_pool::Environment;
use tunebook_study::Params;
use tunebook_study::probe::{ProbeAnswer, ProbeRequest, ProbeTask};

/// A probe that takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(1800);

/// Starts probes of one configuration.
pub struct Prober<'a> {
    /// The worker that has the workload.
    pub worker: PathBuf,
    /// Its name.
    pub workload: String,
    /// Hyperparameters that are not at their defaults.
    pub params: Params,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// What it has beside the kernel's environment.
    pub environment: Environment,
    /// Ends it.
    pub interrupt: &'a Interrupt,
}

impl Prober<'_> {
    /// The error that the workload cannot be `done` (timed, measured) for a reason.
    pub fn cannot(&self, done: &str, reason: &str) -> MagicError {
        MagicError::new(ErrorName::WorkloadError, format!("`{}` cannot be {done}: {reason}", self.workload), None)
    }

    /// All answers of a probe; a process that was ended for its memory answers so. `tick` is called now and then.
    pub fn ask(&self, task: ProbeTask, tick: &mut dyn FnMut(&[ProbeAnswer])) -> Result<Vec<ProbeAnswer>> {
        let request = ProbeRequest { workload: self.workload.clone(), params: self.params.clone(), task };
        let size = request.task.largest_batch();
        let text = serde_json::to_string(&request).unwrap_or_default();
        let mut command = Command::new(&self.worker);
        self.environment.give(&mut command);
        command.arg("probe").env("TUNEBOOK_DEVICE", &self.device);
        command.envs([("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1"), ("GOMP_SPINCOUNT", "0")]);
        let (mut answers, mut log) = (vec![], vec![]);
        let ended = run(command, &text, self.interrupt, Some(LIMIT), &mut |line| match line {
            Some(Line::Out(line)) => match serde_json::from_str::<ProbeAnswer>(&line) {
                Ok(answer) => {
                    answers.push(answer);
                    tick(&answers);
                }
                Err(_) => log.push(line),
            },
            Some(Line::Error(line)) => log.push(line),
            None => tick(&answers),
        });
        let status = match ended {
            Ok(status) => status,
            Err(Ended::Interrupted) => return Err(MagicError::interrupted("the measurement was interrupted")),
            Err(Ended::TimedOut) => {
                let reason = format!("a probe did not end within {} s", LIMIT.as_secs());
                return Ok(vec![ProbeAnswer::Failed { reason }]);
            }
            Err(Ended::CouldNot(error)) => {
                let message = format!("{}: {error}", self.worker.display());
                return Err(MagicError::new(ErrorName::WorkerError, message, None));
            }
        };
        if !status.success() {
            let said = log.iter().rfind(|line| !line.trim().is_empty()).cloned().unwrap_or_default();
            let memory = [
                "memory allocation of",
                "bad_alloc",
                "out of memory",
                "Cannot allocate memory",
                "can't allocate memory",
            ];
            let killed = status.signal() == Some(9);
            answers.push(match killed || log.iter().any(|line| memory.iter().any(|text| line.contains(text))) {
                true => ProbeAnswer::OutOfMemory {
                    batch_size: size,
                    reason: format!("the process ended ({status}) {said}"),
                },
                false => ProbeAnswer::Failed { reason: format!("the process ended ({status}) {said}") },
            });
        }
        Ok(answers)
    }
}
