//! What a magic shows, on a terminal: its progress on standard error, its result on standard output.

use anyhow::anyhow;
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use unicode_width::UnicodeWidthStr;

/// The MIME type of the result of a magic.
const RESULT: &str = "application/vnd.tunebook.v1+json";

/// Collects the output of one magic, and shows its progress if standard error is a terminal.
#[derive(Default)]
pub struct Terminal {
    /// The last display with a result.
    result: Option<Value>,
    /// The text of the last display without a result.
    text: Option<String>,
    /// How many rows of the terminal the progress takes.
    rows: usize,
    /// Why some of the output could not be printed.
    unprinted: Option<anyhow::Error>,
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
                    true => say_part(text),
                    false => self.print_text(text),
                }
            }
            "error" => {
                self.clear();
                let lines: Vec<&str> =
                    content["traceback"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                say(&lines.join("\n"));
            }
            "execute_reply" => {
                self.clear();
                for page in content["payload"].as_array().into_iter().flatten() {
                    if let Some(text) = page["data"]["text/plain"].as_str() {
                        self.print_text(&format!("{}\n", text.trim_end()));
                    }
                }
            }
            _ => {}
        }
    }

    /// Prints text. An error is kept for [`print`](Self::print): the magic runs to its end.
    fn print_text(&mut self, text: &str) {
        if let Err(error) = print_part(text) {
            self.unprinted.get_or_insert(error);
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
            say(text);
            self.rows = rows(text, columns(&std::io::stderr()));
        }
    }

    /// Removes the progress from the terminal.
    fn clear(&mut self) {
        if self.rows > 0 {
            // Up so many rows, to the first column, and clear from there on.
            let _ = write!(std::io::stderr(), "\u{1b}[{}F\u{1b}[J", self.rows);
            self.rows = 0;
        }
    }

    /// The result for programs.
    pub fn result(&self) -> Option<&Value> {
        self.result.as_ref().map(|data| &data[RESULT])
    }

    /// Prints the result: its text, or as JSON. Without one, the text of the last display, if the magic ended well. An
    /// error if standard output could not be written, now or before.
    pub fn print(&mut self, as_json: bool, ended_well: bool) -> anyhow::Result<()> {
        if let Some(error) = self.unprinted.take() {
            return Err(error);
        }
        match (&self.result, as_json) {
            (Some(data), true) => print(&data[RESULT].to_string()),
            (Some(data), false) => print(data["text/plain"].as_str().unwrap_or_default().trim_end()),
            (None, false) if ended_well => self.text.as_ref().map_or(Ok(()), |text| print(text.trim_end())),
            (None, _) => Ok(()),
        }
    }
}

/// Prints a line on standard output.
pub fn print(line: &str) -> anyhow::Result<()> {
    print_part(&format!("{line}\n"))
}

fn print_part(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// What became of text for standard output. If its reader has closed the pipe, that reader needs no more of it, which
/// is no error.
fn written(result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow!("standard output cannot be written: {error}. Write it to another file"))
        }
        _ => Ok(()),
    }
}

/// Prints a line on standard error. If that cannot be written, nobody can be told.
pub fn say(line: &str) {
    say_part(&format!("{line}\n"));
}

fn say_part(text: &str) {
    let mut stderr = anstream::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Prints the help, or the error, that the words of the command line led to. Returns the exit status.
pub fn show_usage(usage: &clap::Error) -> ExitCode {
    let printed = usage.print();
    match written(printed) {
        Err(error) if !usage.use_stderr() => {
            say(&format!("tunebook: {error:#}"));
            ExitCode::from(1)
        }
        _ => ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1)),
    }
}

/// The width of the terminal that a stream leads to. None if it leads to none, or if its width is unknown.
fn columns(stream: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// How wide the text of results is to be, for the kernel that makes it. Empty if standard output is no terminal.
pub fn text_columns() -> String {
    columns(&std::io::stdout()).map_or(String::new(), |columns| columns.to_string())
}

/// The number of rows that text takes on a terminal, which breaks longer lines at its width.
fn rows(text: &str, columns: Option<usize>) -> usize {
    let of_line = |line: &str| columns.map_or(1, |columns| line.width().div_ceil(columns).max(1));
    text.lines().map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wider_than_the_terminal_takes_several_rows() {
        let long = "x".repeat(67);
        let line = long.as_str();
        for (text, columns, expected) in [
            (line, Some(60), 2),
            (line, Some(67), 1),
            (line, Some(33), 3),
            (line, None, 1),
            ("a\n\nb", Some(60), 3),
            ("ααα – …", Some(7), 1),
            ("学习率学习率", Some(6), 2),
        ] {
            assert_eq!(rows(text, columns), expected, "{text:?} in {columns:?}");
        }
        let file = tempfile::tempfile().unwrap();
        assert_eq!(columns(&file), None, "a file is no terminal");
    }
}
