//! Errors of generated code, shown as the user wrote it: the compiler names lines of what was generated, in which each line of
//! the user's stands at its own number, with other text around it.

use crate::error::MagicError;

/// A magic as it stands in its cell.
pub struct Written<'a> {
    /// The text of the magic.
    pub text: &'a str,
    /// The line of the cell on which it begins, from 0.
    pub first_line: usize,
    /// How many lines were generated above the cell's first one: the compiler counts that many too many.
    pub above: usize,
}

impl Written<'_> {
    /// The error with the user's lines in place of the generated ones.
    pub fn restore(&self, error: MagicError) -> MagicError {
        error.map_drawn(|line| self.line(line))
    }

    fn line(&self, drawn: &str) -> String {
        let seen = visible(drawn);
        let text: String = seen.iter().map(|(_, c)| c).collect();
        // ` 12 │ code`, as ariadne draws it.
        let margin = text.find(" │ ").map(|at| (at, text[..at].trim()));
        if let Some((at, number)) = margin
            && let Ok(number) = number.parse::<usize>()
            && number > self.above
        {
            let number = number - self.above;
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
        if self.above > 0
            && let Some(at) = text.find("cell:")
            && text.contains("─[")
        {
            let rest = &text[at + 5..];
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if let Ok(number) = rest[..digits].parse::<usize>() {
                let named = format!("cell:{}", &rest[..digits]);
                return drawn.replacen(&named, &format!("cell:{}", number.saturating_sub(self.above).max(1)), 1);
            }
        }
        drawn.into()
    }
}

/// The characters of a line that can be seen, with where they stand.
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

/// The line with other characters under the same colours; what is too much is left out, what is missing is added.
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

    /// An error as the kernel draws it over generated code.
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
    fn the_line_of_the_user_is_shown_at_its_number() {
        let written = Written { text: "%timeit f(x)", first_line: 0, above: 1 };
        let error = written.restore(drawn("{ generated(|| {\n        f(x)\n}) }", "x"));
        let lines = plain(&error);
        assert!(lines[1].contains("cell:1:11"), "{lines:?}");
        assert!(lines.contains(&" 1 │ %timeit f(x)".to_string()), "{lines:?}");
        let row = lines.iter().position(|line| line.contains("%timeit")).unwrap();
        assert_eq!(lines[row + 1].chars().position(|c| c == '┬'), Some(" 1 │ %timeit f(".chars().count()));
    }

    #[test]
    fn what_was_generated_behind_a_line_is_not_shown() {
        let written = Written { text: "%%timeit let a = b;\na.c()", first_line: 1, above: 0 };
        let error = written.restore(drawn("{ first {\n         let a = b; generated(|| {\na.c()\n}) }", "c"));
        assert!(plain(&error).contains(&" 3 │ a.c()".to_string()), "{:?}", plain(&error));
        let error = written.restore(drawn("{ first {\n         let a = b; generated(|| {\na.c()\n}) }", "b"));
        assert!(plain(&error).contains(&" 2 │ %%timeit let a = b;".to_string()), "{:?}", plain(&error));
    }
}
