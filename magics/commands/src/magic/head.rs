//! The first line of a magic.

use crate::error::Span;

/// The parts of the first line of a magic, as byte offsets into the text.
pub struct Head {
    /// The line, without spaces around it.
    pub line: Span,
    /// The per cent signs and the name.
    pub name: Span,
    /// How many per cent signs there are.
    pub percents: usize,
    /// The end of the line, before the line break.
    pub end: usize,
}

impl Head {
    /// Parses the first line of a text that is not blank.
    pub fn new(text: &str) -> Self {
        let start = text.len() - text.trim_start().len();
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = start..text[..end].trim_end().len().max(start);
        let written = &text[line.clone()];
        let percents = written.len() - written.trim_start_matches('%').len();
        let rest = &written[percents..];
        let name_length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        Self { name: start..start + percents + name_length, line, percents, end }
    }

    /// The name, without per cent signs.
    pub fn name<'a>(&self, text: &'a str) -> &'a str {
        &text[self.name.start + self.percents..self.name.end]
    }
}
