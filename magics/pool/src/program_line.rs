//! The words of a `command` line: `{name}` stands for the value of a hyperparameter, `{{` and `}}` for braces.

use tunebook_study::Params;

/// Why the values cannot be inserted into a command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProgramLineError {
    /// A `{` without its `}`.
    #[error("`{word}` opens a brace that it does not close; `{{{{` writes a brace")]
    Unclosed { word: String },
    /// A `}` without its `{`.
    #[error("`{word}` closes a brace that it did not open; `}}}}` writes a brace")]
    Unopened { word: String },
    /// The hyperparameter of a placeholder is not active in this trial.
    #[error("the command inserts `{name}`, which has no value in this trial")]
    NoValue { name: String },
}

/// A part of a word.
enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn pieces(word: &str) -> Result<Vec<Piece<'_>>, ProgramLineError> {
    let (mut pieces, mut rest) = (vec![], word);
    while let Some(at) = rest.find(['{', '}']) {
        pieces.push(Piece::Text(&rest[..at]));
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            pieces.push(Piece::Text(&tail[..1]));
            rest = &tail[2..];
            continue;
        }
        if tail.starts_with('}') {
            return Err(ProgramLineError::Unopened { word: word.into() });
        }
        let Some(end) = tail.find('}') else { return Err(ProgramLineError::Unclosed { word: word.into() }) };
        pieces.push(Piece::Placeholder(&tail[1..end]));
        rest = &tail[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// The names of the placeholders, in the order in which they occur.
pub fn placeholders(words: &[String]) -> Result<Vec<String>, ProgramLineError> {
    let mut names = vec![];
    for word in words {
        for piece in pieces(word)? {
            if let Piece::Placeholder(name) = piece {
                names.push(name.to_string());
            }
        }
    }
    Ok(names)
}

/// The words with the values of a trial in place of the placeholders.
pub fn fill(words: &[String], params: &Params) -> Result<Vec<String>, ProgramLineError> {
    let fill_word = |word: &String| {
        let mut filled = String::new();
        for piece in pieces(word)? {
            match piece {
                Piece::Text(text) => filled += text,
                Piece::Placeholder(name) => {
                    let value = params.get(name).ok_or_else(|| ProgramLineError::NoValue { name: name.into() })?;
                    filled += &value.to_string();
                }
            }
        }
        Ok(filled)
    };
    words.iter().map(fill_word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_inserted_exactly_and_double_braces_become_braces() {
        let params: Params =
            [("lr".to_string(), 0.1.into()), ("n".to_string(), 3.into()), ("o".to_string(), "adam".into())].into();
        let words = ["--lr={lr}", "{n}", "{{{o}}}", "plain"].map(String::from);
        assert_eq!(fill(&words, &params).unwrap(), ["--lr=0.1", "3", "{adam}", "plain"]);
        assert_eq!(placeholders(&words).unwrap(), ["lr", "n", "o"]);
        assert!(matches!(fill(&["{x}".into()], &params), Err(ProgramLineError::NoValue { .. })));
        assert!(matches!(placeholders(&["{x".into()]), Err(ProgramLineError::Unclosed { .. })));
        assert!(matches!(placeholders(&["x}".into()]), Err(ProgramLineError::Unopened { .. })));
    }
}
