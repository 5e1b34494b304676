//! What a magic says when it cannot do what it was asked.

use crate::syntax::{Source, Span};
use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind};
use std::fmt;

/// An error of a magic, rendered: what the user wrote, where, why it cannot be, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct MagicError {
    /// `ename` of the Jupyter error: `SyntaxError`, `UnknownHyperparameter`, `StudyExists`, `Interrupted`, …
    pub name: &'static str,
    /// `evalue`: the message in one line.
    pub message: String,
    /// The coloured text that stands in the notebook, line by line.
    pub traceback: Vec<String>,
}

/// Results of magics.
pub type Result<T> = std::result::Result<T, MagicError>;

impl MagicError {
    /// An error that no particular characters are to blame for. `help`: what to do.
    pub fn new(name: &'static str, message: impl Into<String>, help: Option<String>) -> Self {
        let message = message.into();
        let mut traceback = vec![format!("\x1b[31m{name}\x1b[0m: {message}")];
        traceback.extend(help.map(|help| format!("\x1b[36mHelp\x1b[0m: {help}")));
        Self { name, message, traceback }
    }

    /// An error that points at characters of what the user wrote. `label` stands under them.
    pub fn at(
        name: &'static str,
        source: &Source,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        let message = message.into();
        // Lines before the magic are left blank, so that line numbers are those of the cell.
        let above = source.first_line();
        let span = span.start + above..span.end + above;
        let config = Config::default().with_index_type(IndexType::Byte).with_char_set(CharSet::Unicode);
        let mut report = Report::build(ReportKind::Custom(name, Color::Red), ("cell", span.clone()))
            .with_config(config)
            .with_message(&message)
            .with_label(Label::new(("cell", span)).with_message(label.into()).with_color(Color::Red));
        if let Some(help) = help {
            report = report.with_help(help);
        }
        let text = ariadne::Source::from("\n".repeat(above) + source.text());
        let mut rendered = Vec::new();
        // Writing to memory cannot fail; a picture that could not be drawn leaves the message.
        let drawn = report.finish().write(("cell", text), &mut rendered).is_ok();
        let rendered = crate::page_colors(&rendered);
        let traceback =
            if drawn { rendered.trim_end().lines().map(String::from).collect() } else { vec![message.clone()] };
        Self { name, message, traceback }
    }

    /// The end of a magic that the user interrupted.
    pub fn interrupted(what: impl Into<String>) -> Self {
        Self::new("Interrupted", what, None)
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
        let name = if matches!(error, StoreError::Busy { .. }) { "StudyBusy" } else { "StoreError" };
        Self::new(name, error.to_string(), None)
    }
}

/// The candidate that the user most likely meant, where one is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?" for the nearest candidate, otherwise the list of all.
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(candidate) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    let all: Vec<String> = candidates.into_iter().map(|c| format!("`{c}`")).collect();
    (!all.is_empty()).then(|| format!("known are {}", all.join(", ")))
}
