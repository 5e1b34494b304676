//! What a cell prints, from evcxr's channels to the cell; what it says of a panic is held back for the error.

use super::engine::Sink;
use super::errors::is_panic_head;
use super::runner;
use crossbeam_channel::{Sender, bounded, select, unbounded};
use std::time::Duration;

/// How long standard error may lag behind the end of a cell.
const STDERR_LAG: Duration = Duration::from_millis(4);

/// evcxr's output channels, forwarded to the sink of the cell that runs.
pub struct Output {
    control: Sender<Control>,
}

enum Control {
    Begin(Sink),
    End(Sender<Ended>),
}

#[derive(Default)]
pub struct Ended {
    /// How the process of the cell ended, where a snapshot took over from it.
    pub process: Option<String>,
    pub panicked: bool,
    /// A `?` at the top of the cell met an error, whose text evcxr printed to standard error.
    pub question_mark: bool,
    pub about_panic: Vec<String>,
    pub last_stderr: Option<String>,
}

impl Output {
    pub fn forward(outputs: evcxr::EvalContextOutputs, token: String) -> Self {
        let (control, commands) = unbounded();
        std::thread::spawn(move || {
            let mut forwarder =
                Forwarder { sink: None, token, ended: Ended::default(), in_panic: false, empty_lines: 0 };
            loop {
                select! {
                    recv(outputs.stdout) -> line => match line {
                        Ok(line) => forwarder.stdout(&line),
                        Err(_) => return,
                    },
                    recv(outputs.stderr) -> line => match line {
                        Ok(line) => forwarder.stderr(line),
                        Err(_) => return,
                    },
                    recv(commands) -> command => match command {
                        Ok(Control::Begin(sink)) => forwarder.sink = Some(sink),
                        Ok(Control::End(answer)) => {
                            // All of the cell's standard output is in the channel by now; its standard error may lag.
                            while let Ok(line) = outputs.stdout.try_recv() {
                                forwarder.stdout(&line);
                            }
                            while let Ok(line) = outputs.stderr.recv_timeout(STDERR_LAG) {
                                forwarder.stderr(line);
                            }
                            let _ = answer.send(forwarder.end());
                        }
                        Err(_) => return,
                    },
                }
            }
        });
        Self { control }
    }

    pub fn begin(&self, sink: Sink) {
        let _ = self.control.send(Control::Begin(sink));
    }

    /// Waits until all output of the cell is forwarded.
    pub fn end(&self) -> Ended {
        let (answer, ended) = bounded(1);
        let _ = self.control.send(Control::End(answer));
        ended.recv_timeout(Duration::from_secs(60)).unwrap_or_default()
    }
}

struct Forwarder {
    sink: Option<Sink>,
    token: String,
    ended: Ended,
    in_panic: bool,
    empty_lines: usize,
}

impl Forwarder {
    fn stdout(&mut self, line: &str) {
        if let Some(what) = line.strip_prefix(&self.token) {
            self.ended.panicked |= what == runner::PANICKED;
            if let Some(how) = what.strip_prefix(runner::ENDED) {
                self.ended.process = Some(how.into());
            }
            self.ended.question_mark |= what == runner::QUESTION_MARK;
        } else if let Some(sink) = &self.sink {
            sink(&format!("{line}\n"), false);
        }
    }

    /// From the head of a panic on (an empty line stands before it), lines are held back: they become the traceback if the
    /// cell ended by it.
    fn stderr(&mut self, line: String) {
        if line.is_empty() && !self.in_panic {
            self.empty_lines += 1;
            return;
        }
        if is_panic_head(&line) {
            self.empty_lines = self.empty_lines.saturating_sub(1);
        }
        self.pass_empty_lines();
        self.in_panic |= is_panic_head(&line) || self.ended.panicked;
        if self.in_panic {
            self.ended.about_panic.push(line);
        } else {
            if let Some(sink) = &self.sink {
                sink(&format!("{line}\n"), true);
            }
            self.ended.last_stderr = Some(line);
        }
    }

    fn pass_empty_lines(&mut self) {
        let lines = std::mem::take(&mut self.empty_lines);
        if let Some(sink) = self.sink.as_ref().filter(|_| lines > 0) {
            sink(&"\n".repeat(lines), true);
        }
    }

    fn end(&mut self) -> Ended {
        self.pass_empty_lines();
        self.in_panic = false;
        let mut ended = std::mem::take(&mut self.ended);
        if !ended.panicked {
            // A panic that was caught, or of a process that died otherwise: it is output like any other.
            for line in std::mem::take(&mut ended.about_panic) {
                if let Some(sink) = &self.sink {
                    sink(&format!("{line}\n"), true);
                }
            }
        }
        ended
    }
}
