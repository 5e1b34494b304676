//! Runs a program as a workload: one process for each trial, which prints its measurements as lines of JSON.

use super::log::Log;
use super::process::{Group, describe, out_of_memory_kills};
use super::{Outcome, cancels, send};
use crate::program_line;
use crossbeam_channel::{Receiver, after, never, select, unbounded};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tunebook_study::protocol::{Event, Request, TrialRequest};
use tunebook_study::{Measurement, TrialState};

/// After a program has ended, its process group is ended once it has printed nothing for this long.
const LINGER: Duration = Duration::from_millis(100);
/// A pipe that is still open this long after the end of the group is held by a process that has left the group. Its
/// output is not waited for.
const PIPE_HELD_OPEN: Duration = Duration::from_secs(2);
/// Lines are read for at most this long after the end of a program, in case such a process goes on printing.
const READ_AFTER_END: Duration = Duration::from_secs(30);

/// What the program has reported of its objective so far.
#[derive(Default)]
struct Objective {
    /// Whether a finite value was reported.
    reported: bool,
    /// The first step at which the value was not finite.
    non_finite_at: Option<u64>,
}

/// Runs a program to its end, or ends it: when its trial is cancelled, takes too long, or has reached its target.
pub(super) fn run(words: &[String], request: &TrialRequest, requests: &Receiver<Request>, log: Log) -> Outcome {
    let words = match program_line::fill(words, &request.params) {
        Ok(words) => words,
        Err(error) => return Outcome::failed(error.to_string()),
    };
    let Some((program, arguments)) = words.split_first() else { return Outcome::failed("the command is empty") };
    let oom_before = out_of_memory_kills();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("TUNEBOOK_SEED", request.seed.to_string())
        .env("TUNEBOOK_TRIAL", request.trial.number.to_string())
        .env("TUNEBOOK_STUDY", &request.trial.study)
        .env("TUNEBOOK_TRIAL_DIR", &request.directory)
        .env("TUNEBOOK_PARAMS", serde_json::to_string(&request.params).unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut group = match Group::spawn(&mut command) {
        Ok(group) => group,
        Err(error) => return Outcome::failed(format!("the program `{program}` cannot be started: {error}")),
    };
    let pipes = (group.child().stdout.take(), group.child().stderr.take());
    let (Some(stdout), Some(stderr)) = pipes else { return Outcome::failed("the program has no pipes") };
    send(&Event::Started { trial: request.trial.clone() });
    let started = Instant::now();

    let (sender, lines) = unbounded();
    let error_log = log.clone();
    let errors = std::thread::spawn(move || {
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            error_log.line(&String::from_utf8_lossy(&line));
        }
    });
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    let mut objective = Objective::default();
    let timeout = request.timeout.map_or_else(never, |seconds| after(Duration::from_secs_f64(seconds)));
    // A process that the program started may hold the pipes open after the program has ended. Therefore the end of the
    // program is watched for as well.
    let status = loop {
        select! {
            recv(lines) -> line => match line {
                Ok(line) => if let Some(outcome) = objective.take(&line, request, started, &log) {
                    group.end_gently();
                    return outcome;
                },
                Err(_) => break group.child().wait(),
            },
            recv(requests) -> other => if other.is_ok_and(|other| cancels(&other, &request.trial)) {
                group.end_gently();
                return Outcome::cancelled();
            },
            recv(timeout) -> _ => {
                group.end_gently();
                return Outcome::timed_out(request);
            },
            default(Duration::from_millis(50)) => if let Ok(Some(status)) = group.child().try_wait() {
                // First the lines of processes that outlive the program for a moment, such as a `tee`. Then the group
                // is ended, which closes the pipes, and everything that was printed is read to the end of the pipe.
                let ended = Instant::now();
                for quiet in [LINGER, PIPE_HELD_OPEN] {
                    while ended.elapsed() < READ_AFTER_END
                        && let Ok(line) = lines.recv_timeout(quiet)
                    {
                        if let Some(outcome) = objective.take(&line, request, started, &log) {
                            return outcome;
                        }
                    }
                    group.end();
                }
                break Ok(status);
            },
        }
    };
    // This ends the group, which closes the pipes that others of it still hold.
    drop(group);
    let deadline = Instant::now() + PIPE_HELD_OPEN;
    while !errors.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    match status {
        Ok(status) => objective.outcome(status, &request.objective, &log, oom_before),
        Err(error) => Outcome::failed(format!("the program cannot be waited for: {error}")),
    }
}

