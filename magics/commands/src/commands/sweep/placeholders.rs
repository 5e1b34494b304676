//! Checks the placeholders of a program's command before anything runs.

use crate::error::{ErrorName, Result, Source, Span, suggest};
use tunebook_pool::program_line::{self, Placeholder, ProgramLineError};
use tunebook_study::{Distribution, ProgramLine, SearchSpace};

/// Returns the command in which a word such as `[{name}]` is left out where its hyperparameter has no value. If that
/// has a value in each trial, the brackets belong to the word, which may be a list with one value.
pub fn with_optional_words(line: &ProgramLine, space: &SearchSpace) -> ProgramLine {
    let mut line = line.clone();
    for i in 0..line.words.len() {
        let word = &line.words[i];
        let Some(inner) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) else { continue };
        // `[{a},{b}]` is a list. A further pair of brackets makes it optional.
        let is_list = inner.contains(',') && !inner.starts_with('[');
        if is_list || line.optional.iter().any(|part| part.contains(&i)) {
            continue;
        }
        let found = program_line::placeholders(std::slice::from_ref(word)).unwrap_or_default();
        let lacks = |name: &str| space.named(name).next().is_some() && space.lacking(name).is_some();
        if found.iter().any(|placeholder| lacks(&placeholder.name)) {
            let inner = inner.to_string();
            line.words[i] = inner;
            line.optional.push(i..i + 1);
        }
    }
    line.optional.sort_by_key(|part| part.start);
    line
}

/// Returns an error if the command, which stands at `span`, inserts a hyperparameter that is not declared, that has no
/// value in some trials, or whose values do not fit the format.
pub fn check(source: &Source, line: &ProgramLine, span: &Span, space: &SearchSpace) -> Result<()> {
    let syntax_error =
        |error: ProgramLineError| source.error(ErrorName::SyntaxError, span.clone(), error.to_string(), None);
    for (i, word) in line.words.iter().enumerate() {
        for placeholder in program_line::placeholders(std::slice::from_ref(word)).map_err(syntax_error)? {
            let place = place(source, span, &placeholder.name);
            check_name(source, &placeholder, &place, space)?;
            if !line.optional.iter().any(|part| part.contains(&i)) {
                let before = i.checked_sub(1).map(|before| line.words[before].as_str());
                check_exists(source, &placeholder, &place, space, (before, word))?;
            }
            check_format(source, &placeholder, &place, space)?;
        }
    }
    Ok(())
}

/// Where the placeholder of a name stands.
fn place(source: &Source, span: &Span, name: &str) -> Span {
    let text = &source.text()[span.clone()];
    let found = [format!("{{{name}}}"), format!("{{{name}:")].iter().find_map(|written| text.find(written));
    let Some(at) = found else { return span.clone() };
    let length = text[at..].find('}').map_or(1, |length| length + 1);
    span.start + at..span.start + at + length
}

fn check_name(source: &Source, placeholder: &Placeholder, place: &Span, space: &SearchSpace) -> Result<()> {
    let name = &placeholder.name;
    if space.named(name).next().is_some() {
        return Ok(());
    }
    let declared: Vec<&str> = space.hyperparameters().iter().map(|h| h.name.as_str()).collect();
    let help = suggest(name, declared).map_or(String::new(), |help| help + "; ") + "write `{{` for a brace";
    let message = format!("the command inserts `{name}`, but no line declares it");
    Err(source.error(ErrorName::UnknownHyperparameter, place.clone(), message, Some(help)))
}

/// `words` are the word before the placeholder's and its own.
fn check_exists(
    source: &Source,
    placeholder: &Placeholder,
    place: &Span,
    space: &SearchSpace,
    words: (Option<&str>, &str),
) -> Result<()> {
    let name = &placeholder.name;
    let Some(without) = space.lacking(name) else { return Ok(()) };
    let cases: Vec<String> = without.iter().map(|(name, value)| format!("`{name}` is {}", value.declared())).collect();
    let message = format!("the command inserts `{name}`, which has no value where {}", cases.join(" and "));
    let option = match words {
        (Some(option), word) if option.starts_with('-') && word.starts_with('{') => format!("[{option} {word}]"),
        // A part of a list that has spaces.
        (_, word) if word.matches('[').count() != word.matches(']').count() => format!("[{{{name}}}]"),
        (_, word) => format!("[{word}]"),
    };
    let help = format!("write `{option}` to leave it out there, or declare `{name}` for that case too");
    Err(source.error(ErrorName::InvalidDeclaration, place.clone(), message, Some(help)))
}

fn check_format(source: &Source, placeholder: &Placeholder, place: &Span, space: &SearchSpace) -> Result<()> {
    for h in space.named(&placeholder.name) {
        let values = match &h.distribution {
            Distribution::Choice { values } => values.clone(),
            // Any value stands for all of a range.
            range => vec![range.from_unit(0.37)],
        };
        for value in values {
            placeholder.text(&value).map_err(|error| {
                let help = "`d` writes whole numbers, `e`, `f` and `g` any number, and words need no format";
                source.error(ErrorName::InvalidValue, place.clone(), error.to_string(), Some(help.into()))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{Condition, Hyperparameter, Role};

    #[test]
    fn a_word_in_brackets_is_optional_where_its_hyperparameter_has_no_value() {
        let mut space = SearchSpace::new();
        let engines = Distribution::choice(vec!["gas".into(), "none".into()]).unwrap();
        let of_gas = Condition { name: "engine".into(), values: vec!["gas".into()] };
        for (name, distribution, conditions) in
            [("engine", engines, vec![]), ("fuel", Distribution::constant(1.into()), vec![of_gas])]
        {
            space
                .declare(Hyperparameter { name: name.into(), role: Role::Nuisance, distribution, conditions })
                .unwrap();
        }
        let line = |words: &[&str]| {
            let words = words.iter().map(|word| word.to_string()).collect();
            with_optional_words(&ProgramLine { words, optional: std::iter::once(0..1).collect() }, &space)
        };
        let found =
            line(&["{fuel}", "[{engine}]", "[{fuel}]", "[{fuel:.1f}]", "[{engine},{fuel}]", "[[{engine},{fuel}]]"]);
        let words = ["{fuel}", "[{engine}]", "{fuel}", "{fuel:.1f}", "[{engine},{fuel}]", "[{engine},{fuel}]"];
        assert_eq!((found.words, found.optional), (words.map(String::from).to_vec(), vec![0..1, 2..3, 3..4, 5..6]));
    }
}
