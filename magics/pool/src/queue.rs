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
    known: Arc<Mutex<Known>>,
}

/// What is known of jobs and pods.
#[derive(Default)]
struct Known {
    /// The reason of each job or pod that waits.
    reasons: BTreeMap<String, String>,
    /// The jobs that run, by their numbers and by their names: the number, and since when that is known.
    running: BTreeMap<String, (String, Instant)>,
}

impl Queue {
    /// Asks about processes that wait, unless that was done a moment ago.
    pub(crate) fn ask<'a>(&mut self, environment: Environment, waiting: impl Iterator<Item = &'a SlotProcess>) {
        if self.asked.is_some_and(|asked| asked.elapsed() < EVERY) || self.asking.load(Ordering::Acquire) {
            return;
        }
        let waiting: Vec<&SlotProcess> = waiting.collect();
        // The name finds a job that was granted at once, about which `srun` says nothing. If the job waits, `srun` says
        // its number in a moment.
        let (numbered, named): (Vec<_>, Vec<_>) =
            waiting.iter().map(|process| (job_of(process), process)).partition(|(number, _)| number.is_some());
        let numbers: Vec<String> = numbered.into_iter().filter_map(|(number, _)| number).collect();
        let named = named.into_iter().filter(|(_, process)| process.since.elapsed() >= EVERY);
        let names: Vec<String> = named.filter_map(|(_, process)| process.job_name.clone()).collect();
        let pods: Vec<Pod> = waiting.iter().filter_map(|process| process.pod.clone()).take(PODS).collect();
        if numbers.is_empty() && names.is_empty() && pods.is_empty() {
            return;
        }
        self.asked = Some(Instant::now());
        self.asking.store(true, Ordering::Release);
        let (asking, known) = (self.asking.clone(), self.known.clone());
        std::thread::spawn(move || {
            let lists = [("--jobs", numbers), ("--name", names)];
            let lists = lists.iter().filter(|(_, jobs)| !jobs.is_empty());
            let listed: String = lists.filter_map(|(option, jobs)| squeue(option, jobs, &environment)).collect();
            let reasons: Vec<(String, String)> =
                pods.into_iter().filter_map(|pod| Some((kubectl(&pod.ask(), &environment)?, pod.name))).collect();
            let mut known = known.lock();
            known.learn(&listed, Instant::now());
            known.reasons.extend(reasons.into_iter().map(|(reason, pod)| (pod, reason)));
            asking.store(false, Ordering::Release);
        });
    }

    /// The job of a process that runs, and since when that is known.
    pub(crate) fn running(&self, process: &SlotProcess) -> Option<(String, Instant)> {
        let key = job_of(process).or_else(|| process.job_name.clone())?;
        self.known.lock().running.get(&key).cloned()
    }

    /// Why a process waits, if the scheduler has said so.
    pub(crate) fn reason(&self, process: &SlotProcess) -> Option<String> {
        if let Some(Pod { name, .. }) = &process.pod {
            return self.known.lock().reasons.get(name).map(|reason| format!("pod {name} waits: {reason}"));
        }
        if let Some((job, _)) = self.running(process) {
            return Some(format!("job {job} runs, and its slot has not answered yet"));
        }
        let job = job_of(process)?;
        self.known.lock().reasons.get(&job).map(|reason| format!("job {job} waits: {reason}"))
    }
}

impl Known {
    /// Replaces what is known of jobs by what `squeue` has listed.
    fn learn(&mut self, listed: &str, now: Instant) {
        self.reasons.clear();
        let before = std::mem::take(&mut self.running);
        for line in listed.lines() {
            let mut words = line.splitn(4, '|');
            let (Some(job), Some(state), Some(name), Some(why)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            if state != "RUNNING" {
                self.reasons.insert(job.into(), why.into());
                continue;
            }
            for key in [job, name] {
                let since = before.get(key).map_or(now, |(_, since)| *since);
                self.running.insert(key.into(), (job.into(), since));
            }
        }
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

/// The jobs that wait or run, as `squeue` lists them: number, state, name and reason.
fn squeue(option: &str, jobs: &[String], environment: &Environment) -> Option<String> {
    let mut command = Command::new("squeue");
    environment.give(&mut command);
    command.args(["--noheader", "--states=PENDING,RUNNING", "--format=%i|%T|%j|%r", option, &jobs.join(",")]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_runs_is_known_from_the_first_time_on() {
        let (mut known, start) = (Known::default(), Instant::now());
        known.learn("7|PENDING|tunebook-a-1|Resources\n8|RUNNING|tunebook-a-2|None\n", start);
        assert_eq!(known.reasons, [("7".to_string(), "Resources".to_string())].into());
        known.learn("8|RUNNING|tunebook-a-2|None\n", start + Duration::from_secs(9));
        assert_eq!(known.running.get("tunebook-a-2"), Some(&("8".to_string(), start)));
        assert!(known.reasons.is_empty() && known.running.contains_key("8"));
    }

    #[test]
    fn the_job_is_found_in_what_srun_says() {
        assert_eq!(job_in("srun: job 12 queued and waiting for resources"), Some("12"));
        assert_eq!(job_in("srun: job submitted"), None);
        assert_eq!(job_in("srun: error: Unable to allocate resources"), None);
    }
}
