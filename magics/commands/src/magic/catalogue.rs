//! The magics that there are, as those see them that must not know the registry.

use super::{Body, Command, Head, Invocation, Magic, Subject, elsewhere, is_question};
use crate::error::{ErrorName, MagicError, Result, Source, Span, nearest, suggest};
use crate::syntax::{parse_arguments, parse_before_code, parse_leading, split_words};

/// All magics, in the order in which `%lsmagic` lists them.
#[derive(Clone, Copy)]
pub struct Catalogue(pub &'static [Magic]);

impl Catalogue {
    /// The magic of a name.
    pub fn find(self, name: &str) -> Option<&'static Magic> {
        self.0.iter().find(|magic| magic.name == name)
    }

    /// The names of all magics.
    pub fn names<'a>(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|magic| magic.name)
    }

    /// Understands the text of one magic: a line that begins with `%`, or a cell that begins with `%%`.
    pub fn parse(self, source: &Source) -> Result<Box<dyn Command>> {
        let text = source.text();
        let head = Head::new(text);
        let line = head.line.clone();
        let name = head.name(text);
        let is_cell = head.percents == 2;
        let magic = self.find(name).ok_or_else(|| self.unknown(source, head.name.clone(), name))?;
        let has_cell = magic.body.is_some();
        if (is_cell && !has_cell) || (!is_cell && !magic.line) {
            let (has, body) = if has_cell { ("%%", "has a body") } else { ("%", "has no body") };
            let message = format!("`{name}` {body}: it is written `{has}{name}`");
            return Err(source.syntax_error(head.name, message, Some(format!("usage: {}", magic.usage))));
        }
        let rest = head.name.end..line.end;
        let arguments = match magic.subject {
            Subject::Rust => parse_before_code(source, line, rest, magic.options)?,
            subject if subject.passes_on() => {
                let words = split_words(source, rest)?;
                parse_leading(source, line, words, magic.options)?
            }
            _ => {
                let words = split_words(source, rest)?;
                parse_arguments(source, line, words, magic.options)?
            }
        };
        let body = is_cell.then_some(head.end..text.len());
        (magic.parse)(Invocation { arguments, body, catalogue: self })
    }

    /// Where the Rust stands in a magic that runs Rust among the other cells: the code of the line, or the body.
    pub fn rust_in(self, text: &str) -> Option<Span> {
        let head = Head::new(text);
        let magic = self.find(head.name(text)).filter(|_| !is_question(&text[head.line.clone()]))?;
        if head.percents == 2 {
            let body = (head.end + 1).min(text.len())..text.len();
            return (magic.body == Some(Body::Rust)).then_some(body);
        }
        if magic.subject != Subject::Rust {
            return None;
        }
        let source = Source::new(text, 0);
        let parsed = parse_before_code(&source, head.line.clone(), head.name.end..head.line.end, magic.options).ok()?;
        parsed.positional.first().map(|word| word.span.clone())
    }

    /// The error of a magic that does not exist: what to do instead of one of IPython's, or the nearest that exists.
    pub fn unknown(self, source: &Source, span: Span, name: &str) -> MagicError {
        let help = match (elsewhere::instead(name), nearest(name, self.names())) {
            (Some(instead), _) => Some(instead.into()),
            (None, Some(_)) => suggest(name, self.names().collect::<Vec<_>>()),
            (None, None) => Some("%lsmagic lists all magics".into()),
        };
        source.error(ErrorName::UnknownMagic, span, format!("there is no magic `{name}`"), help)
    }
}
