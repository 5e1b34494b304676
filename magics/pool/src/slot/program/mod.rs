//! Runs a program as a workload: one process for each trial, which prints its measurements as lines of JSON.

mod diagnosis;
mod literal;
mod report;

use self::report::{Lines, Report, Taken};
use super::log::Log;
use super::process::{Group, describe, out_of_memory_kills};
use super::{Outcome, Place, cancels, send};
use crate::program_line;
use crossbeam_channel::{Receiver, after, never, select, unbounded};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tunebook_study::divergence::Divergence;
use tunebook_study::protocol::{Event, Request, TrialRequest};
use tunebook_study::{Measurement, ProgramLine, TrialState};

/// After a program has ended, its process group is ended once it has printed nothing for this long.
const LINGER: Duration = Duration::from_millis(100);
/// A pipe that is still open this long after the end of the group is held by a process that has left the group. Its
/// output is not waited for.
const PIPE_HELD_OPEN: Duration = Duration::from_secs(2);
/// Lines are read for at most this long after the end of a program, in case such a process goes on printing.
const READ_AFTER_END: Duration = Duration::from_secs(30);

/// A line that is longer is read in parts.
const LONGEST_LINE: usize = 1 << 20;

/// What the program has reported so far.
struct Objective {
    report: Report,
    /// Whether a finite value was reported.
    reported: bool,
    divergence: Divergence,
}

/// Runs a program to its end, or ends it: when its trial is cancelled, takes too long, or has reached its target.
pub(super) fn run(
    line: &ProgramLine,
    request: &TrialRequest,
    requests: &Receiver<Request>,
    log: Log,
    place: &Place,
) -> Outcome {
    let words = match program_line::fill(line, &request.params) {
        Ok(words) => words,
        Err(error) => return Outcome::failed(error.to_string()),
    };
    let words = match &place.mirror {
        Some(mirror) => words.iter().map(|word| mirror.text(word)).collect(),
        None => words,
    };
    let Some((program, arguments)) = words.split_first() else { return Outcome::failed("the command is empty") };
    let oom_before = out_of_memory_kills();
    let mut command = Command::new(program);
    place.environment.give(&mut command);
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
    if std::env::var_os("PYTHONUNBUFFERED").is_none() {
        // Otherwise Python keeps what it prints until there are 8 KiB of it, and loses it when the trial is ended.
        command.env("PYTHONUNBUFFERED", "1");
    }
    let mut group = match Group::spawn(&mut command) {
        Ok(group) => group,
        Err(error) => return Outcome::failed(diagnosis::not_started(program, &error)),
    };
    let pipes = (group.child().stdout.take(), group.child().stderr.take());
    let (Some(stdout), Some(stderr)) = pipes else { return Outcome::failed("the program has no pipes") };
    send(&Event::Started { trial: request.trial.clone() });
    let started = Instant::now();

    let (sender, lines) = unbounded();
    let error_log = log.clone();
    let errors = std::thread::spawn(move || {
        let mut measurements = Lines::default();
        read_lines(BufReader::new(stderr), |line| {
            if report::is_measurement(&line) {
                measurements.add(&line);
            }
            error_log.error_line(&line);
            true
        });
        measurements
    });
    std::thread::spawn(move || read_lines(BufReader::new(stdout), |line| sender.send(line).is_ok()));
    let report = Report::new(&request.objective);
    let mut objective = Objective { report, reported: false, divergence: Divergence::default() };
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
                return objective.timed_out(request);
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
    if let Some(outcome) = objective.end(request, started, &log) {
        return outcome;
    }
    let deadline = Instant::now() + PIPE_HELD_OPEN;
    while !errors.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    if errors.is_finished() {
        objective.report.misread.on_stderr = errors.join().unwrap_or_default();
    }
    match status {
        Ok(status) => objective.outcome(status, &request.objective, &log, oom_before, &words),
        Err(error) => Outcome::failed(format!("the program cannot be waited for: {error}")),
    }
}

