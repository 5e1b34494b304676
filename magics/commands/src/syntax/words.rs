//! Splits a line into words at spaces, except inside quotes and brackets.

use crate::error::{Result, Source, Span};

/// One word, without its quotes.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub text: String,
    /// The span in the text, with the quotes.
    pub span: Span,
    /// Whether a part of it was in quotes. A quoted `"--x"` is not an option.
    pub quoted: bool,
}

/// Splits the part `span` of the source into words. Inside double quotes, `\"` stands for `"` and `\\` for `\`.
pub fn split_words(source: &Source, span: Span) -> Result<Vec<Word>> {
    let mut words: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    let (mut quote, mut depth): (Option<(char, usize)>, usize) = (None, 0);
    let base = span.start;
    let mut characters = source.text()[span].char_indices().peekable();
    while let Some((offset, c)) = characters.next() {
        let at = base + offset;
        if quote.is_none() && depth == 0 && c.is_whitespace() {
            words.extend(current.take());
            continue;
        }
        let word = current.get_or_insert_with(|| Word { text: String::new(), span: at..at, quoted: false });
        word.span.end = at + c.len_utf8();
        match quote {
            Some((open, _)) if c == open => quote = None,
            Some(('"', _)) if c == '\\' => {
                let escaped = characters.next_if(|(_, next)| ['"', '\\'].contains(next));
                word.text.push(escaped.map_or(c, |(_, next)| next));
                word.span.end += escaped.map_or(0, |(_, next)| next.len_utf8());
            }
            Some(_) => word.text.push(c),
            // Inside brackets, quotes are kept, because the parser of declarations reads them.
            None if depth == 0 && (c == '"' || c == '\'') => {
                quote = Some((c, at));
                word.quoted = true;
            }
            None => {
                match c {
                    '(' | '[' => depth += 1,
                    ')' | ']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                word.text.push(c);
            }
        }
    }
    if let Some((open, at)) = quote {
        return Err(source.syntax_error(at..at + 1, format!("the quote {open} is never closed"), None));
    }
    words.extend(current);
    Ok(words)
}

/// A word as the line of a magic writes it, in quotes where it needs them. The value of an option `--name=value`
/// becomes a word of its own then, because a quoted word is no option.
pub fn quoted_word(word: &str) -> String {
    // A bracket that stays open would take what follows.
    let line = format!("{word} .");
    let found = split_words(&Source::new(&line, 0), 0..line.len());
    if found.is_ok_and(|words| matches!(&words[..], [one, _] if one.text == word && !one.quoted)) {
        return word.into();
    }
    if let Some((option, value)) = word.split_once('=').filter(|(option, _)| option.starts_with("--")) {
        return format!("{option} {}", quoted_word(value));
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_read_back() {
        let plain = ["a", "a b", "", "lr~uniform(0, 1)", "it's", "a \"b\" 'c'", "f(\"x y\")", "[1", "x)"];
        for word in plain.into_iter().chain(["a\\b", "a b\\", "a \\\\ b", "\\\"", "'\\\"'"]) {
            let line = format!("%m {} z", quoted_word(word));
            let words = split_words(&Source::new(&line, 0), 3..line.len()).unwrap();
            let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(texts, [word, "z"], "{line}");
        }
        let words = |line: &str| {
            let words = split_words(&Source::new(line, 0), 0..line.len()).unwrap();
            words.into_iter().map(|word| (word.text, word.span)).collect::<Vec<_>>()
        };
        let line = r#""sh -c 'exec \"$@\"' --" "a\nb\\" 'c\"' d\"#;
        let spans = [0..24, 25..33, 34..39, 40..42];
        let texts = [r#"sh -c 'exec "$@"' --"#, r"a\nb\", r#"c\""#, r"d\"];
        assert_eq!(words(line), texts.map(String::from).into_iter().zip(spans).collect::<Vec<_>>());
        assert_eq!(quoted_word("--title=a b"), "--title \"a b\"");
        assert_eq!(quoted_word("--trials=3"), "--trials=3");
    }
}
