//! Finds the commands of evcxr (`:dep`, `:vars`) in Rust code.

use super::lexer::Scan;

/// The lines, counted from 0, that are commands. A line within a string, a comment or brackets is none.
pub fn command_lines(code: &str) -> Vec<usize> {
    let (mut scan, mut found) = (Scan::new(), vec![]);
    for (number, line) in code.split_inclusive('\n').enumerate() {
        // A command ends with its line, and is no Rust.
        match scan.at_top() && is_command(line) {
            true => found.push(number),
            false => scan.line(line),
        }
    }
    found
}

/// Whether a line at the top level is a command.
pub(super) fn is_command(line: &str) -> bool {
    let name = line.trim_start().strip_prefix(':');
    name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::command_lines;

    #[test]
    fn commands_stand_outside_of_strings_comments_and_brackets() {
        for (code, lines) in [
            (":dep rand = \"0.9\"\nlet a = 1;\n  :dep serde", vec![0, 2]),
            ("let s = \"\n:dep rand\n\";\n:dep serde", vec![3]),
            ("let s = r#\"\n:dep rand\n\"#;", vec![]),
            ("/*\n:dep rand\n*/", vec![]),
            ("// it's\n:vars", vec![1]),
            ("f(\n:dep rand\n)", vec![]),
            ("::std::mem::drop(1)", vec![]),
            (":dep a = \"it's { \"\n:dep b", vec![0, 1]),
        ] {
            assert_eq!(command_lines(code), lines, "{code}");
        }
    }
}
