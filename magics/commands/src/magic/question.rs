//! Recognizes questions: `name?`, `?name` and `%name?` ask for the help of a magic or the documentation of a Rust name.

use super::Catalogue;

/// Whether the line of a magic is a question (`?name`, `name?`, `%name?`). `%time f()?` is not, since it contains a
/// space.
pub fn is_question(line: &str) -> bool {
    line.starts_with('?') || (line.ends_with('?') && !line.contains([' ', '\t', '(']))
}

/// Whether a line of a cell is a question. `alone` says that it is the only line of its cell. In other cells, `name?`
/// is Rust that returns an error to its caller, unless it is the name of a magic.
pub fn asks(catalogue: Catalogue, line: &str, alone: bool) -> bool {
    let asked = line.trim_matches('?').trim();
    match (line.starts_with('?'), line.ends_with('?')) {
        (true, _) => is_rust_path(asked.trim_start_matches('%')),
        (false, true) => catalogue.find(asked.trim_start_matches('%')).is_some() || (alone && is_rust_path(asked)),
        _ => false,
    }
}

/// Whether a text has the form `name`, `a::b`, `value.method` or `name!`.
pub fn is_rust_path(text: &str) -> bool {
    let text = text.strip_suffix('!').unwrap_or(text).trim_start_matches("::");
    let is_name = |name: &str| {
        let name = name.strip_prefix("r#").unwrap_or(name);
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split("::").flat_map(|part| part.split('.')).all(is_name)
}

#[cfg(test)]
mod tests {
    use super::asks;
    use crate::commands::CATALOGUE;

    #[test]
    fn questions_are_distinguished_from_rust() {
        for line in ["?x", "??Vec::push", "%time?", "time?", "?println!"] {
            assert!(asks(CATALOGUE, line, false), "{line}");
        }
        for line in ["x?", "a::b?", "v.push?", "println!??"] {
            assert!(asks(CATALOGUE, line, true) && !asks(CATALOGUE, line, false), "{line}");
        }
        for line in ["f()?", "x", "let y = x?", "x?;", "?", "1?"] {
            assert!(!asks(CATALOGUE, line, true), "{line}");
        }
    }
}