impl Objective {
    /// Reports a line of the program's output if it is a measurement, and logs it otherwise. Returns the outcome if the
    /// trial is to end with this measurement: it has reached its target, or may not try any longer.
    fn take(&mut self, line: &str, request: &TrialRequest, started: Instant, log: &Log) -> Option<Outcome> {
        let Some(mut measurement) = measurement(line) else {
            log.line(line);
            return None;
        };
        measurement.seconds = started.elapsed().as_secs_f64();
        match measurement.metrics.get(&request.objective) {
            Some(Some(_)) => self.reported = true,
            Some(None) => self.non_finite_at = self.non_finite_at.or(Some(measurement.step)),
            None => {}
        }
        let (step, value) = (measurement.step, measurement.metrics.get(&request.objective).copied().flatten());
        send(&Event::Measured { trial: request.trial.clone(), measurement });
        let until = request.until?;
        Some(match until.verdict(request.direction, value?, step)? {
            true => Outcome { state: TrialState::Complete, reason: None },
            false => Outcome { state: TrialState::Stopped, reason: Some(until.reason(&request.objective)) },
        })
    }

    /// The outcome of a program that has ended by itself.
    fn outcome(self, status: ExitStatus, metric: &str, log: &Log, oom_before: u64) -> Outcome {
        let infeasible = |reason: String| Outcome { state: TrialState::Infeasible, reason: Some(reason) };
        if let Some(step) = self.non_finite_at {
            return infeasible(format!("`{metric}` became non-finite at step {step}"));
        }
        if status.signal() == Some(9) && out_of_memory_kills() > oom_before {
            return infeasible("out of memory: the system killed the program".into());
        }
        if !status.success() {
            let said = log.last_line().map_or(String::new(), |line| format!(": {line}"));
            return Outcome::failed(format!("the program {}{said}", describe(status)));
        }
        if !self.reported {
            return Outcome::failed(format!("the program ended without reporting `{metric}`"));
        }
        Outcome { state: TrialState::Complete, reason: None }
    }
}

/// The measurement on a line, if it is one: a JSON object with a whole number `step`. Every other number in it is a
/// metric. `NaN`, `Infinity` and `-Infinity`, which are not JSON but which Python writes, are metrics without a finite
/// value.
fn measurement(line: &str) -> Option<Measurement> {
    let line = line.trim();
    if !line.starts_with('{') {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).or_else(|_| serde_json::from_str(&quote_non_finite(line))).ok()?;
    let step = object.get("step")?.as_f64().filter(|step| *step >= 0.0 && step.fract() == 0.0)? as u64;
    let mut metrics = indexmap::IndexMap::new();
    for (name, value) in object.into_iter().filter(|(name, _)| name != "step") {
        match value {
            serde_json::Value::Number(number) => drop(metrics.insert(name, number.as_f64().filter(|x| x.is_finite()))),
            serde_json::Value::String(text) if text == NON_FINITE => drop(metrics.insert(name, None)),
            _ => {}
        }
    }
    Some(Measurement { step, seconds: 0.0, metrics })
}

/// A string that stands for such a token. Its first character is for private use, so that no text of a program is equal
/// to it.
const NON_FINITE: &str = "\u{e000}non-finite";

/// Replaces the tokens that are not JSON by [`NON_FINITE`]. Text in strings stays as it is.
fn quote_non_finite(line: &str) -> String {
    let (mut out, mut rest, mut in_string, mut escaped) = (String::new(), line, false, false);
    while let Some(c) = rest.chars().next() {
        if !in_string
            && let Some(token) = ["-Infinity", "Infinity", "NaN"].iter().find(|token| rest.starts_with(**token))
        {
            out += &format!("\"{NON_FINITE}\"");
            rest = &rest[token.len()..];
            continue;
        }
        in_string ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::measurement;

    #[test]
    fn only_json_objects_with_a_whole_step_are_measurements() {
        let m = measurement(r#"{"step": 100, "valid/error": 0.12, "note": "NaN \" NaN", "train/loss": NaN}"#).unwrap();
        assert_eq!(m.step, 100);
        assert_eq!(m.metrics["valid/error"], Some(0.12));
        assert_eq!(m.metrics["train/loss"], None);
        assert!(!m.metrics.contains_key("note"));
        assert_eq!(measurement(r#"{"step": 1, "x": -Infinity}"#).unwrap().metrics["x"], None);
        assert_eq!(measurement(r#"{"step": 1, "x": 1e999}"#).map(|m| m.metrics["x"]), None);
        for log in ["hello", "{}", r#"{"step": "a"}"#, r#"{"step": 1.5}"#, r#"{"step": 1"#, "[1]"] {
            assert!(measurement(log).is_none(), "{log}");
        }
    }
}
