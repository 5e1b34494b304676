//! The list of all magics. The registry passes it to code that must not import the registry itself.

use super::{Body, Command, Context, Head, Invocation, Magic, Subject, ipython, is_question};
use crate::error::{ErrorName, MagicError, Result, Source, Span, nearest, suggest};
use crate::host::{Interrupt, Output, WithPng};
use crate::syntax::{PNG, parse_arguments, parse_before_code, parse_leading, split_words};

/// All magics, in the order in which `%lsmagic` lists them.
#[derive(Clone, Copy)]
pub struct Catalogue(pub &'static [Magic]);

impl Catalogue {
    /// The magic with a name (without per cent signs).
    pub fn find(self, name: &str) -> Option<&'static Magic> {
        self.0.iter().find(|magic| magic.name == name)
    }

    pub fn names<'a>(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|magic| magic.name)
    }

    /// Parses the text of one magic: a line that begins with `%`, or a cell that begins with `%%`.
    pub fn parse(self, source: &Source) -> Result<Box<dyn Command>> {
        let text = source.text();
        let head = Head::new(text);
        let line = head.line.clone();
        let name = head.name(text);
        let is_cell = head.percents == 2;
        let magic = self.find(name).ok_or_else(|| self.unknown(source, head.name.clone(), name))?;
        let has_cell = magic.body.is_some();
        if (is_cell && !has_cell) || (!is_cell && !magic.line) {
            let message = match has_cell {
                true => format!("`{name}` needs a body: write `%%{name}`"),
                false => format!("`{name}` has no body: write `%{name}`"),
            };
            return Err(source.syntax_error(head.name, message, Some(format!("usage: {}", magic.usage))));
        }
        self.parse_as(magic, source, &head).map_err(|error| match needs_usage(&error, &line) {
            true => error.with_help(format!("write {}; `%{name}?` explains it", forms(magic, head.percents))),
            false => error,
        })
    }

    fn parse_as(self, magic: &Magic, source: &Source, head: &Head) -> Result<Box<dyn Command>> {
        let line = head.line.clone();
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
        let body = (head.percents == 2).then_some(head.end..source.text().len());
        let png = arguments.has(PNG.name);
        let command = (magic.parse)(Invocation { arguments, body, catalogue: self })?;
        Ok(if png { Box::new(ShowingPng(command)) } else { command })
    }

    /// The span of the code in a magic that runs Rust in the process of the Rust cells: the code in a line magic, or
    /// the body of a cell magic. None for other magics.
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

    /// The span of the Rust in a magic that completion and inspection look at: that of [`rust_in`](Self::rust_in), or
    /// the body of a `%%workload` below its dependencies. For the latter, true.
    pub fn rust_to_inspect(self, text: &str) -> Option<(Span, bool)> {
        let head = Head::new(text);
        let is_crate = |magic: &Magic| magic.body == Some(Body::Crate) && !is_question(&text[head.line.clone()]);
        if head.percents != 2 || !self.find(head.name(text)).is_some_and(is_crate) {
            return Some((self.rust_in(text)?, false));
        }
        let mut start = (head.end + 1).min(text.len());
        let body = text[start..].trim_start();
        let blank = text.len() - start - body.len();
        if body.starts_with("[dependencies]") {
            start += blank + body.find("\n\n").unwrap_or(body.len());
        }
        Some((start..text.len(), true))
    }

    /// The error for a magic that does not exist. The help says what replaces a magic of IPython, or names the most
    /// similar magic.
    pub fn unknown(self, source: &Source, span: Span, name: &str) -> MagicError {
        let help = match (ipython::replacement(name), nearest(name, self.names())) {
            (Some(instead), _) => Some(instead.into()),
            (None, Some(_)) => suggest(name, self.names().collect::<Vec<_>>()),
            (None, None) => Some("%lsmagic lists all magics".into()),
        };
        source.error(ErrorName::UnknownMagic, span, format!("there is no magic `{name}`"), help)
    }
}

/// Whether an error says that the words of the first line are not as they must be, and not what to write instead.
fn needs_usage(error: &MagicError, line: &Span) -> bool {
    error.help.is_none() && error.name == ErrorName::SyntaxError && error.points_into(line)
}

/// The forms in which a magic is written with so many per cent signs.
fn forms(magic: &Magic, percents: usize) -> String {
    let start = format!("{}{}", "%".repeat(percents), magic.name);
    let forms: Vec<String> =
        magic.usage.lines().filter(|form| form.starts_with(&start)).map(|form| format!("`{form}`")).collect();
    forms.join(" or ")
}

/// A magic with `--png`.
struct ShowingPng(Box<dyn Command>);

impl Command for ShowingPng {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        self.0.run(context, &WithPng::new(output), interrupt)
    }
}
