//! A lexer for as much of Rust as is needed to tell whether a line begins outside of brackets, strings and comments.

use super::layout::Layout;

/// What contains a position in code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    /// A comment, with the depth to which comments are nested.
    BlockComment(usize),
    String,
    /// A raw string, with the number of `#` that end it.
    RawString(usize),
}

/// The state of the lexer after some lines.
pub(super) struct Scan {
    inside: Inside,
    layout: Layout,
    /// Whether a bracket was closed that was not open.
    mismatch: bool,
    /// Whether the last token is a doc comment.
    documents: bool,
    /// The number of bytes that were read.
    read: usize,
    /// The byte at which the last token ends.
    end: usize,
}

impl Scan {
    pub(super) fn new() -> Self {
        let layout = Layout::default();
        Self { inside: Inside::Code, layout, mismatch: false, documents: false, read: 0, end: 0 }
    }

    /// Whether the next character is code at the top level.
    pub(super) fn at_top(&self) -> bool {
        self.inside == Inside::Code && self.layout.at_top()
    }

    /// Whether a bracket was closed that was not open.
    pub(super) fn is_mismatched(&self) -> bool {
        self.mismatch
    }

    /// Whether the code ends in a doc comment, which needs an item after it.
    pub(super) fn documents(&self) -> bool {
        self.documents
    }

    /// The byte at which the last token ends.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The number of spaces before the next line; 0 inside a string, to which they would belong.
    pub(super) fn indent(&self) -> usize {
        match self.inside {
            Inside::Code | Inside::BlockComment(_) => self.layout.indent(),
            Inside::String | Inside::RawString(_) => 0,
        }
    }

    /// Reads a line, with its line end.
    pub(super) fn line(&mut self, line: &str) {
        self.layout.begin_line();
        let mut at = 0;
        while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
            let first = rest.chars().next().map_or(1, char::len_utf8);
            let was_comment = matches!(self.inside, Inside::BlockComment(_));
            let length = match self.inside {
                Inside::Code => self.code(rest, at),
                Inside::BlockComment(depth) => match rest.get(..2) {
                    Some("*/") => {
                        self.inside = if depth == 1 { Inside::Code } else { Inside::BlockComment(depth - 1) };
                        2
                    }
                    Some("/*") => {
                        self.inside = Inside::BlockComment(depth + 1);
                        2
                    }
                    _ => first,
                },
                Inside::String if rest.starts_with('\\') => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                Inside::String if rest.starts_with('"') => {
                    self.inside = Inside::Code;
                    1
                }
                Inside::RawString(hashes) if closes(rest, hashes) => {
                    self.inside = Inside::Code;
                    1 + hashes
                }
                Inside::String | Inside::RawString(_) => first,
            };
            let is_comment = was_comment || matches!(self.inside, Inside::BlockComment(_)) || rest.starts_with("//");
            if !is_comment && !rest.starts_with(char::is_whitespace) {
                self.end = self.read + at + length;
            }
            at += length;
        }
        self.read += line.len();
    }

    /// Reads the token at the beginning of `rest`, which is at byte `at` of its line. Returns its length in bytes.
    fn code(&mut self, rest: &str, at: usize) -> usize {
        if rest.starts_with("//") {
            self.documents |= rest.starts_with("///") && !rest.starts_with("////");
            return rest.len();
        }
        if rest.starts_with("/*") {
            self.documents |= rest.starts_with("/**") && !rest.starts_with("/***") && !rest.starts_with("/**/");
            self.inside = Inside::BlockComment(1);
            return 2;
        }
        let Some(c) = rest.chars().next() else { return 1 };
        if c.is_whitespace() {
            return c.len_utf8();
        }
        self.documents = false;
        match c {
            '"' => {
                self.inside = Inside::String;
                self.layout.word("\"");
            }
            '\'' => {
                self.layout.word("'");
                return quoted(rest);
            }
            '(' | '[' | '{' => self.layout.open(c),
            ')' | ']' | '}' => self.mismatch |= !self.layout.close(c),
            _ if is_word(c) => {
                let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
                self.layout.word(word);
                let behind = &rest[word.len()..];
                let hashes = behind.len() - behind.trim_start_matches('#').len();
                if matches!(word, "r" | "br" | "cr") && behind[hashes..].starts_with('"') {
                    self.inside = Inside::RawString(hashes);
                    return word.len() + hashes + 1;
                }
                return word.len();
            }
            _ => self.layout.sign(c, at),
        }
        c.len_utf8()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `rest` begins with the end of a raw string of this number of `#`.
fn closes(rest: &str, hashes: usize) -> bool {
    let behind = rest.strip_prefix('"');
    behind.is_some_and(|behind| behind.len() - behind.trim_start_matches('#').len() >= hashes)
}

/// The length of a character literal, or of the quote that begins a lifetime.
fn quoted(rest: &str) -> usize {
    let inner = &rest[1..];
    if let Some(escape) = inner.strip_prefix('\\') {
        // The escaped character may be a quote itself.
        let escaped = escape.chars().next().map_or(0, char::len_utf8);
        return escape[escaped..].find('\'').map_or(2, |at| 2 + escaped + at + 1);
    }
    let character = inner.chars().next().map_or(0, char::len_utf8);
    if inner[character..].starts_with('\'') { 1 + character + 1 } else { 1 }
}
