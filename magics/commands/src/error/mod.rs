//! What a magic says when it cannot do what it was asked: what the user wrote, where, why it cannot be, and what to do.
//!
//! An error is a value until the kernel sends it: only [`MagicError::traceback`] draws it.

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
    /// What the user can do.
    pub help: Option<String>,
    /// The characters that are to blame, where there are such.
    place: Option<Box<Place>>,
    /// Lines that were drawn elsewhere, by the compiler or by the engine of Rust cells; they stand in place of the message.
    drawn: Option<Vec<String>>,
    /// Further lines below the message: the end of a log, what a program said.
    details: Vec<String>,
}

/// Characters of what the user wrote.
#[derive(Clone, Debug)]
struct Place {
    source: Source,
    span: Span,
    /// What stands under the characters.
    label: String,
}

/// Results of magics.
pub type Result<T> = std::result::Result<T, MagicError>;

impl MagicError {
    /// An error that no particular characters are to blame for. `help`: what to do.
    pub fn new(name: ErrorName, message: impl Into<String>, help: Option<String>) -> Self {
        Self { name, message: message.into(), help, place: None, drawn: None, details: vec![] }
    }

    /// An error that no particular characters are to blame for, and what to do.
    pub fn advising(name: ErrorName, message: impl Into<String>, help: &str) -> Self {
        Self::new(name, message, Some(help.into()))
    }

    /// An error that points at characters of what the user wrote. `label` stands under them.
    pub fn at(
        name: ErrorName,
        source: &Source,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        let place = Place { source: source.clone(), span, label: label.into() };
        Self { place: Some(Box::new(place)), ..Self::new(name, message, help) }
    }

    /// An error that was drawn elsewhere: `lines` are shown as they are.
    pub fn drawn(name: ErrorName, message: impl Into<String>, lines: Vec<String>) -> Self {
        Self { drawn: Some(lines), ..Self::new(name, message, None) }
    }

    /// The end of a magic that the user interrupted.
    pub fn interrupted(what: impl Into<String>) -> Self {
        Self::new(ErrorName::Interrupted, what, None)
    }

    /// The error with further lines below its message.
    pub fn with_details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }

    /// The error with what the user can do.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The error with each line that was drawn elsewhere replaced.
    pub fn map_drawn(mut self, change: impl Fn(&str) -> String) -> Self {
        if let Some(lines) = &mut self.drawn {
            for line in lines {
                *line = change(line);
            }
        }
        self
    }

    /// The coloured text that stands in the notebook, line by line.
    pub fn traceback(&self) -> Vec<String> {
        let name = self.name;
        // A drawing that points at characters holds the help already.
        let (mut lines, with_help) = match (&self.drawn, self.place.as_ref().and_then(|place| self.draw(place))) {
            (Some(drawn), _) => (drawn.clone(), false),
            (None, Some(lines)) => (lines, true),
            (None, None) => (vec![format!("\x1b[31m{name}\x1b[0m: {}", self.message)], false),
        };
        lines.extend(self.details.iter().cloned());
        lines.extend(self.help.iter().filter(|_| !with_help).map(|help| format!("\x1b[36mHelp\x1b[0m: {help}")));
        lines
    }

    /// The message with the user's line, the characters to blame underlined.
    fn draw(&self, Place { source, span, label }: &Place) -> Option<Vec<String>> {
        // Lines before the magic are left blank, so that line numbers are those of the cell.
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
        let busy = matches!(error, StoreError::Busy { .. });
        Self::new(if busy { ErrorName::StudyBusy } else { ErrorName::StoreError }, error.to_string(), None)
    }
}
