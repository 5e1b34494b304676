//! Processes that a magic waits for: watched, interruptible, ended with all that they started.

use crate::host::Interrupt;
use crossbeam_channel::{Receiver, after, never, select, unbounded};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A line of a process.
pub enum Line {
    /// Of its standard output.
    Out(String),
    /// Of its standard error.
    Error(String),
}

/// Why a process did not end by itself.
pub enum Ended {
    /// The user interrupted.
    Interrupted,
    /// Its limit.
    TimedOut,
    /// It could not be started or waited for.
    CouldNot(std::io::Error),
}

/// Runs a process to its end, with `input` on its standard input, and hands over its lines as they come; `None` every half
/// second. An interrupt, or its limit of time, ends it with all that it started.
pub fn run(
    mut command: Command,
    input: &str,
    interrupt: &Interrupt,
    limit: Option<Duration>,
    take: &mut dyn FnMut(Option<Line>),
) -> std::result::Result<ExitStatus, Ended> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Ended::CouldNot)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ended already has said why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let lines = lines_of(&mut child);
    let limit = limit.map_or_else(never, after);
    let end = |mut child: Child, why: Ended| {
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
        let _ = child.wait();
        Err(why)
    };
    loop {
        select! {
            recv(lines) -> line => match line {
                Ok(line) => take(Some(line)),
                // Both streams are closed: it is at its end, or gave them up.
                Err(_) => return child.wait().map_err(Ended::CouldNot),
            },
            recv(interrupt.channel()) -> _ => return end(child, Ended::Interrupted),
            recv(limit) -> _ => return end(child, Ended::TimedOut),
            recv(after(Duration::from_millis(500))) -> _ => take(None),
        }
    }
}

fn lines_of(child: &mut Child) -> Receiver<Line> {
    let (sender, lines) = unbounded();
    let forward = |stream: Option<Box<dyn Read + Send>>, of: fn(String) -> Line| {
        let Some(stream) = stream else { return };
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
                if sender.send(of(String::from_utf8_lossy(&line).into_owned())).is_err() {
                    return;
                }
            }
        });
    };
    forward(child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>), Line::Out);
    forward(child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>), Line::Error);
    lines
}
