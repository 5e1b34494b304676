//! The table of all magics. Help, completion, and the message for an unknown one are made from it.

use crate::commands;
use crate::context::Context;
use crate::elsewhere;
use crate::error::{MagicError, Result, nearest, suggest};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::syntax::{Arguments, OptionSpec, Source, Span, parse_arguments, parse_leading, split_words};

/// A magic that was understood; it waits to be run.
pub trait Command: Send {
    /// Acts and reports.
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()>;
}

/// What a magic is given to understand.
pub struct Invocation {
    /// Its words after the name, sorted.
    pub arguments: Arguments,
    /// For a cell magic, where its body stands.
    pub body: Option<Span>,
}

impl Invocation {
    /// The lines under a cell magic; the last one ends like the others. Without any there is nothing to do, which is an error.
    pub fn body_text(&self) -> Result<String> {
        let source = &self.arguments.source;
        let text = self.body.as_ref().map_or("", |span| &source.text()[span.clone()]);
        let text = text.strip_prefix('\n').unwrap_or(text);
        if text.trim().is_empty() {
            let message = "the body is missing: what stands under this line is what it works on";
            return Err(source.syntax_error(self.arguments.line.clone(), message, None));
        }
        Ok(if text.ends_with('\n') { text.into() } else { format!("{text}\n") })
    }
}

/// One magic.
pub struct Magic {
    /// Its name, without per cent signs.
    pub name: &'static str,
    /// Whether `%name` exists.
    pub line: bool,
    /// Whether `%%name` exists.
    pub cell: bool,
    /// How it is written.
    pub usage: &'static str,
    /// What it answers, in a line.
    pub summary: &'static str,
    /// Its help in Markdown, without usage and options.
    pub help: &'static str,
    /// Its options.
    pub options: &'static [OptionSpec],
    /// What its first word names, for completion.
    pub completes: Subject,
    /// Understands it.
    pub parse: fn(Invocation) -> Result<Box<dyn Command>>,
}

/// What the first word after a magic's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing in particular.
    None,
    /// A study of the store, followed by its hyperparameters.
    Study,
    /// A workload, followed by its hyperparameters.
    Workload,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A variable of the environment, followed by its value.
    Variable,
    /// A program, followed by words of its own.
    Program,
    /// Words of a program.
    Words,
}

impl Subject {
    /// Whether the words from the first one on are passed on as they are, and none is an option of the magic.
    fn passes_on(self) -> bool {
        matches!(self, Subject::Variable | Subject::Program | Subject::Words)
    }
}

/// All magics, in the order in which `%lsmagic` lists them.
pub const MAGICS: &[Magic] = &[
    commands::sweep::MAGIC,
    commands::isolate::MAGIC,
    commands::axis::MAGIC,
    commands::curves::MAGIC,
    commands::throughput::MAGIC,
    commands::scaling::MAGIC,
    commands::noise::MAGIC,
    commands::final_evaluation::MAGIC,
    commands::study::MAGIC,
    commands::workloads::MAGIC,
    commands::workload::MAGIC,
    commands::devices::MAGIC,
    commands::env::MAGIC,
    commands::folder::CD,
    commands::folder::PWD,
    commands::script::BASH,
    commands::script::SH,
    commands::script::SCRIPT,
    commands::writefile::MAGIC,
    commands::load::MAGIC,
    commands::save::MAGIC,
    commands::history::MAGIC,
    commands::lsmagic::MAGIC,
];

/// The magic of a name.
pub fn find(name: &str) -> Option<&'static Magic> {
    MAGICS.iter().find(|magic| magic.name == name)
}

impl Magic {
    /// Its whole help in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n```\n{}\n```\n\n{}\n", self.summary, self.usage, self.help);
        if !self.options.is_empty() {
            text += "\n| option | meaning |\n|---|---|\n";
            for option in self.options {
                let value = option.value.map_or(String::new(), |value| format!(" {value}"));
                text += &format!("| `{}{}` | {} |\n", option.written(), value, option.help.replace('|', "\\|"));
            }
        }
        text
    }

    /// Its whole help as text.
    pub fn plain(&self) -> String {
        let mut text = format!("{}\n\n{}\n\n{}\n", self.summary, self.usage, self.help);
        if !self.options.is_empty() {
            text += "\nOptions:\n";
            for option in self.options {
                let written = option.written();
                let written = option.value.map_or(written.clone(), |value| format!("{written} {value}"));
                text += &format!("  {written:<24} {}\n", option.help);
            }
        }
        text
    }
}

/// Understands the text of one magic.
pub fn parse(text: &str, first_line: usize) -> Result<Box<dyn Command>> {
    let source = Source::new(text, first_line);
    let start = text.len() - text.trim_start().len();
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = start..text[..line_end].trim_end().len();
    let written = &text[line.clone()];
    if written.starts_with('?') || written.ends_with('?') {
        let name = written.trim_matches(['?', '%', ' ']);
        return commands::lsmagic::help_for(&source, line, name);
    }
    let percents = written.len() - written.trim_start_matches('%').len();
    let rest = &written[percents..];
    let name_length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let name = &rest[..name_length];
    let name_span = line.start..line.start + percents + name_length;
    let cell = percents == 2;
    let magic = find(name).ok_or_else(|| unknown(&source, name_span.clone(), name))?;
    if (cell && !magic.cell) || (!cell && !magic.line) {
        let (has, body) = if magic.cell { ("%%", "has a body") } else { ("%", "has no body") };
        let message = format!("`{name}` {body}: it is written `{has}{name}`");
        return Err(source.syntax_error(name_span, message, Some(format!("usage: {}", magic.usage))));
    }
    let words = split_words(&source, name_span.end..line.end)?;
    let arguments = match magic.completes.passes_on() {
        true => parse_leading(&source, line, words, magic.options)?,
        false => parse_arguments(&source, line, words, magic.options)?,
    };
    (magic.parse)(Invocation { arguments, body: cell.then_some(line_end..text.len()) })
}

/// The error of a magic that is not there: what to do instead of one of IPython's, or the nearest that there is.
pub fn unknown(source: &Source, span: Span, name: &str) -> MagicError {
    let names: Vec<&str> = MAGICS.iter().map(|magic| magic.name).collect();
    let help = match (elsewhere::instead(name), nearest(name, names.iter().copied())) {
        (Some(instead), _) => Some(instead.into()),
        (None, Some(_)) => suggest(name, names),
        (None, None) => Some("%lsmagic lists all magics".into()),
    };
    source.error("UnknownMagic", span, format!("there is no magic `{name}`"), help)
}
