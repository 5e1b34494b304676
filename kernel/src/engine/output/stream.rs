//! Takes one stream of the process that runs cells apart: into text, messages of the kernel's own code in that process,
//! and blocks of evcxr's display convention.

use serde_json::Value;

/// The first line of a block by which a crate shows a value; the MIME type follows on the same line. The lines of the
/// content come next, and then [`END_CONTENT`].
const BEGIN_CONTENT: &str = "EVCXR_BEGIN_CONTENT ";
const END_CONTENT: &str = "EVCXR_END_CONTENT";
/// What the crate `evcxr_input` prints before it reads a line; the prompt follows on the same line.
const INPUT: &str = "EVCXR_INPUT_REQUEST:";
const PASSWORD: &str = "EVCXR_INPUT_REQUEST_PASSWORD:";
/// The kind of the message around text for standard error: true before it, false behind it.
const ERROR_TEXT: &str = "stderr";
/// A block that is longer than this many bytes is text.
const LARGEST_CONTENT: usize = 256 << 20;

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Text(String),
    /// Text for standard error that came on standard output, so that it keeps its place.
    ErrorText(String),
    /// A message of the kernel's own code in the process that runs cells.
    Message(Value),
    /// A representation of something to show.
    Content {
        mime: String,
        content: String,
    },
    /// The prompt for the next line of input.
    Prompt {
        prompt: String,
        password: bool,
    },
}

/// The bytes of one stream.
pub struct Stream {
    /// The bytes that begin a message. They contain a secret of this kernel, so that nothing else can print them.
    mark: Vec<u8>,
    /// Bytes that came and that do not make a piece yet.
    held: Vec<u8>,
    at_line_start: bool,
    /// Within text for standard error: whether that text began at the start of a line.
    error_from: Option<bool>,
    /// Whether blocks and prompts of evcxr's conventions are recognized. They come on standard output only.
    has_content: bool,
}

impl Stream {
    /// A stream whose messages begin with `mark`.
    pub fn new(mark: &[u8], has_content: bool) -> Self {
        Self { mark: mark.into(), held: vec![], at_line_start: true, error_from: None, has_content }
    }

    /// Takes bytes as they come, and returns the pieces that are complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.held.extend_from_slice(bytes);
        let (mut pieces, mut from) = (vec![], 0);
        while from < self.held.len() {
            let rest = &self.held[from..];
            let special = self.special(rest);
            let (piece, length) = match special {
                Special::Piece(piece, length) => (piece, length),
                Special::Unfinished => break,
                Special::None => {
                    let length = self.plain(rest);
                    if length == 0 {
                        break;
                    }
                    (self.text(&rest[..length]), length)
                }
            };
            let ends_line = rest[length - 1] == b'\n';
            from += length;
            match (pieces.last_mut(), piece) {
                (_, Piece::Message(message)) if message.get(ERROR_TEXT).is_some() => self.switch(&message),
                (_, Piece::Message(message)) => {
                    // A message may stand within a line of text. But a cell begins with a new line, whatever came
                    // before.
                    if message.get("begin").is_some() {
                        (self.at_line_start, self.error_from) = (true, None);
                    }
                    pieces.push(Piece::Message(message));
                }
                (last, piece) => {
                    self.at_line_start = ends_line;
                    match (last, piece) {
                        (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
                        (Some(Piece::ErrorText(text)), Piece::ErrorText(more)) => text.push_str(&more),
                        (_, piece) => pieces.push(piece),
                    }
                }
            }
        }
        self.held.drain(..from);
        pieces
    }

    /// Whether bytes are held that are text unless more comes.
    pub fn is_unsettled(&self) -> bool {
        !self.held.is_empty() && !self.is_unfinished_message()
    }

    /// Returns the bytes that are held as text, because nothing more has come for a while.
    pub fn rest(&mut self) -> Option<Piece> {
        if !self.is_unsettled() {
            return None;
        }
        let held = std::mem::take(&mut self.held);
        self.at_line_start = held.ends_with(b"\n");
        Some(self.text(&held))
    }

    fn text(&self, bytes: &[u8]) -> Piece {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if self.error_from.is_some() { Piece::ErrorText(text) } else { Piece::Text(text) }
    }

