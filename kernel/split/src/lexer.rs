//! As much of Rust's grammar as it takes to know where a line begins outside of brackets, strings and comments.

use super::layout::Layout;

/// What a position in code lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// The state of a scan.
pub(super) struct Scan {
    inside: Inside,
    layout: Layout,
    mismatch: bool,
    documents: bool,
    read: usize,
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

    /// Whether the last thing read is a comment that documents what follows.
    pub(super) fn documents(&self) -> bool {
        self.documents
    }

    /// Where the last token ends, in bytes.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Spaces before the next line; none where they would belong to a string.
    pub(super) fn indent(&self) -> usize {
        match self.inside {
            Inside::Code | Inside::BlockComment(_) => self.layout.indent(),
            Inside::Text | Inside::RawText(_) => 0,
        }
    }

    /// Scans one line with its end.
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
                Inside::Text if rest.starts_with('\\') => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                Inside::Text if rest.starts_with('"') => {
                    self.inside = Inside::Code;
                    1
                }
                Inside::RawText(hashes) if closes(rest, hashes) => {
                    self.inside = Inside::Code;
                    1 + hashes
                }
                Inside::Text | Inside::RawText(_) => first,
            };
            let is_comment = was_comment || matches!(self.inside, Inside::BlockComment(_)) || rest.starts_with("//");
            if !is_comment && !rest.starts_with(char::is_whitespace) {
                self.end = self.read + at + length;
            }
            at += length;
        }
        self.read += line.len();
    }

    /// Takes what begins here in code, at a place of its line; gives its length.
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
                self.inside = Inside::Text;
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
                    self.inside = Inside::RawText(hashes);
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

/// Whether a raw string that began with so many hashes ends here.
fn closes(rest: &str, hashes: usize) -> bool {
    let behind = rest.strip_prefix('"');
    behind.is_some_and(|behind| behind.len() - behind.trim_start_matches('#').len() >= hashes)
}

/// The length of a character, or of the quote that begins a lifetime.
fn quoted(rest: &str) -> usize {
    let inner = &rest[1..];
    if let Some(escape) = inner.strip_prefix('\\') {
        // What is escaped may be a quote itself.
        let escaped = escape.chars().next().map_or(0, char::len_utf8);
        return escape[escaped..].find('\'').map_or(2, |at| 2 + escaped + at + 1);
    }
    let character = inner.chars().next().map_or(0, char::len_utf8);
    if inner[character..].starts_with('\'') { 1 + character + 1 } else { 1 }
}
