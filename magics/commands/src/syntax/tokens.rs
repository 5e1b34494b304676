//! Splits a line of a sweep's body into tokens.

use crate::error::{Result, Source, Span};
use std::num::IntErrorKind;
use tunebook_study::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A bare word: a name, a keyword, or a string without quotes.
    Word(String),
    /// A number, or a quoted string.
    Literal(Value),
    /// One of [`MARKS`].
    Mark(&'static str),
}

impl Token {
    /// The token as errors show it.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Word(word) => format!("`{word}`"),
            Token::Literal(value) => format!("`{value}`"),
            Token::Mark(mark) => format!("`{mark}`"),
        }
    }
}

/// The forms that a condition has.
pub(super) const CONDITIONS: &str =
    "a condition is `when HP == v:` or `when HP in [v, …]:`; nest two as `when …: when …:`";

const MARKS: [&str; 10] = ["==", "~", "=", "(", ")", "[", "]", ",", ":", "-"];

/// The tokens of `span`. A comment ends with its line.
pub(super) fn tokens(source: &Source, span: Span) -> Result<Vec<(Token, Span)>> {
    let mut found: Vec<(Token, Span)> = Vec::new();
    let mut at = span.start;
    'tokens: while at < span.end {
        let rest = &source.text()[at..span.end];
        let Some(c) = rest.chars().next() else { break };
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        // A comment begins at the start of a line or after a space. Elsewhere `#` is an error.
        let after_space = source.text()[span.start..at].chars().next_back().is_none_or(char::is_whitespace);
        if c == '#' && after_space {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if c == '"' || c == '\'' {
            let line = rest.lines().next().unwrap_or("");
            let Some(length) = line[1..].find(c) else {
                return Err(source.syntax_error(at..at + 1, format!("the quote {c} is never closed"), None));
            };
            found.push((Token::Literal(rest[1..=length].into()), at..at + length + 2));
            at += length + 2;
            continue;
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let inside = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
            let length = rest.find(|c| !inside(c)).unwrap_or(rest.len());
            found.push((Token::Word(rest[..length].into()), at..at + length));
            at += length;
            continue;
        }
        let signed = matches!(c, '-' | '+') && rest[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let follows_value = matches!(found.last(), Some((Token::Word(_) | Token::Literal(_), _)));
        if c.is_ascii_digit() || c == '.' || (signed && !follows_value) {
            let (token, length) = number(source, at, rest)?;
            found.push((token, at..at + length));
            at += length;
            continue;
        }
        for mark in MARKS {
            if rest.starts_with(mark) {
                found.push((Token::Mark(mark), at..at + mark.len()));
                at += mark.len();
                continue 'tokens;
            }
        }
        let message = format!("unexpected character `{c}`");
        let help = match expects_comparison(&found) {
            true => CONDITIONS,
            false => "write a string that contains it in quotes",
        };
        return Err(source.syntax_error(at..at + c.len_utf8(), message, Some(help.into())));
    }
    Ok(found)
}

/// Whether the next token is one between the name of a condition and its value, or between its value and its colon.
fn expects_comparison(found: &[(Token, Span)]) -> bool {
    let begin = found.iter().rposition(|(token, _)| *token == Token::Word("when".into()));
    let Some(condition) = begin.and_then(|begin| found.get(begin + 1..)) else { return false };
    let has_ended = condition.iter().any(|(token, _)| *token == Token::Mark(":"));
    let expects_value = matches!(condition.last(), None | Some((Token::Mark("==" | "=" | "[" | ","), _)));
    !has_ended && !expects_value
}

/// Reads a number at the start of `rest`, and returns the token and its length in bytes. A number without a point or an
/// exponent is a whole number.
fn number(source: &Source, at: usize, rest: &str) -> Result<(Token, usize)> {
    let mut length = 0;
    let mut previous = ' ';
    for c in rest.chars() {
        let sign_of_exponent = matches!(c, '+' | '-') && (length == 0 || matches!(previous, 'e' | 'E'));
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign_of_exponent) {
            break;
        }
        length += c.len_utf8();
        previous = c;
    }
    let text = rest[..length].replace('_', "");
    let value = if text.contains(['.', 'e', 'E']) {
        text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::Float)
    } else {
        text.parse::<i64>().ok().map(Value::Int)
    };
    match value {
        Some(value) => Ok((Token::Literal(value), length)),
        None => {
            let message = format!("`{}` {}", &rest[..length], not_read(&text));
            Err(source.syntax_error(at..at + length.max(1), message, None))
        }
    }
}

/// Says why a text is no number here.
fn not_read(text: &str) -> String {
    let is_beyond = |error: &IntErrorKind| matches!(error, IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
    if text.parse::<i64>().is_err_and(|error| is_beyond(error.kind())) {
        format!("is not between {} and {}, as whole numbers are here", i64::MIN, i64::MAX)
    } else if text.contains(['.', 'e', 'E']) && text.parse::<f64>().is_ok() {
        format!("is not between {:e} and {:e}, as numbers are here", f64::MIN, f64::MAX)
    } else {
        "is not a number".into()
    }
}