    /// Begins or ends text for standard error. It does not change where the text of standard output is.
    fn switch(&mut self, message: &Value) {
        match (message[ERROR_TEXT].as_bool(), self.error_from) {
            (Some(true), None) => self.error_from = Some(std::mem::replace(&mut self.at_line_start, false)),
            (Some(false), Some(at_line_start)) => (self.at_line_start, self.error_from) = (at_line_start, None),
            _ => {}
        }
    }

    fn is_unfinished_message(&self) -> bool {
        self.held.starts_with(&self.mark) || self.held.starts_with(BEGIN_CONTENT.as_bytes())
    }

    fn special(&self, rest: &[u8]) -> Special {
        if rest.starts_with(&self.mark) {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Special::Unfinished };
            let message = serde_json::from_slice(&rest[self.mark.len()..end]);
            return Special::Piece(Piece::Message(message.unwrap_or(Value::Null)), end + 1);
        }
        if self.mark.starts_with(rest) {
            return Special::Unfinished;
        }
        if !self.at_line_start || !self.has_content || self.error_from.is_some() {
            return Special::None;
        }
        let starts = [BEGIN_CONTENT, INPUT, PASSWORD];
        if starts.iter().any(|start| start.as_bytes().starts_with(rest)) {
            return Special::Unfinished;
        }
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or(rest);
        let whole = rest.len() > line.len();
        for (start, password) in [(INPUT, false), (PASSWORD, true)] {
            if let Some(prompt) = line.strip_prefix(start.as_bytes()) {
                let prompt = String::from_utf8_lossy(prompt).into_owned();
                return match whole {
                    true => Special::Piece(Piece::Prompt { prompt, password }, line.len() + 1),
                    false => Special::Unfinished,
                };
            }
        }
        let Some(mime) = line.strip_prefix(BEGIN_CONTENT.as_bytes()) else { return Special::None };
        if !whole {
            return Special::Unfinished;
        }
        let body = &rest[line.len() + 1..];
        // A message ends the block, that of the end of the cell at the latest. Then the block was text.
        let given_up = memchr::memmem::find(body, &self.mark).unwrap_or(body.len());
        match end_of_content(&body[..given_up]) {
            Some((content, length)) => {
                let mime = String::from_utf8_lossy(mime).trim().to_string();
                let content = String::from_utf8_lossy(content).into_owned();
                Special::Piece(Piece::Content { mime, content }, line.len() + 1 + length)
            }
            None if rest.len() > LARGEST_CONTENT || given_up < body.len() => Special::None,
            None => Special::Unfinished,
        }
    }

    /// The number of bytes that are certainly text: they end before anything that may be another piece, and contain no
    /// part of a character.
    fn plain(&self, rest: &[u8]) -> usize {
        let mut end = 1;
        while end < rest.len() {
            let may_be_content =
                self.has_content && self.error_from.is_none() && rest[end - 1] == b'\n' && rest[end] == b'E';
            if rest[end] == self.mark[0] || may_be_content {
                break;
            }
            end += 1;
        }
        match std::str::from_utf8(&rest[..end]) {
            Err(error) if error.error_len().is_none() && end == rest.len() => error.valid_up_to(),
            _ => end,
        }
    }
}

/// What the next bytes are, if they are not text.
enum Special {
    /// A piece, and its length in bytes.
    Piece(Piece, usize),
    /// They may become a piece when more bytes come.
    Unfinished,
    None,
}

