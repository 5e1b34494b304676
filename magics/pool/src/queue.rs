//! Why commands wait, in the words of the scheduler.

use crate::Environment;
use crate::launch::Pod;
use crate::slot_process::SlotProcess;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The scheduler is asked this often.
const EVERY: Duration = Duration::from_secs(5);

/// So many pods are asked about at a time. There is a call of `kubectl` for each.
const PODS: usize = 8;

/// What schedulers say about jobs and pods. A thread asks them, so that nothing waits for their answer.
#[derive(Default)]
pub(crate) struct Queue {
    asked: Option<Instant>,
    asking: Arc<AtomicBool>,
    /// The reason of each job or pod that waits.
    reasons: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Queue {
    /// Asks about processes that wait, unless that was done a moment ago.
    pub(crate) fn ask<'a>(&mut self, environment: Environment, waiting: impl Iterator<Item = &'a SlotProcess>) {
        if self.asked.is_some_and(|asked| asked.elapsed() < EVERY) || self.asking.load(Ordering::Acquire) {
            return;
        }
        let waiting: Vec<&SlotProcess> = waiting.collect();
        let jobs: Vec<String> = waiting.iter().filter_map(|process| job_of(process)).collect();
        let pods: Vec<Pod> = waiting.iter().filter_map(|process| process.pod.clone()).take(PODS).collect();
        if jobs.is_empty() && pods.is_empty() {
            return;
        }
        self.asked = Some(Instant::now());
        self.asking.store(true, Ordering::Release);
        let (asking, reasons) = (self.asking.clone(), self.reasons.clone());
        std::thread::spawn(move || {
            let mut answer =
                if jobs.is_empty() { BTreeMap::new() } else { squeue(&jobs, &environment).unwrap_or_default() };
            answer.extend(pods.into_iter().filter_map(|pod| {
                let reason = kubectl(&pod.ask(), &environment)?;
                Some((pod.name, reason))
            }));
            *reasons.lock() = answer;
            asking.store(false, Ordering::Release);
        });
    }

    /// Why a process waits, if the scheduler has said so.
    pub(crate) fn reason(&self, process: &SlotProcess) -> Option<String> {
        let reasons = self.reasons.lock();
        if let Some(Pod { name, .. }) = &process.pod {
            return reasons.get(name).map(|reason| format!("pod {name} waits: {reason}"));
        }
        let job = job_of(process)?;
        reasons.get(&job).map(|reason| format!("job {job} waits: {reason}"))
    }
}

/// What `kubectl` says about a pod.
fn kubectl(words: &[String], environment: &Environment) -> Option<String> {
    let mut command = Command::new("kubectl");
    environment.give(&mut command);
    let output = command.args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The number of the job that `srun` waits for.
fn job_of(process: &SlotProcess) -> Option<String> {
    let line = process.line_with("srun: job ")?;
    job_in(&line).map(String::from)
}

/// The number in `srun: job 12 queued and waiting for resources`.
fn job_in(line: &str) -> Option<&str> {
    let number = line.split_once("srun: job ")?.1.split(' ').next()?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

/// The reasons of jobs, as `squeue` gives them. Jobs that do not wait are left out.
fn squeue(jobs: &[String], environment: &Environment) -> Option<BTreeMap<String, String>> {
    let mut command = Command::new("squeue");
    environment.give(&mut command);
    command.args(["--noheader", "--states=PENDING", "--format=%i|%r", "--jobs", &jobs.join(",")]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().filter_map(|line| line.split_once('|')).map(|(job, why)| (job.into(), why.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_found_in_what_srun_says() {
        assert_eq!(job_in("srun: job 12 queued and waiting for resources"), Some("12"));
        assert_eq!(job_in("srun: job submitted"), None);
        assert_eq!(job_in("srun: error: Unable to allocate resources"), None);
    }
}
