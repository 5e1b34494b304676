//! What cells print, from the pipes to the cell that it belongs to, in order: text at once, displays and questions as they
//! come; what is said of a panic is held back for the error.

mod limit;
mod panic;
mod stdin;
mod stream;

use super::runner::{Channels, END};
use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};
use limit::Limit;
use panic::PanicText;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use stream::{Piece, Stream};

/// A MIME bundle.
pub type Bundle = Map<String, Value>;

/// The cell that Rust runs in, as it is seen from here.
pub trait Cell: Send + Sync {
    /// Text that the cell printed.
    fn text(&self, text: &str, is_error: bool);
    /// Something to show; with an id it can be replaced, and with `update` it replaces.
    fn display(&self, data: Bundle, metadata: Value, id: Option<&str>, update: bool);
    /// Takes away what the cell has shown; with `wait` once there is something new.
    fn clear(&self, wait: bool);
    /// Asks the user for a line; `None`: there is nobody to ask, the cell was interrupted, or it has given the question up.
    fn input(&self, prompt: &str, password: bool, given_up: &dyn Fn() -> bool) -> Option<String>;
    /// Answers a question of the cell's code (`tunebook::magic`, `tunebook::study`); the error has a name and a message.
    fn answer(&self, question: &Value) -> Result<Value, (String, String)>;
    /// Whether its value is what `_` stands for afterwards: that of code which the user typed.
    fn keeps_value(&self) -> bool {
        true
    }
}

/// How long half of something that may become a message waits for the rest, and a bundle for its other representations.
const SETTLES: Duration = Duration::from_millis(30);
/// How long the beginning of a line is held back: it may be the prompt of a question.
const HELD: Duration = Duration::from_millis(150);
/// No prompt is longer.
const LONGEST_PROMPT: usize = 1000;
/// How long the ends of the streams may lag behind the end of a cell.
const LAG: Duration = Duration::from_secs(2);
/// Cells whose threads may still print.
const REMEMBERED: usize = 256;

/// The streams of the process of cells, forwarded to the cells that they belong to.
pub struct Output {
    control: Sender<Control>,
    /// The process that runs a cell at this moment; 0 while none does.
    running: Arc<AtomicI32>,
}

enum Control {
    Begin {
        name: String,
        cell: Arc<dyn Cell>,
    },
    /// Of a cell by whose end code was run so often.
    End {
        runs: u64,
        answer: Sender<Ended>,
    },
}

/// What was held back until the end of a cell.
#[derive(Default)]
pub struct Ended {
    /// What was printed of the last panic.
    pub about_panic: Vec<String>,
    /// The value of the cell, where it displayed itself.
    pub value: Option<Bundle>,
}

impl Output {
    /// Starts to read.
    pub fn forward(channels: Channels) -> Self {
        let (control, commands) = unbounded();
        let running = Arc::new(AtomicI32::new(0));
        let (sender, chunks) = bounded(16);
        read(channels.stdout, false, sender.clone());
        read(channels.stderr, true, sender);
        let mut forwarder = Forwarder {
            streams: [Stream::new(&channels.mark, true), Stream::new(&channels.mark, false)],
            cells: VecDeque::new(),
            thread_of: [None, None],
            ends: [0, 0],
            panic: PanicText::default(),
            bundle: None,
            value: None,
            prompt: Arc::default(),
            held_since: None,
            replies: Arc::new(Mutex::new(channels.replies)),
            running: running.clone(),
        };
        stdin::watch(channels.stdin, running.clone(), forwarder.prompt.clone());
        std::thread::spawn(move || forwarder.run(&commands, &chunks));
        Self { control, running }
    }

    /// From here on what is printed is of this cell.
    pub fn begin(&self, name: &str, cell: Arc<dyn Cell>) {
        let _ = self.control.send(Control::Begin { name: name.into(), cell });
    }

    /// Waits until all output of the cell is forwarded; code was run so often by now.
    pub fn end(&self, runs: u64) -> Ended {
        let (answer, ended) = bounded(1);
        let _ = self.control.send(Control::End { runs, answer });
        ended.recv_timeout(Duration::from_secs(60)).unwrap_or_default()
    }

