//! What a magic shows, on a terminal: its progress on standard error, its result on standard output.

use serde_json::Value;
use std::io::{IsTerminal, Write};

/// The MIME type of the result of a magic.
const RESULT: &str = "application/vnd.tunebook.v1+json";

/// Collects the output of one magic, and shows its progress if standard error is a terminal.
#[derive(Default)]
pub struct Terminal {
    /// The last display with a result.
    result: Option<Value>,
    /// The text of the last display without a result.
    text: Option<String>,
    /// How many lines of progress stand on the terminal.
    lines: usize,
}

impl Terminal {
    /// Takes a message about the output of the magic.
    pub fn add(&mut self, kind: &str, content: &Value) {
        match kind {
            "display_data" | "update_display_data" | "execute_result" => self.shown(content),
            "stream" => {
                self.clear();
                let text = content["text"].as_str().unwrap_or_default();
                match content["name"] == "stderr" {
                    true => anstream::eprint!("{text}"),
                    false => anstream::print!("{text}"),
                }
            }
            "error" => {
                self.clear();
                let lines: Vec<&str> =
                    content["traceback"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                anstream::eprintln!("{}", lines.join("\n"));
            }
            "execute_reply" => {
                self.clear();
                for page in content["payload"].as_array().into_iter().flatten() {
                    if let Some(text) = page["data"]["text/plain"].as_str() {
                        anstream::println!("{}", text.trim_end());
                    }
                }
            }
            _ => {}
        }
    }

    fn shown(&mut self, content: &Value) {
        let data = &content["data"];
        let text = data["text/plain"].as_str().unwrap_or_default();
        if data.get(RESULT).is_some() {
            self.result = Some(data.clone());
            return self.clear();
        }
        self.text = Some(text.to_string()).filter(|text| !text.is_empty());
        if !text.is_empty() && std::io::stderr().is_terminal() {
            self.clear();
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "{text}");
            let _ = stderr.flush();
            self.lines = text.lines().count();
        }
    }

    /// Removes the progress from the terminal.
    fn clear(&mut self) {
        if self.lines > 0 {
            // Up so many lines, to the first column, and clear from there on.
            eprint!("\u{1b}[{}F\u{1b}[J", self.lines);
            self.lines = 0;
        }
    }

    /// The result for programs.
    pub fn result(&self) -> Option<&Value> {
        self.result.as_ref().map(|data| &data[RESULT])
    }

    /// Prints the result: its text, or as JSON. Without one, the text of the last display, if the magic ended well.
    pub fn print(&self, as_json: bool, ended_well: bool) {
        match (&self.result, as_json) {
            (Some(data), true) => anstream::println!("{}", data[RESULT]),
            (Some(data), false) => {
                anstream::println!("{}", data["text/plain"].as_str().unwrap_or_default().trim_end());
            }
            (None, false) if ended_well => {
                if let Some(text) = &self.text {
                    anstream::println!("{}", text.trim_end());
                }
            }
            (None, _) => {}
        }
    }
}
