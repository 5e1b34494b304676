//! Errors of magics. An error has a name, a message, the characters of the cell that caused it, and help.
//!
//! An error is a value until the kernel sends it: [`MagicError::traceback`] renders it.

mod lookalikes;
mod name;
mod page_colors;
mod source;
mod suggest;

pub use name::ErrorName;
pub use page_colors::page_colors;
pub use source::{Source, Span, Spanned};
pub use suggest::{nearest, suggest};

use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind};
use std::fmt;

/// An error of a magic.
#[derive(Clone, Debug)]
pub struct MagicError {
    /// The `ename` of the Jupyter error.
    pub name: ErrorName,
    /// The message in one line: the `evalue` of the Jupyter error.
    pub message: String,
    /// What the user can do, in a sentence without a capital letter and a full stop.
    pub help: Option<String>,
    /// The characters that caused the error, if there are such.
    location: Option<Box<Location>>,
    /// A report that the compiler or the engine of Rust cells has rendered. It is shown instead of the message.
    drawn: Option<Vec<String>>,
    /// Further lines below the message, such as the end of a log.
    details: Vec<String>,
}

/// The characters of a cell that caused an error.
#[derive(Clone, Debug)]
struct Location {
    source: Source,
    span: Span,
    /// The text under the characters.
    label: String,
}

/// The result of a magic, or of a step of one.
pub type Result<T> = std::result::Result<T, MagicError>;

impl MagicError {
    /// An error that points at no characters.
    pub fn new(name: ErrorName, message: impl Into<String>, help: Option<String>) -> Self {
        Self { name, message: message.into(), help, location: None, drawn: None, details: vec![] }
    }

    /// An error that points at no characters, with help.
    pub fn advising(name: ErrorName, message: impl Into<String>, help: &str) -> Self {
        Self::new(name, message, Some(help.into()))
    }

    /// An error that points at the characters `span` of `source`. The label is shown under them.
    pub fn at(
        name: ErrorName,
        source: &Source,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        let location = Location { source: source.clone(), span, label: label.into() };
        Self { location: Some(Box::new(location)), ..Self::new(name, message, help) }
    }

    /// An error with a report that is rendered already: `lines` are shown as they are, instead of the message.
    pub fn drawn(name: ErrorName, message: impl Into<String>, lines: Vec<String>) -> Self {
        Self { drawn: Some(lines), ..Self::new(name, message, None) }
    }

    /// The error `Interrupted` of a magic that the user has interrupted.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorName::Interrupted, message, None)
    }

    /// Puts another message and another help in the place of these. The old message becomes the first detail.
    pub fn seen_as(mut self, message: String, help: String) -> Self {
        let old = std::mem::replace(&mut self.message, message);
        self.details.insert(0, old);
        self.help = Some(help);
        self
    }

    /// Adds lines below the message.
    pub fn with_details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }

    /// Sets the help.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the error points at characters within a span.
    pub fn points_into(&self, span: &Span) -> bool {
        self.location.as_deref().is_some_and(|at| at.span.start >= span.start && at.span.end <= span.end)
    }

    /// Adds to the help which character to write in the place of one that only looks like it, if the error points at
    /// such a character.
    pub fn naming_lookalikes(mut self) -> Self {
        let note = self.location.as_deref().and_then(|at| lookalikes::note(at.source.text(), &at.span));
        if let Some(note) = note {
            self.help = Some(self.help.map_or(note.clone(), |help| format!("{note}; {help}")));
        }
        self
    }

    /// Changes each line of the rendered report, if the error has one.
    pub fn map_drawn(mut self, change: impl Fn(&str) -> String) -> Self {
        if let Some(lines) = &mut self.drawn {
            for line in lines {
                *line = change(line);
            }
        }
        self
    }

    /// The message and the help in one line.
    pub fn in_one_line(&self) -> String {
        let Self { message, help, .. } = self;
        help.as_ref().map_or(message.clone(), |help| format!("{message}; {help}"))
    }

    /// The error as the notebook shows it: lines with ANSI colours.
    pub fn traceback(&self) -> Vec<String> {
        let name = self.name;
        // A report that points at characters contains the help.
        let (mut lines, with_help) =
            match (&self.drawn, self.location.as_deref().and_then(|location| self.draw(location))) {
                (Some(drawn), _) => (drawn.clone(), false),
                (None, Some(lines)) => (lines, true),
                (None, None) => (vec![format!("\x1b[31m{name}\x1b[0m: {}", self.message)], false),
            };
        lines.extend(self.details.iter().cloned());
        lines.extend(self.help.iter().filter(|_| !with_help).map(|help| format!("\x1b[36mHelp\x1b[0m: {help}")));
        lines
    }

    /// Renders the message with the line of the cell, in which the characters are underlined. None if ariadne fails.
    fn draw(&self, Location { source, span, label }: &Location) -> Option<Vec<String>> {
        // Blank lines stand for those above the magic, so that line numbers are those of the cell.
        let above = source.first_line();
        let span = span.start + above..span.end + above;
        let config = Config::default().with_index_type(IndexType::Byte).with_char_set(CharSet::Unicode);
        let mut report = Report::build(ReportKind::Custom(self.name.as_str(), Color::Red), ("cell", span.clone()))
            .with_config(config)
            .with_message(&self.message)
            .with_label(Label::new(("cell", span)).with_message(label).with_color(Color::Red));
        if let Some(help) = &self.help {
            report = report.with_help(help);
        }
        let text = ariadne::Source::from("\n".repeat(above) + source.text());
        let mut rendered = Vec::new();
        report.finish().write(("cell", text), &mut rendered).ok()?;
        Some(page_colors(&rendered).trim_end().lines().map(String::from).collect())
    }
}

impl fmt::Display for MagicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl std::error::Error for MagicError {}

impl From<tunebook_study::store::StoreError> for MagicError {
    fn from(error: tunebook_study::store::StoreError) -> Self {
        use tunebook_study::store::StoreError;
        let name = match error {
            StoreError::Busy { .. } | StoreError::LeaseLost { .. } => ErrorName::StudyBusy,
            StoreError::Exists { .. } => ErrorName::StudyExists,
            _ => ErrorName::StoreError,
        };
        Self::new(name, error.to_string(), None)
    }
}
