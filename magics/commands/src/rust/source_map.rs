//! Maps the lines in an error of generated code back to the lines that the user wrote. Generated code keeps each line
//! of the user at its line number (plus `lines_above`) and its column, but adds other code around it.

use crate::error::MagicError;

/// The text of a magic, from which code was generated.
pub struct SourceMap<'a> {
    /// The text of the magic as the user wrote it.
    pub text: &'a str,
    /// The line of the cell on which the text begins, counted from 0.
    pub first_line: usize,
    /// The number of generated lines above the first line of the cell. The line numbers of the compiler are too large
    /// by this number.
    pub lines_above: usize,
}

impl SourceMap<'_> {
    /// Replaces generated lines in a rendered error by those of the user.
    pub fn restore(&self, error: MagicError) -> MagicError {
        error.map_drawn(|line| self.restore_line(line))
    }

    fn restore_line(&self, drawn: &str) -> String {
        let seen = visible(drawn);
        let text: String = seen.iter().map(|(_, c)| c).collect();
        // ariadne renders a line of code as ` 12 │ code`.
        let margin = text.find(" │ ").map(|at| (at, text[..at].trim()));
        if let Some((at, number)) = margin
            && let Ok(number) = number.parse::<usize>()
            && number > self.lines_above
        {
            let number = number - self.lines_above;
            let code = text[..at].chars().count() + 3;
            let line =
                (number > self.first_line).then(|| self.text.lines().nth(number - 1 - self.first_line)).flatten();
            let width = text[..at].chars().count();
            let mut wanted: Vec<char> = format!("{number:>width$} │ ").chars().collect();
            match line {
                Some(line) => wanted.extend(line.chars()),
                None => wanted.extend(text.chars().skip(code)),
            }
            return repainted(drawn, &seen, &wanted);
        }
        if self.lines_above > 0
            && let Some(at) = text.find("cell:")
            && text.contains("─[")
        {
            let rest = &text[at + 5..];
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if let Ok(number) = rest[..digits].parse::<usize>() {
                let named = format!("cell:{}", &rest[..digits]);
                return drawn.replacen(&named, &format!("cell:{}", number.saturating_sub(self.lines_above).max(1)), 1);
            }
        }
        drawn.into()
    }
}

/// The characters of a line outside of escape sequences, with their byte offsets.
fn visible(drawn: &str) -> Vec<(usize, char)> {
    let mut seen = vec![];
    let mut in_escape = false;
    for (at, c) in drawn.char_indices() {
        match c {
            '\x1b' => in_escape = true,
            _ if in_escape => in_escape = c != 'm',
            _ => seen.push((at, c)),
        }
    }
    seen
}

/// Replaces the visible characters of a line, but keeps its colours. Surplus characters are left out, and missing ones
/// are added at the end.
fn repainted(drawn: &str, seen: &[(usize, char)], wanted: &[char]) -> String {
    let mut text = String::new();
    let mut from = 0;
    for (i, (at, c)) in seen.iter().enumerate() {
        text += &drawn[from..*at];
        text.extend(wanted.get(i));
        from = at + c.len_utf8();
    }
    text += &drawn[from..];
    text.extend(wanted.iter().skip(seen.len()));
    text.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorName, Source};

    /// An error in generated code, rendered as the kernel does.
    fn drawn(generated: &str, at: &str) -> MagicError {
        let start = generated.find(at).unwrap();
        let source = Source::new(generated, 0);
        let error = MagicError::at(ErrorName::CompilationError, &source, start..start + at.len(), "no", "label", None);
        MagicError::drawn(error.name, "no", error.traceback())
    }

    fn plain(error: &MagicError) -> Vec<String> {
        error.traceback().iter().map(|line| visible(line).into_iter().map(|(_, c)| c).collect()).collect()
    }

    #[test]
    fn the_line_of_the_user_is_shown_with_its_number() {
        let source_map = SourceMap { text: "%timeit f(x)", first_line: 0, lines_above: 1 };
        let error = source_map.restore(drawn("{ generated(|| {\n        f(x)\n}) }", "x"));
        let lines = plain(&error);
        assert!(lines[1].contains("cell:1:11"), "{lines:?}");
        assert!(lines.contains(&" 1 │ %timeit f(x)".to_string()), "{lines:?}");
        let row = lines.iter().position(|line| line.contains("%timeit")).unwrap();
        assert_eq!(lines[row + 1].chars().position(|c| c == '┬'), Some(" 1 │ %timeit f(".chars().count()));
    }

    #[test]
    fn code_generated_after_a_line_is_not_shown() {
        let source_map = SourceMap { text: "%%timeit let a = b;\na.c()", first_line: 1, lines_above: 0 };
        let error = source_map.restore(drawn("{ first {\n         let a = b; generated(|| {\na.c()\n}) }", "c"));
        assert!(plain(&error).contains(&" 3 │ a.c()".to_string()), "{:?}", plain(&error));
        let error = source_map.restore(drawn("{ first {\n         let a = b; generated(|| {\na.c()\n}) }", "b"));
        assert!(plain(&error).contains(&" 2 │ %%timeit let a = b;".to_string()), "{:?}", plain(&error));
    }
}
