//! What a magic is, and how its text becomes a command: the framework that every magic in `commands` builds upon.

mod catalogue;
mod context;
mod elsewhere;
mod head;
mod help;
mod question;

pub use catalogue::Catalogue;
pub use context::{Context, Settings};
pub use head::Head;
pub use question::{asks, is_question, is_rust_path};

use crate::error::{Result, Span};
use crate::host::{Interrupt, Output};
use crate::syntax::{Arguments, OptionSpec};

/// A magic that was understood; it waits to be run.
pub trait Command: Send {
    /// Acts and reports.
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()>;
}

/// What a magic is given to understand.
pub struct Invocation {
    /// Its words after the name, sorted into options and the rest.
    pub arguments: Arguments,
    /// For a cell magic, where its body stands.
    pub body: Option<Span>,
    /// All magics, for those whose body may hold others.
    pub catalogue: Catalogue,
}

impl Invocation {
    /// The lines under a cell magic; the last one ends like the others. An empty body is an error.
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

/// One magic: all that others need to know of it. Help, completion, `%lsmagic`, `%export` and the splitting of cells follow
/// from these fields.
pub struct Magic {
    /// Its name, without per cent signs.
    pub name: &'static str,
    /// Whether `%name` exists.
    pub line: bool,
    /// What the body of `%%name` is; None if there is no such cell magic.
    pub body: Option<Body>,
    /// How it is written.
    pub usage: &'static str,
    /// What it answers, in a line.
    pub summary: &'static str,
    /// Its help in Markdown, without usage and options.
    pub help: &'static str,
    /// Its options.
    pub options: &'static [OptionSpec],
    /// What its first word names.
    pub subject: Subject,
    /// What `%export` makes of it.
    pub export: Export,
    /// Understands it.
    pub parse: fn(Invocation) -> Result<Box<dyn Command>>,
}

/// What the body of a cell magic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Rust that runs among the other Rust cells.
    Rust,
    /// Rust that becomes a crate of its own.
    Crate,
    /// The declarations of a study, as in `%%sweep`.
    Declarations,
    /// What a shell or another program reads.
    Script,
    /// Any text.
    Text,
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

/// What `%export` makes of a magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// A comment.
    Comment,
    /// The Rust that it runs, whose value is shown.
    Rust,
    /// The Rust that it runs, without a value.
    Items,
}