    /// Whether the code of a cell runs at this moment, as opposed to being compiled.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst) != 0
    }
}

/// Reads a stream to its end on a thread of its own.
fn read(mut stream: File, is_error: bool, sender: Sender<(bool, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if sender.send((is_error, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}

/// A cell that was run, and how much of its output was shown.
struct Shown {
    name: String,
    cell: Arc<dyn Cell>,
    limit: Limit,
}

struct Forwarder {
    /// Standard output, standard error.
    streams: [Stream; 2],
    /// Cells that were run, the current one last.
    cells: VecDeque<Shown>,
    /// The cell whose thread prints at this moment, on either stream.
    thread_of: [Option<String>; 2],
    /// How many ends of runs have come on either stream.
    ends: [u64; 2],
    panic: PanicText,
    /// Representations of what is being shown.
    bundle: Option<Bundle>,
    /// What is shown from here on is the value of the cell.
    value: Option<Bundle>,
    /// What the next line of input is for.
    prompt: stdin::Asking,
    /// Since when the beginning of a line is held back.
    held_since: Option<Instant>,
    replies: Arc<Mutex<File>>,
    running: Arc<AtomicI32>,
}

impl Forwarder {
    fn run(&mut self, commands: &Receiver<Control>, chunks: &Receiver<(bool, Vec<u8>)>) {
        let mut end: Option<(u64, Sender<Ended>, Instant)> = None;
        loop {
            let settles = match self.is_unsettled() {
                true => after(SETTLES),
                false => never(),
            };
            let line = self.held_since.map_or_else(never, |since| after(HELD.saturating_sub(since.elapsed())));
            let late = end.as_ref().map_or_else(never, |(_, _, since)| after(LAG.saturating_sub(since.elapsed())));
            select! {
                recv(commands) -> command => match command {
                    Ok(Control::Begin { name, cell }) => self.begin(name, cell),
                    Ok(Control::End { runs, answer }) => end = Some((runs, answer, Instant::now())),
                    Err(_) => return,
                },
                recv(chunks) -> chunk => match chunk {
                    Ok((is_error, bytes)) => self.take(is_error, &bytes),
                    Err(_) => return,
                },
                recv(settles) -> _ => self.settle(),
                recv(line) -> _ => self.show_line(),
                recv(late) -> _ => self.ends = end.as_ref().map_or(self.ends, |(runs, ..)| [*runs; 2]),
            }
            if let Some((_, answer, _)) = end.take_if(|(runs, ..)| self.ends.iter().all(|ends| ends >= runs)) {
                let _ = answer.send(self.end());
            }
        }
    }

    fn begin(&mut self, name: String, cell: Arc<dyn Cell>) {
        self.show_line();
        if let Ok(mut asking) = self.prompt.lock() {
            asking.cell = Some(cell.clone());
        }
        self.cells.push_back(Shown { name, cell, limit: Limit::default() });
        if self.cells.len() > REMEMBERED {
            self.cells.pop_front();
        }
    }

    fn end(&mut self) -> Ended {
        self.settle();
        self.show_line();
        if let Ok(mut asking) = self.prompt.lock() {
            asking.cell = None;
        }
        let about_panic = self.panic.end();
        self.show_bundle();
        if let Some(shown) = self.cells.back_mut() {
            shown.limit.end(&*shown.cell);
        }
        Ended { about_panic, value: self.value.take().filter(|value| !value.is_empty()) }
    }

    fn take(&mut self, is_error: bool, bytes: &[u8]) {
        for piece in self.streams[usize::from(is_error)].take(bytes) {
            match piece {
                Piece::Text(text) => self.text(&text, is_error),
                Piece::Message(message) => self.message(&message, is_error),
                Piece::Content { mime, content } => self.content(mime, content),
                Piece::Prompt { prompt, password } => {
                    if let Ok(mut asking) = self.prompt.lock() {
                        asking.prompt = Some((prompt, password));
                    }
                }
            }
        }
    }

    fn text(&mut self, text: &str, is_error: bool) {
        self.show_bundle();
        if is_error {
            self.show_line();
            let shown = self.panic.take(text);
            return self.show(&shown, true);
        }
        let text = self.take_line() + text;
        let (lines, rest) = text.split_at(text.rfind(['\n', '\r']).map_or(0, |end| end + 1));
        let is_of_a_thread = self.thread_of[0].is_some();
        if rest.is_empty() || rest.len() > LONGEST_PROMPT || is_of_a_thread {
            return self.show(&text, false);
        }
        self.show(lines, false);
        if let Ok(mut asking) = self.prompt.lock() {
            asking.line = Some(rest.to_string());
            self.held_since = Some(Instant::now());
        }
    }

    fn take_line(&mut self) -> String {
        self.held_since = None;
        self.prompt.lock().ok().and_then(|mut asking| asking.line.take()).unwrap_or_default()
    }

    /// Shows the beginning of a line that was held back.
    fn show_line(&mut self) {
        let line = self.take_line();
        self.show(&line, false);
    }

    /// Shows text with the cell that it belongs to.
    fn show(&mut self, text: &str, is_error: bool) {
        if text.is_empty() {
            return;
        }
        let of = self.thread_of[usize::from(is_error)].as_deref();
        let found = of.and_then(|name| self.cells.iter().rposition(|shown| shown.name == name));
        let index = found.or_else(|| self.cells.len().checked_sub(1));
        if let Some(shown) = index.and_then(|index| self.cells.get_mut(index)) {
            shown.limit.show(&*shown.cell, text, is_error);
        }
    }

    fn message(&mut self, message: &Value, is_error: bool) {
        let Some((kind, what)) = message.as_object().and_then(|message| message.iter().next()) else { return };
        self.show_line();
        if kind != "end" {
            self.show_bundle();
        }
        let cell = self.cells.back().map(|shown| shown.cell.clone());
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

    /// A representation: of the same thing as the one before, unless that has one of this type.
    fn content(&mut self, mime: String, content: String) {
        self.show_line();
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
        if let (Some(bundle), Some(shown)) = (self.bundle.take(), self.cells.back()) {
            shown.cell.display(bundle, json!({}), None, false);
        }
    }

    fn is_unsettled(&self) -> bool {
        self.bundle.is_some() || self.panic.is_held() || self.streams.iter().any(Stream::is_unsettled)
    }

    /// Nothing has come for a while.
    fn settle(&mut self) {
        self.show_bundle();
        for is_error in [false, true] {
            if let Some(text) = self.streams[usize::from(is_error)].rest() {
                self.text(&text, is_error);
            }
        }
        let text = self.panic.settle();
        self.show(&text, true);
    }
}

/// Answers a question on a thread of its own: meanwhile the cell, or another of its threads, may print.
fn answer(question: Value, cell: Arc<dyn Cell>, replies: Arc<Mutex<File>>, running: Arc<AtomicI32>) {
    std::thread::spawn(move || {
        let asker = running.load(Ordering::SeqCst);
        let given_up = || running.load(Ordering::SeqCst) != asker;
        let answer = match &question["input"] {
            Value::Null => cell.answer(&question),
            input => {
                let prompt = input["prompt"].as_str().unwrap_or("");
                let line = cell.input(prompt, input["password"].as_bool().unwrap_or(false), &given_up);
                let nobody = ("NoInput".to_string(), "there is nobody to ask for input".to_string());
                line.map(Value::String).ok_or(nobody)
            }
        };
        let line = match answer {
            Ok(value) => json!({ "ok": value }),
            Err((name, message)) => json!({ "error": { "name": name, "message": message } }),
        };
        // Nobody would read it, but the next one who asks.
        if given_up() {
            return;
        }
        if let Ok(mut replies) = replies.lock() {
            let _ = replies.write_all(format!("{line}\n").as_bytes());
        }
    });
}
