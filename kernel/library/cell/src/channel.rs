//! The way to the kernel and back: messages stand in standard output, each in a line of its own that begins with a token
//! which nothing else prints; answers come through a pipe.

use crate::{Error, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What begins a message.
const TOKEN: &str = "TUNEBOOK_CELL_TOKEN";
/// The number of the file descriptor through which answers come.
const REPLIES: &str = "TUNEBOOK_CELL_REPLIES";

/// Whether there is a kernel.
pub(crate) fn is_there() -> bool {
    std::env::var_os(TOKEN).is_some()
}

/// Says something to the kernel; `false`: there is none.
pub(crate) fn tell(message: &Value) -> bool {
    let Ok(token) = std::env::var(TOKEN) else { return false };
    print_whole(&format!("\u{1}{token} {message}\n"));
    true
}

/// Prints in one piece, after what was printed before; nothing that other threads print comes between.
pub(crate) fn print_whole(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // Where standard output is closed nobody is there to be told.
    let _ = stdout.flush().and_then(|()| stdout.write_all(text.as_bytes())).and_then(|()| stdout.flush());
}

/// Asks the kernel and waits for its answer.
pub(crate) fn ask(question: &Value) -> Result<Value> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !is_there() {
        return Err(Error::new("NoKernel", "only in a cell of a Tunebook kernel is there somebody to answer this"));
    }
    let replies = std::env::var(REPLIES)
        .map_err(|_| Error::new("KernelGone", format!("{REPLIES} does not say where the kernel answers")))?;
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = open(&replies)?;
    // Each cell is linked with a copy of this crate, and so of its lock. That of the file is for all threads of the process.
    while file.lock().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {}
    let id = unique();
    tell(&json!({ "ask": question, "id": id }));
    answer(&mut file, &id)
}

/// Something that has not been used before: in another cell, another process, or an earlier session either.
pub(crate) fn unique() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{time:x}-{random:016x}")
}

/// Opened anew for each question, which needs no descriptor of a process that may have been copied meanwhile.
fn open(replies: &str) -> Result<File> {
    let opened = File::open(format!("/proc/self/fd/{replies}")).or_else(|_| File::open(format!("/dev/fd/{replies}")));
    opened.map_err(|error| Error::new("KernelGone", format!("the kernel's answers cannot be read: {error}")))
}

/// The answer to a question. What was meant for a process that was killed while it waited may lie before it, whole or in
/// part; nothing can lie behind it, so pieces of any size can be read.
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
                && let Some(result) = understood(&std::mem::take(&mut line), id)
            {
                return result;
            }
        }
    }
}

/// What a line answers; `None`: it answers another question.
fn understood(line: &[u8], id: &str) -> Option<Result<Value>> {
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

    /// Gives at most as many bytes at a time as it has.
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
    fn what_was_for_a_question_of_a_dead_process_is_passed_over() {
        let text = b"of\": 1}}\n{\"ok\": 1, \"id\": \"6\"}\n{\"error\": {\"name\": \"N\", \"message\": \"m\"}, \"id\": \"7\"}\n";
        assert_eq!(answer(&mut Slow(text, 3), "7"), Err(Error::new("N", "m")));
        assert_eq!(answer(&mut Slow(b"{\"ok\": null}\n", 3), "7"), Ok(Value::Null));
    }

    #[test]
    fn a_kernel_that_ends_is_an_error() {
        assert_eq!(answer(&mut Slow(b"{\"ok\"", 3), "7").unwrap_err().name(), "KernelGone");
    }

    #[test]
    fn nothing_is_unique_twice() {
        assert!(unique() != unique());
    }
}
