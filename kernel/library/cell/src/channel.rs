//! The connection to the kernel. Messages go to standard output, each on a line of its own that begins with a secret
//! token, so that nothing else can print it. Answers come through a pipe.

use crate::{Error, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable that holds the token.
const TOKEN: &str = "TUNEBOOK_CELL_TOKEN";
/// The environment variable that holds the file descriptor of the pipe.
const REPLIES: &str = "TUNEBOOK_CELL_REPLIES";

/// Whether this process runs cells of a kernel.
pub(crate) fn is_there() -> bool {
    std::env::var_os(TOKEN).is_some()
}

/// Sends a message to the kernel. Returns false if there is no kernel.
pub(crate) fn tell(message: &Value) -> bool {
    let Ok(token) = std::env::var(TOKEN) else { return false };
    print_whole(&format!("\u{1}{token} {message}\n"));
    true
}

/// Prints a text in one piece, after what was printed before. Output of other threads cannot come in between.
pub(crate) fn print_whole(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // Errors are ignored: if standard output is closed, nobody reads the message.
    let _ = stdout.flush().and_then(|()| stdout.write_all(text.as_bytes())).and_then(|()| stdout.flush());
}

/// Asks the kernel a question, and waits for the answer.
pub(crate) fn ask(question: &Value) -> Result<Value> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !is_there() {
        return Err(Error::new("NoKernel", "only in a cell of a Tunebook kernel is there somebody to answer this"));
    }
    let replies = std::env::var(REPLIES)
        .map_err(|_| Error::new("KernelGone", format!("{REPLIES} does not say where the kernel answers")))?;
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = open(&replies)?;
    // Each cell is linked with a copy of this crate, and so has its own static lock. The lock of the file holds for all
    // of them.
    while file.lock().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {}
    let id = unique();
    tell(&json!({ "ask": question, "id": id }));
    answer(&mut file, &id)
}

/// An id that was not used before, also not in other cells, processes or sessions.
pub(crate) fn unique() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{time:x}-{random:016x}")
}

/// Opens the pipe. It is opened for each question, because this process may be a copy of the one that asked the last
/// one.
fn open(replies: &str) -> Result<File> {
    let opened = File::open(format!("/proc/self/fd/{replies}")).or_else(|_| File::open(format!("/dev/fd/{replies}")));
    opened.map_err(|error| Error::new("KernelGone", format!("the kernel's answers cannot be read: {error}")))
}

/// Reads the answer to the question with an id. Before it, the pipe may contain answers for a process that was killed
/// while it waited, or a part of one. After it the pipe is empty, so it can be read in pieces of any size.
fn answer(replies: &mut impl Read, id: &str) -> Result<Value> {
    let (mut line, mut piece) = (vec![], vec![0; 1 << 16]);
    loop {
        let count = match replies.read(&mut piece) {
            Ok(0) => return Err(Error::new("KernelGone", "the kernel ended before it answered")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::new("KernelGone", format!("the kernel's answer cannot be read: {error}"))),
        };
        for part in piece[..count].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if part.ends_with(b"\n")
                && let Some(result) = parsed(&std::mem::take(&mut line), id)
            {
                return result;
            }
        }
    }
}

/// The answer on a line; None if the line does not answer the question with this id.
fn parsed(line: &[u8], id: &str) -> Option<Result<Value>> {
    let mut answer: Value = std::str::from_utf8(line).ok()?.parse().ok()?;
    if answer.get("id").is_some_and(|of| of != id) {
        return None;
    }
    if let Some(value) = answer.get_mut("ok") {
        return Some(Ok(value.take()));
    }
    let text = |field: &str| answer["error"][field].as_str().unwrap_or_default().to_string();
    Some(Err(Error::new(text("name"), text("message"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns at most a given number of bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(self.1).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn an_answer_is_read_in_pieces_of_any_size() {
        let text = b"{\"ok\": {\"a\": [1, 2]}, \"id\": \"7\"}\n";
        for piece in [1, 5, 1000] {
            assert_eq!(answer(&mut Slow(text, piece), "7"), Ok(json!({ "a": [1, 2] })));
        }
    }

    #[test]
    fn answers_to_questions_of_a_dead_process_are_skipped() {
        let text = b"of\": 1}}\n{\"ok\": 1, \"id\": \"6\"}\n\
                     {\"error\": {\"name\": \"N\", \"message\": \"m\"}, \"id\": \"7\"}\n";
        assert_eq!(answer(&mut Slow(text, 3), "7"), Err(Error::new("N", "m")));
        assert_eq!(answer(&mut Slow(b"{\"ok\": null}\n", 3), "7"), Ok(Value::Null));
    }

    #[test]
    fn a_kernel_that_ends_is_an_error() {
        assert_eq!(answer(&mut Slow(b"{\"ok\"", 3), "7").unwrap_err().name(), "KernelGone");
    }

    #[test]
    fn two_ids_differ() {
        assert!(unique() != unique());
    }
}
