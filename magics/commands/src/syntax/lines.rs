//! Finds the declarations in the body of a sweep: one on each line, except that a list may go on over several lines,
//! and a `command` line that ends with a backslash goes on with the next one.

use super::KEYWORDS;
use super::tokens::{Token, tokens};
use crate::error::{Source, Span};

/// The spans of the declarations in `span`, without line ends.
pub(super) fn declarations(source: &Source, span: Span) -> Vec<Span> {
    let mut lines = vec![];
    let mut start = span.start;
    for line in source.text()[span].split_inclusive('\n') {
        lines.push(start..start + line.trim_end_matches(['\n', '\r']).len());
        start += line.len();
    }
    let mut found: Vec<Span> = vec![];
    let mut lines = lines.into_iter().peekable();
    while let Some(mut line) = lines.next() {
        let is_command = is_command(&source.text()[line.clone()]);
        while let Some(next) = lines.peek() {
            let goes_on = match is_command {
                true => ends_with_backslash(&source.text()[line.clone()]),
                false => is_open(source, line.clone()) && !begins_declaration(&source.text()[next.clone()]),
            };
            if !goes_on {
                break;
            }
            line.end = next.end;
            lines.next();
        }
        found.push(line);
    }
    found
}

/// The part of a `command` line behind the keyword.
pub(super) fn command(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("command").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn is_command(line: &str) -> bool {
    command(line).is_some()
}

fn ends_with_backslash(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// Whether a bracket is not closed yet.
fn is_open(source: &Source, line: Span) -> bool {
    let Ok(tokens) = tokens(source, line) else { return false };
    let depth = |(token, _): &(Token, Span)| match token {
        Token::Mark("[" | "(") => 1,
        Token::Mark("]" | ")") => -1,
        _ => 0,
    };
    tokens.iter().map(depth).sum::<i32>() > 0
}

/// Whether a line begins with a keyword and goes on like a declaration. A list may have such words as values.
fn begins_declaration(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or("");
    (KEYWORDS.contains(&first) || first == "when") && words.next().is_some_and(|next| !next.starts_with([',', ']']))
}
