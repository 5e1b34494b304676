//! Messages of the compiler in the words of a notebook: no generated code, no manifest.

use super::last_value::as_written;
use std::ops::Range;

/// A message as the user can use it.
pub fn for_users(text: &str) -> String {
    let text = as_written(text).replace("`evcxr_variable_store`", "<end of input>");
    let text = text.replace("<end of input>", "the end of the cell");
    advice_of_cargo(&text).unwrap_or(text)
}

/// Whether a message is about generated code, and means nothing to the user.
pub fn is_of_generated_code(text: &str) -> bool {
    ["evcxr_", "run_user_code"].iter().any(|name| text.contains(name))
}

/// A message that advises `cargo add NAME`, with `:dep NAME` in its place.
fn advice_of_cargo(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("use `cargo add ")?;
    let (name, after) = rest.split_once('`')?;
    let after = after.strip_prefix(" to add it to your `Cargo.toml`").unwrap_or(after);
    Some(format!("{before}write `:dep {name}` on a separate line{after}"))
}

/// The bytes of the cell to which an error without a place belongs: the first name in the message that the cell has.
pub fn place(message: &str, source: &str) -> Option<Range<usize>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let names = message.split('`').skip(1).step_by(2).filter(|name| !name.is_empty());
    names.into_iter().find_map(|name| {
        let found = source.match_indices(name).find(|(at, _)| {
            let (before, after) = (&source[..*at], &source[at + name.len()..]);
            !before.ends_with(is_word) && !after.starts_with(is_word)
        });
        found.map(|(at, _)| at..at + name.len())
    })
}

/// The lines of a drawing of the compiler that do not show generated code.
pub fn without_places(rendered: &str) -> String {
    let is_code = |line: &str| {
        let line = line.trim_start();
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        line.starts_with("-->") || line.starts_with(":::") || line.starts_with('|') || line.starts_with("...")
    };
    let kept = rendered.lines().filter(|line| !is_code(line) && !is_of_generated_code(line));
    let kept = kept.map(|line| line.trim_start().strip_prefix("= ").map_or(line.to_string(), for_users));
    kept.filter(|line| !line.trim().is_empty()).map(|line| for_users(&line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_speak_of_the_cell() {
        let help = "if you wanted to use a crate named `rand`, use `cargo add rand` to add it to your `Cargo.toml`";
        let said = "if you wanted to use a crate named `rand`, write `:dep rand` on a separate line";
        assert_eq!(for_users(help), said);
        assert_eq!(for_users("expected `;`, found <end of input>"), "expected `;`, found the end of the cell");
        let drawn = "error[E0432]: unresolved import `a`\n  --> src/lib.rs:44:5\n   |\n44 | use a::B;\n   |     ^ x\n   |\n   \
                     = help: do\n";
        assert_eq!(without_places(drawn), "error[E0432]: unresolved import `a`\nhelp: do\n");
    }

    #[test]
    fn an_error_without_a_place_is_shown_where_the_cell_has_its_name() {
        let source = "let brand = 1;\nuse rand::Rng;";
        assert_eq!(place("unresolved import `rand`", source), Some(19..23));
        assert_eq!(place("unresolved import `other`", source), None);
    }
}
