//! Forwards the output of the process that runs cells. One thread reads its standard output and standard error
//! (`reader`). Another one, the forwarder, takes the bytes apart and hands text, displays and questions to the cell
//! that they belong to, in order.

mod limit;
mod panic;
mod reader;
mod stdin;
mod stream;

use super::runner::{Channels, END};
use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};
use limit::OutputLimit;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use panic::PanicText;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use stdin::{NextInput, Stdin};
use stream::{Piece, Stream};

/// A MIME bundle: representations of one thing by MIME type.
pub type Bundle = Map<String, Value>;

/// The cell that code runs for: it receives the output of the code and answers its questions.
pub trait Cell: Send + Sync {
    /// Shows text that the code printed.
    fn text(&self, text: &str, is_error: bool);
    /// Shows a MIME bundle. A display with an id can be replaced later; with `update` it replaces the one of that id.
    fn display(&self, data: Bundle, metadata: Value, id: Option<&str>, update: bool);
    /// Removes what the cell has shown: now, or with `wait` when the next output comes.
    fn clear(&self, wait: bool);
    /// Asks the user for a line. None if nobody can be asked, if the cell was interrupted, or once `given_up` returns
    /// true.
    fn input(&self, prompt: &str, password: bool, given_up: &dyn Fn() -> bool) -> Option<String>;
    /// Whether somebody can be asked for input. If not, standard input is at its end.
    fn takes_input(&self) -> bool {
        false
    }
    /// Answers a question of the code (`tunebook::magic`, `tunebook::study`). The error is a name and a message.
    fn answer(&self, question: &Value) -> Result<Value, (String, String)>;
    /// The number of the cell, as the user sees it.
    fn count(&self) -> Option<u64> {
        None
    }
    /// Whether `_` stands for the value of this cell in later cells. It does for code that the user typed.
    fn keeps_value(&self) -> bool {
        true
    }
}

/// After this time without output, the beginning of a message is shown as text, and a bundle as it is.
const SETTLE_AFTER: Duration = Duration::from_millis(30);
/// How long an unfinished line is held back, because it may be the prompt of a question.
const PROMPT_HELD: Duration = Duration::from_millis(150);
/// The bytes of the longest unfinished line that may be a prompt.
const LONGEST_PROMPT: usize = 1000;
/// A stream on which nothing has come for this long has no message about the end of the cell: the cell has closed it.
const STREAM_CLOSED_AFTER: Duration = Duration::from_secs(2);
/// The number of cells whose threads may still print.
const REMEMBERED_CELLS: usize = 256;

/// A handle to the forwarder.
pub struct Output {
    commands: Sender<Command>,
    stdin: Arc<Stdin>,
    /// The id of the process that runs code at this moment; 0 while none does.
    running: Arc<AtomicI32>,
}

/// What the engine tells the forwarder.
enum Command {
    /// Output belongs to this cell from here on.
    Begin { name: String, cell: Arc<dyn Cell> },
    /// The cell has ended. Its output is complete once this many runs of code have ended on both streams.
    End { runs: u64, answer: Sender<CellEnd> },
}

/// What was held back until the end of a cell.
#[derive(Default)]
pub struct CellEnd {
    /// The lines that Rust printed about the last panic.
    pub about_panic: Vec<String>,
    /// The value of the cell, if it displayed itself.
    pub value: Option<Bundle>,
}

impl Output {
    /// Starts the threads that read and forward.
    pub fn forward(channels: Channels) -> Self {
        let (sender_of_commands, commands) = unbounded();
        let running = Arc::new(AtomicI32::new(0));
        let (sender, chunks) = bounded(16);
        let pipes = [channels.stdout.try_clone().ok(), channels.stderr.try_clone().ok()];
        reader::start([channels.stdout, channels.stderr], sender);
        let mut forwarder = Forwarder {
            streams: [Stream::new(&channels.mark, true), Stream::new(&channels.mark, false)],
            pipes,
            cells: VecDeque::new(),
            thread_of: [None, None],
            ends: [0, 0],
            panic: PanicText::default(),
            bundle: None,
            value: None,
            next_input: Arc::default(),
            held_since: None,
            replies: Arc::new(Mutex::new(channels.replies)),
            running: running.clone(),
        };
        let stdin = Arc::new(Stdin::new(channels.stdin_reader, channels.stdin));
        stdin::watch(stdin.clone(), running.clone(), forwarder.next_input.clone());
        std::thread::spawn(move || forwarder.run(&commands, &chunks));
        Self { commands: sender_of_commands, stdin, running }
    }

