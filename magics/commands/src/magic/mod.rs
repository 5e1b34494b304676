//! What a magic is, and how its text becomes a command. Every magic in `commands` builds upon this framework.

mod background;
mod catalogue;
mod command_line;
mod config;
mod context;
mod head;
mod help;
mod ipython;
mod pools;
mod question;
mod sharing;
mod store_file;

pub use background::{Background, BackgroundSweep, How};
pub use catalogue::Catalogue;
pub use command_line::{CommandLineMagic, MagicBody};
pub use config::{Config, SETTINGS, Setting, SettingKind, SettingValue, setting};
pub use context::{Context, SHOWN, Settings};
pub use head::Head;
pub use pools::{LOCAL, Pools, is_at_work};
pub use question::{asks, is_question, is_rust_path};
pub use sharing::{Share, Sharing};

use crate::error::{Result, Span};
use crate::host::{Interrupt, Output};
use crate::syntax::{Arguments, OptionSpec};

/// A magic that was parsed and can be run.
pub trait Command: Send {
    /// Runs the magic to its end, or until the interrupt is raised.
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()>;
}

/// What the `parse` function of a magic gets.
pub struct Invocation {
    /// The words after the name, sorted into options and positional words.
    pub arguments: Arguments,
    /// The span of the body, which begins with the line break after the first line. None for a line magic.
    pub body: Option<Span>,
    /// All magics, for those that look for other magics in their body.
    pub catalogue: Catalogue,
}

impl Invocation {
    /// The body of a cell magic, which ends with a line break. A body without text is an error.
    pub fn body_text(&self) -> Result<String> {
        let source = &self.arguments.source;
        let text = self.body.as_ref().map_or("", |span| &source.text()[span.clone()]);
        let text = text.strip_prefix('\n').unwrap_or(text);
        if text.trim().is_empty() {
            let message = "the body is missing: write it in the lines below this one";
            return Err(source.syntax_error(self.arguments.line.clone(), message, None));
        }
        Ok(if text.ends_with('\n') { text.into() } else { format!("{text}\n") })
    }
}

/// The description of a magic. Help, completion, `%lsmagic` and `%export` take all that they need from these fields.
pub struct Magic {
    /// The name, without per cent signs.
    pub name: &'static str,
    /// Whether there is a line magic `%name`.
    pub line: bool,
    /// What the body of the cell magic `%%name` contains, or None if there is no such cell magic.
    pub body: Option<Body>,
    /// All forms in which it is written, one on each line.
    pub usage: &'static str,
    /// A cell that works. A study that it names is that of the example of `%%sweep`. Code before the magic makes what
    /// the magic needs.
    pub example: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The help in Markdown, without usage and options.
    pub help: &'static str,
    pub options: &'static [OptionSpec],
    /// What its first positional word names.
    pub subject: Subject,
    /// What `%export` writes for it.
    pub export: Export,
    /// Parses an invocation. It must not have effects, since all magics of a cell are parsed before any of them runs.
    pub parse: fn(Invocation) -> Result<Box<dyn Command>>,
}

/// What the body of a cell magic contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Rust that runs in the process of the Rust cells.
    Rust,
    /// Rust that is compiled as a crate of its own.
    Crate,
    /// The declarations of a study, as in `%%sweep`.
    Declarations,
    /// Input of a shell or another program.
    Script,
    /// Any text.
    Text,
}

/// What the first positional word of a magic names. Completion and the parsing of words depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing that could be completed.
    None,
    /// A study, followed by hyperparameters of the study.
    Study,
    /// A workload, followed by hyperparameters of the workload.
    Workload,
    /// Rust code. Everything after the options is code and is not split into words.
    Rust,
    /// A variable or an item of Rust cells.
    Name,
    File,
    Folder,
    /// An environment variable, followed by its value.
    Variable,
    /// A setting, followed by its value.
    Setting,
    /// A program, followed by its arguments.
    Program,
    /// Arguments of a program that the magic itself names.
    Words,
}

impl Subject {
    /// Whether all words from the first positional one on are passed on, so that none of them is an option of the
    /// magic.
    fn passes_on(self) -> bool {
        matches!(self, Subject::Variable | Subject::Program | Subject::Words)
    }
}

/// What `%export` writes for a magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// The magic as a comment.
    Comment,
    /// The Rust that it runs. Its value is printed.
    Rust,
    /// The Rust that it runs. It has no value to print.
    Items,
}
