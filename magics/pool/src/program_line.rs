//! The words of a `command` line: `{name}` stands for the value of a hyperparameter, `{name:.3e}` for its value in a
//! format, `{{` and `}}` for braces.

use crate::format::{Format, argument};
use tunebook_study::{Params, ProgramLine};

/// Why the values cannot be inserted into a command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProgramLineError {
    /// A `{` without its `}`.
    #[error("`{word}` opens a brace that it does not close; `{{{{` writes a brace")]
    Unclosed { word: String },
    /// A `}` without its `{`.
    #[error("`{word}` closes a brace that it did not open; `}}}}` writes a brace")]
    Unopened { word: String },
    /// What follows the colon is no format.
    #[error(
        "`{{{name}:{format}}}` has no format that Tunebook knows; `{{{name}:.3e}}`, `{{{name}:.4f}}`, `{{{name}:g}}` \
         and `{{{name}:d}}` are formats"
    )]
    UnknownFormat { name: String, format: String },
    /// What stands between braces is no name of a hyperparameter, such as JSON that the program is meant to get.
    #[error(
        "`{{{text}}}` is no placeholder, which is the name of a hyperparameter between braces; write `{{{{` and `}}}}` for \
         braces that the program gets"
    )]
    NotAPlaceholder { text: String },
    /// A value cannot be written in the format, such as a word as a number.
    #[error("`{{{name}:{format}}}` cannot write {value}")]
    NotInFormat { name: String, format: String, value: String },
    /// The hyperparameter of a placeholder is not active in this trial.
    #[error("the command inserts `{name}`, which has no value in this trial")]
    NoValue { name: String },
}

/// A placeholder in a word.
#[derive(Clone, Debug, PartialEq)]
pub struct Placeholder {
    /// The name of the hyperparameter.
    pub name: String,
    /// The format, if one is given, also as it is written.
    format: Option<(Format, String)>,
}

impl Placeholder {
    fn parse(text: &str) -> Result<Self, ProgramLineError> {
        if text.contains(['"', '\'', '{']) {
            return Err(ProgramLineError::NotAPlaceholder { text: text.into() });
        }
        let Some((name, format)) = text.split_once(':') else {
            return Ok(Self { name: text.into(), format: None });
        };
        let parsed = Format::parse(format)
            .ok_or_else(|| ProgramLineError::UnknownFormat { name: name.into(), format: format.into() })?;
        Ok(Self { name: name.into(), format: Some((parsed, format.into())) })
    }

    /// The text of a value in its place.
    pub fn text(&self, value: &tunebook_study::Value) -> Result<String, ProgramLineError> {
        match &self.format {
            None => Ok(argument(value)),
            Some((format, written)) => format.write(value).ok_or_else(|| ProgramLineError::NotInFormat {
                name: self.name.clone(),
                format: written.clone(),
                value: value.to_string(),
            }),
        }
    }
}

/// A part of a word.
enum Piece<'a> {
    Text(&'a str),
    Placeholder(Placeholder),
}

