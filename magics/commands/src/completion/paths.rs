//! Files and folders as they are typed: with `~`, with quotes where a name needs them.

use crate::files;
use crate::magic::Context;
use std::path::Path;

/// The words of a line and the one that is being typed, with an open quote where it has one.
pub fn split(line: &str) -> (Vec<&str>, &str) {
    let (mut words, mut start, mut quote) = (vec![], 0, None);
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if start < at {
                    words.push(&line[start..at]);
                }
                start = at + c.len_utf8();
            }
            None => {}
        }
    }
    (words, &line[start..])
}

/// Candidates for the word at the end of a line, and how many of its characters they replace.
pub fn complete(context: &Context, line: &str, folders_alone: bool) -> (usize, Vec<(String, &'static str)>) {
    let (_, mut word) = split(line);
    // In the shell a word may follow a redirection or an assignment.
    if let Some(at) = word.rfind(['<', '>', '=', ';', '|', '&', '!']) {
        word = &word[at + 1..];
    }
    let quote = word.chars().next().filter(|c| ['"', '\''].contains(c));
    let typed = quote.map_or(word, |quote| word.trim_start_matches(quote));
    let (folder, begun) =
        typed.rsplit_once('/').map_or(("", typed), |(folder, begun)| (&typed[..=folder.len()], begun));
    let place = if folder.is_empty() { ".".into() } else { files::expand(context, folder) };
    let entries = Path::new(&place).read_dir().into_iter().flatten().flatten();
    let mut matches = vec![];
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !begun.starts_with('.');
        // What a link leads to counts.
        let is_folder = entry.path().is_dir();
        if name.starts_with(begun) && !hidden && (is_folder || !folders_alone) {
            matches.push((written(&format!("{folder}{name}"), quote, is_folder), "path"));
        }
    }
    matches.sort();
    (word.chars().count(), matches)
}

/// A path as it is to be typed. A quote stays open behind a folder, where more may follow.
fn written(path: &str, quote: Option<char>, is_folder: bool) -> String {
    let needs_quote = path.contains(|c: char| c.is_whitespace() || "'\"()[]&;|<>$`\\".contains(c));
    let quote = match quote {
        None if needs_quote => Some(if path.contains('"') { '\'' } else { '"' }),
        quote => quote,
    };
    match (quote, is_folder) {
        (None, true) => format!("{path}/"),
        (None, false) => path.into(),
        (Some(quote), true) => format!("{quote}{path}/"),
        (Some(quote), false) => format!("{quote}{path}{quote}"),
    }
}
