//! The table of all magics. Help, completion, and the message for an unknown one are made from it.

use crate::commands;
use crate::context::Context;
use crate::elsewhere;
use crate::error::{MagicError, Result, nearest, suggest};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::syntax::{
    Arguments, OptionSpec, Source, Span, parse_arguments, parse_before_code, parse_leading, split_words,
};

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
    /// Rust: what follows the options is code, and is not split into words.
    Rust,
    /// A variable or an item of Rust cells.
    Name,
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

/// Cell magics whose body is Rust that runs among the other Rust cells.
const RUST_BODIES: [&str; 4] = ["time", "timeit", "test", "capture"];

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
    commands::time::MAGIC,
    commands::timeit::MAGIC,
    commands::test::MAGIC,
    commands::capture::MAGIC,
    commands::who::WHO,
    commands::who::WHOS,
    commands::list::MAGIC,
    commands::remove::MAGIC,
    commands::reset::MAGIC,
    commands::doc::MAGIC,
    commands::export::MAGIC,
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
                let row = [format!("`{}{value}`", option.written()), option.help.to_string()];
                // A bar would end the cell of the table.
                text += &format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
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

/// The pieces of the first line of a magic.
struct Head {
    /// The whole line, without blanks around it.
    line: Span,
    /// The per cent signs and the name.
    name: Span,
    percents: usize,
    /// Where the first line ends in the text.
    end: usize,
}

impl Head {
    fn new(text: &str) -> Self {
        let start = text.len() - text.trim_start().len();
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = start..text[..end].trim_end().len().max(start);
        let written = &text[line.clone()];
        let percents = written.len() - written.trim_start_matches('%').len();
        let rest = &written[percents..];
        let name_length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        Self { name: start..start + percents + name_length, line, percents, end }
    }

    fn name<'a>(&self, text: &'a str) -> &'a str {
        &text[self.name.start + self.percents..self.name.end]
    }
}

/// Understands the text of one magic.
pub fn parse(text: &str, first_line: usize) -> Result<Box<dyn Command>> {
    let source = Source::new(text, first_line);
    let head = Head::new(text);
    let line = head.line.clone();
    if is_question(&text[line.clone()]) {
        return commands::lsmagic::help_for(&source, line);
    }
    let name = head.name(text);
    let cell = head.percents == 2;
    let magic = find(name).ok_or_else(|| unknown(&source, head.name.clone(), name))?;
    if (cell && !magic.cell) || (!cell && !magic.line) {
        let (has, body) = if magic.cell { ("%%", "has a body") } else { ("%", "has no body") };
        let message = format!("`{name}` {body}: it is written `{has}{name}`");
        return Err(source.syntax_error(head.name, message, Some(format!("usage: {}", magic.usage))));
    }
    let rest = head.name.end..line.end;
    let arguments = match magic.completes {
        Subject::Rust => parse_before_code(&source, line, rest, magic.options)?,
        subject if subject.passes_on() => {
            let words = split_words(&source, rest)?;
            parse_leading(&source, line, words, magic.options)?
        }
        _ => {
            let words = split_words(&source, rest)?;
            parse_arguments(&source, line, words, magic.options)?
        }
    };
    (magic.parse)(Invocation { arguments, body: cell.then_some(head.end..text.len()) })
}

/// `?name`, `name?`, `%name?`; `%time f()?` is none.
fn is_question(line: &str) -> bool {
    line.starts_with('?') || (line.ends_with('?') && !line.contains([' ', '\t', '(']))
}

/// Where the Rust stands in a magic that runs Rust among the other cells: the code of the line, or the body.
pub fn rust_in(text: &str) -> Option<Span> {
    let head = Head::new(text);
    let magic = find(head.name(text)).filter(|_| !is_question(&text[head.line.clone()]))?;
    if head.percents == 2 {
        let body = (head.end + 1).min(text.len())..text.len();
        return RUST_BODIES.contains(&magic.name).then_some(body);
    }
    if magic.completes != Subject::Rust {
        return None;
    }
    let source = Source::new(text, 0);
    let parsed = parse_before_code(&source, head.line.clone(), head.name.end..head.line.end, magic.options).ok()?;
    parsed.positional.first().map(|word| word.span.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_is_found_in_magics_that_run_it() {
        let cases = [
            ("%time f(x)?", Some("f(x)?")),
            ("%timeit --samples 5 v.sort()", Some("v.sort()")),
            ("%%timeit let v = w.clone();\nv.sort()\n", Some("v.sort()\n")),
            ("%%capture out\nf()", Some("f()")),
            ("%%time", Some("")),
            ("%who", None),
            ("%time?", None),
            ("%%sweep a\nworkload b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(rust_in(text).map(|span| &text[span]), expected, "{text}");
        }
    }

    #[test]
    fn every_magic_explains_itself() {
        for magic in MAGICS {
            assert!(magic.line || magic.cell, "{}", magic.name);
            assert!(magic.usage.contains(magic.name) && magic.plain().contains(magic.summary), "{}", magic.name);
        }
        let mut names: Vec<&str> = MAGICS.iter().map(|magic| magic.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MAGICS.len());
    }
}
