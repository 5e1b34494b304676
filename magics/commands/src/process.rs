//! Runs a child process to its end, with a callback for each line that it prints. An interrupt or a time limit kills
//! the whole process group.

use crate::host::Interrupt;
use crossbeam_channel::{Receiver, after, never, select, unbounded};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A line that a process printed, without the line break.
pub enum Line {
    Stdout(String),
    Stderr(String),
}

/// Why there is no exit status of a process.
pub enum ProcessError {
    /// The user interrupted, and the process was killed.
    Interrupted,
    /// The process exceeded its time limit and was killed.
    TimedOut,
    /// The process could not be started or waited for.
    Io(std::io::Error),
}

/// Runs a process to its end, with `input` on its standard input. `on_line` is called with each line as it is printed,
/// and with None whenever nothing was printed for half a second. An interrupt or the time limit kills the process with
/// all that it started. An exit status other than 0 is not an error.
pub fn run(
    mut command: Command,
    input: &str,
    interrupt: &Interrupt,
    limit: Option<Duration>,
    on_line: &mut dyn FnMut(Option<Line>),
) -> std::result::Result<ExitStatus, ProcessError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(ProcessError::Io)?;
    if let Some(mut stdin) = child.stdin.take() {
        // The write fails if the process has ended already. Its exit status tells what happened.
        let _ = stdin.write_all(input.as_bytes());
    }
    let lines = lines_of(&mut child);
    let limit = limit.map_or_else(never, after);
    let kill = |mut child: Child, error: ProcessError| {
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
        let _ = child.wait();
        Err(error)
    };
    loop {
        select! {
            recv(lines) -> line => match line {
                Ok(line) => on_line(Some(line)),
                // The process has closed both streams: it has ended, or it goes on without output.
                Err(_) => return child.wait().map_err(ProcessError::Io),
            },
            recv(interrupt.channel()) -> _ => return kill(child, ProcessError::Interrupted),
            recv(limit) -> _ => return kill(child, ProcessError::TimedOut),
            recv(after(Duration::from_millis(500))) -> _ => on_line(None),
        }
    }
}

/// The lines of both streams, read by a thread each. The channel is disconnected when both streams are closed.
fn lines_of(child: &mut Child) -> Receiver<Line> {
    let (sender, lines) = unbounded();
    let forward = |stream: Option<Box<dyn Read + Send>>, line_of: fn(String) -> Line| {
        let Some(stream) = stream else { return };
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
                if sender.send(line_of(String::from_utf8_lossy(&line).into_owned())).is_err() {
                    return;
                }
            }
        });
    };
    forward(child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>), Line::Stdout);
    forward(child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>), Line::Stderr);
    lines
}