/// The content before the end marker, and the length of both in bytes.
fn end_of_content(body: &[u8]) -> Option<(&[u8], usize)> {
    let marker = END_CONTENT.as_bytes();
    if body.starts_with(&[marker, b"\n"].concat()) {
        return Some((b"", marker.len() + 1));
    }
    let whole = [b"\n", marker, b"\n"].concat();
    let at = memchr::memmem::find(body, &whole)?;
    Some((&body[..at], at + whole.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MARK: &[u8] = b"\x01secret ";

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    /// The pieces of some input. Checks that they are the same however the bytes are cut, once adjacent texts are
    /// joined.
    fn pieces(input: &str) -> Vec<Piece> {
        let whole = Stream::new(MARK, true).take(input.as_bytes());
        for size in 1..input.len() {
            let mut stream = Stream::new(MARK, true);
            let mut cut: Vec<Piece> = vec![];
            for chunk in input.as_bytes().chunks(size) {
                for piece in stream.take(chunk) {
                    match (cut.last_mut(), piece) {
                        (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
                        (Some(Piece::ErrorText(text)), Piece::ErrorText(more)) => text.push_str(&more),
                        (_, piece) => cut.push(piece),
                    }
                }
            }
            assert_eq!(cut, whole, "in pieces of {size}: {input:?}");
        }
        whole
    }

    #[test]
    fn text_is_returned_before_its_line_ends() {
        assert_eq!(pieces("50 %\r60 %\rä"), [text("50 %\r60 %\rä")]);
        let mut stream = Stream::new(MARK, true);
        assert_eq!(stream.take("ä".as_bytes()[..1].as_ref()), []);
        assert_eq!(stream.take(&"ä".as_bytes()[1..]), [text("ä")]);
    }

    #[test]
    fn a_message_may_stand_anywhere_but_needs_the_secret() {
        let message = Piece::Message(json!({ "end": true }));
        assert_eq!(pieces("half\u{1}secret {\"end\":true}\nmore"), [text("half"), message, text("more")]);
        assert_eq!(pieces("\u{1}other {\"end\":true}\n"), [text("\u{1}other {\"end\":true}\n")]);
    }

    #[test]
    fn content_is_a_block_of_whole_lines() {
        let content = |mime: &str, content: &str| Piece::Content { mime: mime.into(), content: content.into() };
        let input = "a\nEVCXR_BEGIN_CONTENT text/html\n<b>\nx</b>\nEVCXR_END_CONTENT\n\
                     EVCXR_BEGIN_CONTENT text/plain\n\nEVCXR_END_CONTENT\nE\n";
        assert_eq!(
            pieces(input),
            [text("a\n"), content("text/html", "<b>\nx</b>"), content("text/plain", ""), text("E\n")]
        );
        let end = Piece::Message(json!({ "end": true }));
        let unended = "EVCXR_BEGIN_CONTENT text/html\nnext\n";
        assert_eq!(pieces(&format!("{unended}\u{1}secret {{\"end\":true}}\n")), [text(unended), end]);
        assert_eq!(pieces("x EVCXR_BEGIN_CONTENT a\n"), [text("x EVCXR_BEGIN_CONTENT a\n")]);
        assert_eq!(pieces("EVCXR_EXECUTION_COMPLETE\nEEE\n"), [text("EVCXR_EXECUTION_COMPLETE\nEEE\n")]);
    }

    #[test]
    fn text_for_standard_error_keeps_its_place_and_is_nothing_but_text() {
        let input = "half\u{1}secret {\"stderr\":true}\nEVCXR_BEGIN_CONTENT a\nä\n\u{1}secret {\"stderr\":false}\n\
                     a line\nEVCXR_INPUT_REQUEST:Name? \n";
        let error = Piece::ErrorText("EVCXR_BEGIN_CONTENT a\nä\n".into());
        let prompt = Piece::Prompt { prompt: "Name? ".into(), password: false };
        assert_eq!(pieces(input), [text("half"), error, text("a line\n"), prompt]);
    }

    #[test]
    fn prompts_are_no_text() {
        let prompt = |prompt: &str, password| Piece::Prompt { prompt: prompt.into(), password };
        assert_eq!(pieces("EVCXR_INPUT_REQUEST:Name? \n"), [prompt("Name? ", false)]);
        assert_eq!(pieces("EVCXR_INPUT_REQUEST_PASSWORD:Key: \nx"), [prompt("Key: ", true), text("x")]);
    }

    #[test]
    fn an_unfinished_piece_is_text_when_nothing_more_comes() {
        let mut stream = Stream::new(MARK, true);
        assert_eq!(stream.take(b"EVC"), []);
        assert_eq!(stream.rest(), Some(text("EVC")));
        assert_eq!(stream.rest(), None);
    }
}
