//! Characters that look like those of code and are others. Text that was pasted from a document often has them.

use super::Span;

/// A character, its name, and what is to be written instead.
const LOOKALIKES: [(char, &str, &str); 17] = [
    ('\u{201c}', "a curly quote", "\""),
    ('\u{201d}', "a curly quote", "\""),
    ('\u{201e}', "a low quote", "\""),
    ('\u{ab}', "an angle quote", "\""),
    ('\u{bb}', "an angle quote", "\""),
    ('\u{2018}', "a curly quote", "'"),
    ('\u{2019}', "a curly quote", "'"),
    ('\u{201a}', "a low quote", "'"),
    ('\u{2032}', "a prime", "'"),
    ('\u{2010}', "a hyphen of typesetters", "-"),
    ('\u{2011}', "a hyphen of typesetters", "-"),
    ('\u{2012}', "a dash", "-"),
    ('\u{2013}', "an en dash", "-"),
    ('\u{2014}', "an em dash", "-"),
    ('\u{2015}', "a dash", "-"),
    ('\u{2212}', "a minus sign", "-"),
    ('\u{feff}', "a byte order mark", ""),
];

/// A sentence about the first such character in a part of a text, or directly before or behind it.
pub(super) fn note(text: &str, span: &Span) -> Option<String> {
    let before = text.get(..span.start)?;
    let start = before.char_indices().next_back().map_or(0, |(at, _)| at);
    let end = text.get(span.end..)?.chars().next().map_or(span.end, |next| span.end + next.len_utf8());
    let found = text[start..end].char_indices().find_map(|(at, c)| {
        let known = LOOKALIKES.iter().find(|(lookalike, ..)| *lookalike == c)?;
        Some((start + at, known))
    });
    let (at, (lookalike, name, plain)) = found?;
    let begins_word = text[..at].ends_with(char::is_whitespace);
    let names_option = text[at + lookalike.len_utf8()..].starts_with(|c: char| c.is_ascii_alphabetic());
    let instead = match *plain {
        "" => "leave it out".to_string(),
        // Editors make one dash of the two before an option.
        "-" if begins_word && names_option => "write `--`".into(),
        plain => format!("write `{plain}`"),
    };
    Some(format!("`{lookalike}` is {name} (U+{:04X}), which pasted text often has: {instead}", u32::from(*lookalike)))
}
