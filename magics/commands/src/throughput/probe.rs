//! One probe: a worker that measures and ends. However it ends is an answer.

use crate::error::{MagicError, Result};
use crate::interrupt::Interrupt;
use crate::process::{Ended, Line, run};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
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
    /// Ends it.
    pub interrupt: &'a Interrupt,
}

impl Prober<'_> {
    /// All answers of a probe; a process that was ended for its memory answers so. `tick` is called now and then.
    pub fn ask(&self, task: ProbeTask, tick: &mut dyn FnMut(usize)) -> Result<Vec<ProbeAnswer>> {
        let request = ProbeRequest { workload: self.workload.clone(), params: self.params.clone(), task };
        let size = match &request.task {
            ProbeTask::Fit { batch_size } | ProbeTask::Stages { batch_size } => *batch_size,
            ProbeTask::Time { batch_sizes, .. } => batch_sizes.iter().copied().max().unwrap_or(0),
        };
        let text = serde_json::to_string(&request).unwrap_or_default();
        let mut command = Command::new(&self.worker);
        command.arg("probe").env("TUNEBOOK_DEVICE", &self.device);
        command.envs([("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1"), ("GOMP_SPINCOUNT", "0")]);
        let (mut answers, mut log) = (vec![], vec![]);
        let ended = run(command, &text, self.interrupt, Some(LIMIT), &mut |line| match line {
            Some(Line::Out(line)) => match serde_json::from_str::<ProbeAnswer>(&line) {
                Ok(answer) => {
                    answers.push(answer);
                    tick(answers.len());
                }
                Err(_) => log.push(line),
            },
            Some(Line::Error(line)) => log.push(line),
            None => tick(answers.len()),
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
                return Err(MagicError::new("WorkerError", message, None));
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