fn pieces(word: &str) -> Result<Vec<Piece<'_>>, ProgramLineError> {
    let (mut pieces, mut rest) = (vec![], word);
    while let Some(at) = rest.find(['{', '}']) {
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            pieces.push(Piece::Text(&tail[..1]));
            rest = &tail[2..];
            continue;
        }
        if tail.starts_with('}') {
            return Err(ProgramLineError::Unopened { word: word.into() });
        }
        let Some(end) = tail.find('}') else { return Err(ProgramLineError::Unclosed { word: word.into() }) };
        pieces.push(Piece::Placeholder(Placeholder::parse(&tail[1..end])?));
        rest = &tail[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// The placeholders of some words, in the order in which they occur.
pub fn placeholders(words: &[String]) -> Result<Vec<Placeholder>, ProgramLineError> {
    let mut found = vec![];
    for word in words {
        found.extend(pieces(word)?.into_iter().filter_map(|piece| match piece {
            Piece::Placeholder(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        }));
    }
    Ok(found)
}

/// The words with the values of a trial in place of the placeholders. A word that is one placeholder is left out if the
/// value is empty, and an optional part if one of its values is empty or missing.
pub fn fill(line: &ProgramLine, params: &Params) -> Result<Vec<String>, ProgramLineError> {
    let mut left_out = vec![];
    for part in &line.optional {
        let words = line.words.get(part.clone()).unwrap_or(&[]);
        let has_value = |p: &Placeholder| params.get(&p.name).is_some_and(|value| !argument(value).is_empty());
        if !placeholders(words)?.iter().all(has_value) {
            left_out.push(part);
        }
    }
    let mut filled = vec![];
    for (_, word) in line.words.iter().enumerate().filter(|(i, _)| !left_out.iter().any(|part| part.contains(i))) {
        let pieces = pieces(word)?;
        let mut text = String::new();
        for piece in &pieces {
            match piece {
                Piece::Text(part) => text += part,
                Piece::Placeholder(placeholder) => {
                    let no_value = || ProgramLineError::NoValue { name: placeholder.name.clone() };
                    text += &placeholder.text(params.get(&placeholder.name).ok_or_else(no_value)?)?;
                }
            }
        }
        if !(text.is_empty() && matches!(pieces[..], [Piece::Placeholder(_)])) {
            filled.push(text);
        }
    }
    Ok(filled)
}

/// The value of a hyperparameter in the format that its first placeholder gives. None if that gives none.
pub fn formatted(line: &ProgramLine, name: &str, value: &tunebook_study::Value) -> Option<String> {
    let placeholders = placeholders(&line.words).unwrap_or_default();
    let placeholder = placeholders.into_iter().find(|placeholder| placeholder.name == name)?;
    placeholder.format.as_ref().and_then(|_| placeholder.text(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        let values =
            [("lr", 0.1.into()), ("n", 3.into()), ("o", "adam".into()), ("ten", 10.0.into()), ("off", "".into())];
        values.map(|(name, value)| (name.to_string(), value)).into()
    }

    fn line(words: &[&str]) -> ProgramLine {
        ProgramLine { words: words.iter().map(|word| word.to_string()).collect(), optional: vec![] }
    }

    #[test]
    fn values_are_inserted_exactly_and_double_braces_become_braces() {
        let filled = fill(&line(&["--lr={lr}", "{n}", "{{{o}}}", "plain", "{ten}", "{lr:.2e}"]), &params()).unwrap();
        assert_eq!(filled, ["--lr=0.1", "3", "{adam}", "plain", "10", "1.00e-01"]);
        let names: Vec<String> =
            placeholders(&line(&["{lr}{n:d}", "{{x}}"]).words).unwrap().into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["lr", "n"]);
        let error = |word: &str| fill(&line(&[word]), &params()).unwrap_err();
        assert!(matches!(error("{x}"), ProgramLineError::NoValue { .. }));
        assert!(matches!(error("{x"), ProgramLineError::Unclosed { .. }));
        assert!(matches!(error("x}"), ProgramLineError::Unopened { .. }));
        assert!(matches!(error("{lr:>9}"), ProgramLineError::UnknownFormat { .. }));
        let json = error("{\"step\": 1, \"e\": {lr}}");
        assert!(matches!(json, ProgramLineError::NotAPlaceholder { .. }) && json.to_string().contains("`{{` and `}}`"));
        assert!(matches!(error("{o:.2f}"), ProgramLineError::NotInFormat { .. }));
    }

    #[test]
    fn an_empty_value_is_no_word_and_leaves_out_its_part() {
        let mut command =
            line(&["p", "{off}", "--a", "{off}x", "", "--momentum", "{momentum}", "-o", "{o}", "--x", "{off}"]);
        command.optional = vec![5..7, 7..9, 9..11];
        assert_eq!(fill(&command, &params()).unwrap(), ["p", "--a", "x", "", "-o", "adam"]);
        assert_eq!(command.to_string(), "p {off} --a {off}x  [--momentum {momentum}] [-o {o}] [--x {off}]");
    }
}