/// Reads lines until the end, or until `take` returns false. Lines end with a line feed or, as those of a progress bar,
/// with a carriage return.
fn read_lines(mut reader: impl BufRead, mut take: impl FnMut(String) -> bool) {
    let (mut line, mut goes_on, mut after_return) = (Vec::new(), true, false);
    while goes_on {
        let read = match reader.fill_buf() {
            Ok([]) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        // A line may end with both.
        if std::mem::take(&mut after_return) && read[0] == b'\n' {
            reader.consume(1);
            continue;
        }
        let end = read.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        line.extend_from_slice(&read[..end.unwrap_or(read.len())]);
        after_return = end.is_some_and(|end| read[end] == b'\r');
        let used = end.map_or(read.len(), |end| end + 1);
        reader.consume(used);
        if (end.is_some() || line.len() > LONGEST_LINE) && !(after_return && line.is_empty()) {
            goes_on = take(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    }
    if !line.is_empty() {
        take(String::from_utf8_lossy(&line).into_owned());
    }
}

impl Objective {
    /// Reports the measurements on a line of the program's output, or logs the line. Returns the outcome if the trial
    /// ends with a measurement: it is infeasible, has reached its target, or may not try any longer.
    fn take(&mut self, line: &str, request: &TrialRequest, started: Instant, log: &Log) -> Option<Outcome> {
        let taken = self.report.take(line);
        self.pass_on(taken, request, started, log)
    }

    /// As [`take`](Self::take), for lines that are held back when the output ends.
    fn end(&mut self, request: &TrialRequest, started: Instant, log: &Log) -> Option<Outcome> {
        let taken = self.report.end();
        self.pass_on(taken, request, started, log)
    }

    fn pass_on(&mut self, taken: Taken, request: &TrialRequest, started: Instant, log: &Log) -> Option<Outcome> {
        taken.log.iter().for_each(|line| log.line(line));
        taken.measurements.into_iter().find_map(|measurement| self.measured(measurement, request, started))
    }

    fn measured(&mut self, mut measurement: Measurement, request: &TrialRequest, started: Instant) -> Option<Outcome> {
        measurement.seconds = started.elapsed().as_secs_f64();
        let (step, value) = (measurement.step, measurement.metrics.get(&request.objective).copied().flatten());
        self.reported |= value.is_some();
        let metrics = measurement.metrics.iter().map(|(name, value)| (name.as_str(), *value));
        let infeasible = self.divergence.reported(step, metrics, &request.objective);
        send(&Event::Measured { trial: request.trial.clone(), measurement });
        if let Some(reason) = infeasible {
            return Some(Outcome { state: TrialState::Infeasible, reason: Some(reason) });
        }
        let until = request.until?;
        Some(match until.verdict(request.direction, value?, step)? {
            true => Outcome { state: TrialState::Complete, reason: None },
            false => Outcome { state: TrialState::Stopped, reason: Some(until.reason(&request.objective)) },
        })
    }

    /// The outcome of a program that took too long.
    fn timed_out(&self, request: &TrialRequest) -> Outcome {
        let mut outcome = Outcome::timed_out(request);
        if !self.reported && self.report.misread.metrics.is_empty() {
            let hint = "; it reported nothing by then. A program that does not flush its output after each line loses \
                        it then: `stdbuf -oL` before a program in C flushes it";
            outcome.reason = outcome.reason.map(|reason| reason + hint);
        }
        outcome
    }

    /// The outcome of a program that has ended by itself.
    fn outcome(self, status: ExitStatus, metric: &str, log: &Log, oom_before: u64, words: &[String]) -> Outcome {
        let infeasible = |reason: String| Outcome { state: TrialState::Infeasible, reason: Some(reason) };
        // A shell ends with 128 + 9 if its program was killed.
        let was_killed = status.signal() == Some(9) || status.code() == Some(137);
        if was_killed && out_of_memory_kills() > oom_before {
            return infeasible("out of memory: the system killed the program".into());
        }
        if let Some(line) = log.out_of_memory().filter(|_| !status.success()) {
            return infeasible(format!("out of memory: {line}"));
        }
        if !status.success() {
            let said = log.last_line().map_or(String::new(), |line| format!(": {line}"));
            return Outcome::failed(format!("the program {}{said}", describe(status)));
        }
        if !self.reported {
            return Outcome::failed(diagnosis::reason(metric, &self.report.misread, words));
        }
        Outcome { state: TrialState::Complete, reason: None }
    }
}

#[cfg(test)]
mod tests {
    use super::read_lines;

    #[test]
    fn lines_end_with_a_line_feed_or_a_carriage_return() {
        let mut lines = vec![];
        read_lines(&b"a\r\nb\n\n\rc\rd"[..], |line| {
            lines.push(line);
            true
        });
        assert_eq!(lines, ["a", "b", "", "c", "d"]);
    }
}