    /// Tells the forwarder that output belongs to this cell from here on. Threads of the cell print under its name
    /// later.
    pub fn begin(&self, name: &str, cell: Arc<dyn Cell>) {
        self.stdin.set(cell.takes_input());
        let _ = self.commands.send(Command::Begin { name: name.into(), cell });
    }

    /// Waits until all output of the cell is forwarded. `runs` is the number of runs of code in this session so far.
    pub fn end(&self, runs: u64) -> CellEnd {
        let (answer, end) = bounded(1);
        let _ = self.commands.send(Command::End { runs, answer });
        // The forwarder always answers. It may take long, if the cell has printed faster than the front end reads.
        end.recv().unwrap_or_default()
    }

    /// Whether the code of a cell runs at this moment, as opposed to being compiled.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst) != 0
    }
}

/// Whether there is something to read in a pipe.
fn has_input(pipe: &File) -> bool {
    let mut wanted = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// A cell whose output is forwarded.
struct ForwardedCell {
    name: String,
    cell: Arc<dyn Cell>,
    limit: OutputLimit,
}

/// The end of a cell whose output is not complete yet.
struct PendingEnd {
    /// The number of runs of code that must have ended on both streams.
    runs: u64,
    answer: Sender<CellEnd>,
    /// When something came on each stream for the last time.
    quiet_since: [Instant; 2],
}

struct Forwarder {
    /// Standard output and standard error, in this order, as in the other arrays.
    streams: [Stream; 2],
    /// The pipes of the streams, to see whether there is something to read. They are read by other threads.
    pipes: [Option<File>; 2],
    /// The cells that have begun, the last one at the end.
    cells: VecDeque<ForwardedCell>,
    /// The name of the cell whose background thread prints; None while the code of the current cell prints.
    thread_of: [Option<String>; 2],
    /// The number of runs of code whose end was seen.
    ends: [u64; 2],
    panic: PanicText,
    /// Representations of one thing, which are collected until something else comes.
    bundle: Option<Bundle>,
    /// The representations of the value of the cell, from the moment on at which the cell has announced it.
    value: Option<Bundle>,
    next_input: Arc<Mutex<NextInput>>,
    /// Since when an unfinished line is held back.
    held_since: Option<Instant>,
    /// The pipe through which questions of cells are answered.
    replies: Arc<Mutex<File>>,
    running: Arc<AtomicI32>,
}

impl Forwarder {
    fn run(&mut self, commands: &Receiver<Command>, chunks: &Receiver<(bool, Vec<u8>)>) {
        let mut end: Option<PendingEnd> = None;
        loop {
            let settles = match self.is_unsettled() {
                true => after(SETTLE_AFTER),
                false => never(),
            };
            let line = self.held_since.map_or_else(never, |since| after(PROMPT_HELD.saturating_sub(since.elapsed())));
            let closed = end.as_ref().map_or_else(never, |_| after(STREAM_CLOSED_AFTER / 10));
            select! {
                recv(commands) -> command => match command {
                    Ok(Command::Begin { name, cell }) => self.begin(name, cell),
                    Ok(Command::End { runs, answer }) => {
                        end = Some(PendingEnd { runs, answer, quiet_since: [Instant::now(); 2] });
                    }
                    Err(_) => return,
                },
                recv(chunks) -> chunk => match chunk {
                    Ok((is_error, bytes)) => {
                        self.take(is_error, &bytes);
                        if let Some(end) = &mut end {
                            end.quiet_since[usize::from(is_error)] = Instant::now();
                        }
                    }
                    Err(_) => return,
                },
                recv(settles) -> _ => self.settle(),
                recv(line) -> _ => self.show_line(),
                recv(closed) -> _ => if let Some(end) = &mut end {
                    self.look_for_closed_streams(end);
                },
            }
            if let Some(end) = end.take_if(|end| self.ends.iter().all(|ends| *ends >= end.runs)) {
                let _ = end.answer.send(self.end());
            }
        }
    }

    /// Stops waiting for the end of the cell on a stream that the cell has closed: nothing has come there for a while,
    /// and nothing is in the pipe. Output that is still to be read is waited for, however long that takes.
    fn look_for_closed_streams(&mut self, end: &mut PendingEnd) {
        for stream in 0..2 {
            if self.ends[stream] >= end.runs || end.quiet_since[stream].elapsed() < STREAM_CLOSED_AFTER {
                continue;
            }
            match self.pipes[stream].as_ref().is_some_and(has_input) {
                true => end.quiet_since[stream] = Instant::now(),
                false => self.ends[stream] = end.runs,
            }
        }
    }

    fn begin(&mut self, name: String, cell: Arc<dyn Cell>) {
        self.show_line();
        *self.next_input.lock() = NextInput { cell: Some(cell.clone()), ..NextInput::default() };
        self.cells.push_back(ForwardedCell { name, cell, limit: OutputLimit::default() });
        if self.cells.len() > REMEMBERED_CELLS {
            self.cells.pop_front();
        }
    }

    fn end(&mut self) -> CellEnd {
        self.settle();
        self.show_line();
        self.next_input.lock().cell = None;
        let about_panic = self.panic.end();
        self.show_bundle();
        if let Some(current) = self.cells.back_mut() {
            current.limit.end(&*current.cell);
        }
        CellEnd { about_panic, value: self.value.take().filter(|value| !value.is_empty()) }
    }

    fn take(&mut self, is_error: bool, bytes: &[u8]) {
        let stream = usize::from(is_error);
        for piece in self.streams[stream].take(bytes) {
            match piece {
                Piece::Text(_) | Piece::ErrorText(_) => self.text(piece, stream),
                Piece::Message(message) => self.message(&message, is_error),
                Piece::Content { mime, content } => self.content(mime, content),
                Piece::Prompt { prompt, password } => self.next_input.lock().prompt = Some((prompt, password)),
            }
        }
    }

    /// Takes text that came on a stream.
    fn text(&mut self, piece: Piece, stream: usize) {
        self.show_bundle();
        let text = match piece {
            Piece::Text(text) if stream == 0 => {
                self.show_error_line();
                text
            }
            Piece::Text(text) | Piece::ErrorText(text) => {
                self.show_line();
                let shown = self.panic.take(&text);
                return self.show_of(stream, &shown, true);
            }
            _ => return,
        };
        let text = self.take_line() + &text;
        let (lines, rest) = text.split_at(text.rfind(['\n', '\r']).map_or(0, |end| end + 1));
        let is_of_a_thread = self.thread_of[0].is_some();
        if rest.is_empty() || rest.len() > LONGEST_PROMPT || is_of_a_thread {
            return self.show(&text, false);
        }
        self.show(lines, false);
        self.next_input.lock().line = Some(rest.to_string());
        self.held_since = Some(Instant::now());
    }

    /// Shows the unfinished line of standard error that is held back.
    fn show_error_line(&mut self) {
        let line = self.panic.give_way();
        self.show(&line, true);
    }

    /// The unfinished line that is held back; empty if there is none.
    fn take_line(&mut self) -> String {
        self.held_since = None;
        self.next_input.lock().line.take().unwrap_or_default()
    }

    /// Shows the unfinished line that is held back.
    fn show_line(&mut self) {
        let line = self.take_line();
        self.show(&line, false);
    }

    /// Shows text of standard output or of standard error.
    fn show(&mut self, text: &str, is_error: bool) {
        self.show_of(usize::from(is_error), text, is_error);
    }

    /// Shows text that came on a stream in the cell that it belongs to.
    fn show_of(&mut self, stream: usize, text: &str, is_error: bool) {
        if text.is_empty() {
            return;
        }
        let of = self.thread_of[stream].as_deref();
        let found = of.and_then(|name| self.cells.iter().rposition(|cell| cell.name == name));
        let index = found.or_else(|| self.cells.len().checked_sub(1));
        if let Some(forwarded) = index.and_then(|index| self.cells.get_mut(index)) {
            forwarded.limit.show(&*forwarded.cell, text, is_error);
        }
    }

    /// Acts on a message of the process that runs cells: an object with one field, whose name is the kind of message.
    fn message(&mut self, message: &Value, is_error: bool) {
        let Some((kind, what)) = message.as_object().and_then(|message| message.iter().next()) else { return };
        self.show_line();
        self.show_error_line();
        if kind != "end" {
            self.show_bundle();
        }
        let cell = self.cells.back().map(|current| current.cell.clone());
        match (kind.as_str(), cell) {
            ("begin", _) => self.running.store(what.as_i64().unwrap_or(0) as i32, Ordering::SeqCst),
            (END, _) => {
                self.ends[usize::from(is_error)] += 1;
                self.running.store(0, Ordering::SeqCst);
            }
            ("cell", _) => self.thread_of[usize::from(is_error)] = what.as_str().map(String::from),
            ("value", _) => self.value = Some(Bundle::new()),
            ("display", Some(cell)) => {
                let data = what["data"].as_object().cloned().unwrap_or_default();
                let metadata = what.get("metadata").filter(|metadata| metadata.is_object()).cloned();
                let update = what["update"].as_bool().unwrap_or(false);
                cell.display(data, metadata.unwrap_or_else(|| json!({})), what["id"].as_str(), update);
            }
            ("clear", Some(cell)) => cell.clear(what["wait"].as_bool().unwrap_or(false)),
            ("ask", Some(cell)) => answer(what.clone(), cell, self.replies.clone(), self.running.clone()),
            _ => {}
        }
    }

    /// Adds a representation to the value or to the bundle. A second one of the same MIME type begins another bundle.
    fn content(&mut self, mime: String, content: String) {
        self.show_line();
        self.show_error_line();
        let value = match mime.ends_with("json") {
            true => serde_json::from_str(&content).unwrap_or(Value::String(content)),
            false => Value::String(content),
        };
        if let Some(of_cell) = &mut self.value {
            of_cell.insert(mime, value);
            return;
        }
        if self.bundle.as_ref().is_some_and(|bundle| bundle.contains_key(&mime)) {
            self.show_bundle();
        }
        self.bundle.get_or_insert_default().insert(mime, value);
    }

    fn show_bundle(&mut self) {
        if let (Some(bundle), Some(current)) = (self.bundle.take(), self.cells.back()) {
            current.cell.display(bundle, json!({}), None, false);
        }
    }

    /// Whether something is held back only because more of it may come.
    fn is_unsettled(&self) -> bool {
        self.bundle.is_some() || self.panic.is_held() || self.streams.iter().any(Stream::is_unsettled)
    }

    /// Shows what was held back in case more of it comes, because nothing has come for a while.
    fn settle(&mut self) {
        self.show_bundle();
        for stream in 0..2 {
            if let Some(piece) = self.streams[stream].rest() {
                self.text(piece, stream);
            }
        }
        let text = self.panic.settle();
        self.show(&text, true);
    }
}

/// Answers a question of the code. The answer has a thread of its own, because the cell may print while it waits.
fn answer(question: Value, cell: Arc<dyn Cell>, replies: Arc<Mutex<File>>, running: Arc<AtomicI32>) {
    std::thread::spawn(move || {
        let asker = running.load(Ordering::SeqCst);
        let given_up = || running.load(Ordering::SeqCst) != asker;
        let answer = match &question["input"] {
            Value::Null => cell.answer(&question),
            input => {
                let prompt = input["prompt"].as_str().unwrap_or("");
                let line = cell.input(prompt, input["password"].as_bool().unwrap_or(false), &given_up);
                // The cell was interrupted while it waited. An error would let it go on until it is ended.
                if line.is_none() && cell.takes_input() {
                    return;
                }
                let nobody = ("NoInput".to_string(), "there is nobody to ask for input".to_string());
                line.map(Value::String).ok_or(nobody)
            }
        };
        let line = match answer {
            Ok(value) => json!({ "ok": value }),
            Err((name, message)) => json!({ "error": { "name": name, "message": message } }),
        };
        // If the process that asked is gone, the answer would be read as the answer to the next question.
        if given_up() {
            return;
        }
        let _ = replies.lock().write_all(format!("{line}\n").as_bytes());
    });
}
