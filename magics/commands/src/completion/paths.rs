//! Completes paths, with `~` for the home folder and with quotes where a name needs them.

use crate::files;
use crate::magic::Context;
use std::path::Path;

/// Splits a line at spaces outside of quotes, into its complete words and the word at its end. Quotes are kept. The
/// last word is empty if the line ends with a space.
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

/// The paths that complete the word at the end of a line, and the number of characters that they replace.
pub fn complete(context: &Context, line: &str, only_folders: bool) -> (usize, Vec<(String, &'static str)>) {
    let (_, mut word) = split(line);
    // In a shell command, a path may follow a redirection or an assignment without a space.
    if let Some(at) = word.rfind(['<', '>', '=', ';', '|', '&', '!']) {
        word = &word[at + 1..];
    }
    let quote = word.chars().next().filter(|c| ['"', '\''].contains(c));
    let typed = quote.map_or(word, |quote| word.trim_start_matches(quote));
    let (folder, prefix) =
        typed.rsplit_once('/').map_or(("", typed), |(folder, prefix)| (&typed[..=folder.len()], prefix));
    let path = if folder.is_empty() { ".".into() } else { files::expand(context, folder) };
    let entries = Path::new(&path).read_dir().into_iter().flatten().flatten();
    let mut matches = vec![];
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !prefix.starts_with('.');
        // This follows symbolic links.
        let is_folder = entry.path().is_dir();
        if name.starts_with(prefix) && !hidden && (is_folder || !only_folders) {
            matches.push((quoted(&format!("{folder}{name}"), quote, is_folder), "path"));
        }
    }
    matches.sort();
    (word.chars().count(), matches)
}

/// A path with the quotes that it needs, or with those that the user began. After a folder, the quote stays open,
/// because the path may go on.
fn quoted(path: &str, quote: Option<char>, is_folder: bool) -> String {
    let needs_quote = path.contains(|c: char| c.is_whitespace() || "'\"()[]&;|<>$`\\".contains(c));
    let quote = match quote {
        None if needs_quote => Some(if path.contains(['"', '\\']) { '\'' } else { '"' }),
        quote => quote,
    };
    match (quote, is_folder) {
        (None, true) => format!("{path}/"),
        (None, false) => path.into(),
        (Some(quote), true) => format!("{quote}{path}/"),
        (Some(quote), false) => format!("{quote}{path}{quote}"),
    }
}
