//! Runs a program as a workload: one process for each trial, which prints its measurements as lines of JSON.

mod diagnosis;
mod literal;
mod report;

use self::report::{Lines, Report, Taken};
use super::log::Log;
use super::process::{Group, describe, out_of_memory_kills, reap_orphans};
use super::{Outcome, Place, cancels, send};
use crate::program_line;
use crossbeam_channel::{Receiver, RecvTimeoutError, after, never, select, unbounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tunebook_study::divergence::Divergence;
use tunebook_study::protocol::{Event, Request, TrialRequest};
use tunebook_study::{Measurement, ProgramLine, TrialState};

/// After a program has ended, its process group is ended once it has printed nothing for this long.
const LINGER: Duration = Duration::from_millis(100);
/// After the end of the group, what is in a pipe is read. The pipe may stay open, because a process that could not be
/// ended holds it. So a pipe that is found empty this often in a row, with a pause after each time, is not waited for.
const EMPTY: u32 = 10;
const EMPTY_PAUSE: Duration = Duration::from_millis(5);
/// Lines are read for at most this long after the end of a program, in case such a process goes on printing.
const READ_AFTER_END: Duration = Duration::from_secs(30);
/// The same for standard error, which is only log.
const ERRORS_AFTER_END: Duration = Duration::from_secs(2);

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
    let output = stdout.as_fd().try_clone_to_owned().ok();
    let error_output = stderr.as_fd().try_clone_to_owned().ok();
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
    let (status, ended) = loop {
        select! {
            recv(lines) -> line => match line {
                Ok(line) => if let Some(outcome) = objective.take(&line, request, started, &log) {
                    group.end_gently();
                    return outcome;
                },
                Err(_) => {
                    let status = group.child().wait();
                    break (status, Instant::now());
                }
            },
            recv(requests) -> other => if other.is_ok_and(|other| cancels(&other, &request.trial)) {
                group.end_gently();
                return Outcome::cancelled();
            },
            recv(timeout) -> _ => {
                group.end_gently();
                return objective.timed_out(request);
            },
            default(Duration::from_millis(50)) => {
                reap_orphans();
                if let Ok(Some(status)) = group.child().try_wait() {
                    // The lines of processes that outlive the program for a moment, such as a `tee`.
                    let ended = Instant::now();
                    while ended.elapsed() < READ_AFTER_END
                        && let Ok(line) = lines.recv_timeout(LINGER)
                    {
                        if let Some(outcome) = objective.take(&line, request, started, &log) {
                            return Outcome { ended, ..outcome };
                        }
                    }
                    break (Ok(status), ended);
                }
            },
        }
    };
    // This ends the group, which closes the pipes that others of it still hold.
    drop(group);
    while let Some(line) = left(&lines, output.as_ref(), ended) {
        if let Some(outcome) = objective.take(&line, request, started, &log) {
            return Outcome { ended, ..outcome };
        }
    }
    if let Some(outcome) = objective.end(request, started, &log) {
        return Outcome { ended, ..outcome };
    }
    let mut empty = 0;
    while !errors.is_finished() && empty < EMPTY && ended.elapsed() < ERRORS_AFTER_END {
        empty = if has_data(error_output.as_ref()) { 0 } else { empty + 1 };
        std::thread::sleep(EMPTY_PAUSE);
    }
    if errors.is_finished() {
        objective.report.misread.on_stderr = errors.join().unwrap_or_default();
    }
    let outcome = match status {
        Ok(status) => objective.outcome(status, &request.objective, &log, oom_before, &words),
        Err(error) => Outcome::failed(format!("the program cannot be waited for: {error}")),
    };
    Outcome { by_itself: true, ended, ..outcome }
}

/// The next line that was printed before the end of the group. None if there is no more, even if the pipe stays open.
fn left(lines: &Receiver<String>, pipe: Option<&OwnedFd>, ended: Instant) -> Option<String> {
    let mut empty = 0;
    while empty < EMPTY && ended.elapsed() < READ_AFTER_END {
        match lines.recv_timeout(EMPTY_PAUSE) {
            Ok(line) => return Some(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => empty = if has_data(pipe) { 0 } else { empty + 1 },
        }
    }
    None
}

/// Whether something in a pipe was not read yet.
fn has_data(pipe: Option<&OwnedFd>) -> bool {
    let Some(pipe) = pipe else { return false };
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        && polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN))
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
            return Some(Outcome::new(TrialState::Infeasible, Some(reason)));
        }
        let until = request.until?;
        Some(match until.verdict(request.direction, value?, step)? {
            true => Outcome::new(TrialState::Complete, diagnosis::unrecorded(&self.report.misread)),
            false => Outcome::new(TrialState::Stopped, Some(until.reason(&request.objective))),
        })
    }

    /// The outcome of a program that took too long.
    fn timed_out(&self, request: &TrialRequest) -> Outcome {
        let mut outcome = Outcome::timed_out(request);
        if let Some(note) = diagnosis::unrecorded(&self.report.misread) {
            outcome.reason = outcome.reason.map(|reason| format!("{reason}; {note}"));
        } else if !self.reported && self.report.misread.metrics.is_empty() {
            let hint = "; it reported nothing by then. A program that does not flush its output after each line loses \
                        it then: `stdbuf -oL` before a program in C flushes it";
            outcome.reason = outcome.reason.map(|reason| reason + hint);
        }
        outcome
    }

    /// The outcome of a program that has ended by itself.
    fn outcome(self, status: ExitStatus, metric: &str, log: &Log, oom_before: u64, words: &[String]) -> Outcome {
        let infeasible = |reason: String| Outcome::new(TrialState::Infeasible, Some(reason));
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
            let outcome = Outcome::failed(diagnosis::reason(metric, &self.report.misread, words));
            return Outcome { unreported: true, ..outcome };
        }
        Outcome::new(TrialState::Complete, diagnosis::unrecorded(&self.report.misread))
    }
}

#[cfg(test)]
mod tests {
    use super::{has_data, left, read_lines};
    use crossbeam_channel::unbounded;
    use std::io::{BufReader, Write};
    use std::time::{Duration, Instant};

    #[test]
    fn a_pipe_that_stays_open_is_read_and_not_waited_for() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let pipe = std::os::fd::OwnedFd::from(reader.try_clone().unwrap());
        writer.write_all(b"a\nb\n").unwrap();
        assert!(has_data(Some(&pipe)));
        let (sender, lines) = unbounded();
        std::thread::spawn(move || read_lines(BufReader::new(reader), |line| sender.send(line).is_ok()));
        let ended = Instant::now();
        assert_eq!(left(&lines, Some(&pipe), ended).as_deref(), Some("a"));
        assert_eq!(left(&lines, Some(&pipe), ended).as_deref(), Some("b"));
        assert_eq!(left(&lines, Some(&pipe), ended), None);
        assert!(!has_data(Some(&pipe)) && ended.elapsed() < Duration::from_secs(1));
        drop(writer);
    }

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
