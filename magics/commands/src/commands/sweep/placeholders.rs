//! Checks the placeholders of a program's command before anything runs.

use crate::error::{ErrorName, Result, Source, Span, suggest};
use tunebook_pool::program_line::{self, Placeholder, ProgramLineError};
use tunebook_study::{Distribution, ProgramLine, SearchSpace, StudyDefinition, WorkloadReference};

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

/// Says which hyperparameters vary and have no place in the command. None if there is none, or if the command inserts
/// nothing, so that the program reads all of them elsewhere.
pub fn note(definition: &StudyDefinition) -> Option<String> {
    let WorkloadReference::Command(line) = &definition.workload else { return None };
    let inserted = program_line::placeholders(&line.words).ok().filter(|inserted| !inserted.is_empty())?;
    let all = definition.space.hyperparameters();
    let is_seen = |name: &str| {
        // The seed of a trial has a variable of its own.
        name == "seed"
            || inserted.iter().any(|placeholder| placeholder.name == name)
            || all.iter().flat_map(|h| &h.conditions).any(|condition| condition.name == name)
    };
    let mut names: Vec<&str> = vec![];
    for h in all.iter().filter(|h| !h.distribution.is_constant() && !is_seen(&h.name)) {
        if !names.contains(&h.name.as_str()) {
            names.push(&h.name);
        }
    }
    let them = if names.len() == 1 { "it" } else { "them" };
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(" and ");
        format!("The command does not insert {names}: the program sees {them} only in `TUNEBOOK_PARAMS`.")
    })
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
    // A name may be declared in several branches.
    let mut declared: Vec<&str> = vec![];
    for h in space.hyperparameters() {
        if !declared.contains(&h.name.as_str()) {
            declared.push(&h.name);
        }
    }
    let brace = "write `{{` for a brace";
    let help = match suggest(name, declared) {
        Some(asked) if asked.ends_with('?') => format!("{asked} Otherwise {brace}"),
        Some(known) => format!("{known}; {brace}"),
        None => brace.to_string(),
    };
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
    use crate::testing::definition;
    use tunebook_study::{Condition, Hyperparameter, Role};

    /// A study of a program, with `lr` and these lists, each with the value of `optimizer` for which it exists.
    fn study(words: &[&str], lists: &[(&str, Option<&str>)]) -> StudyDefinition {
        let words = words.iter().map(|word| word.to_string()).collect();
        let workload = WorkloadReference::Command(ProgramLine { words, optional: vec![] });
        let mut study = StudyDefinition { workload, ..definition() };
        for (name, of) in lists {
            let distribution = Distribution::choice(vec!["a".into(), "b".into()]).unwrap();
            let condition = |value: &str| Condition { name: "optimizer".into(), values: vec![value.into()] };
            let conditions = of.map(condition).into_iter().collect();
            let (name, role) = (name.to_string(), Role::Scientific);
            study.space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
        }
        study
    }

    #[test]
    fn what_varies_and_is_not_inserted_is_named() {
        let act = [("act", None)];
        let note_of = |words: &[&str], lists: &[(&str, Option<&str>)]| note(&study(words, lists));
        let said = "The command does not insert `act`: the program sees it only in `TUNEBOOK_PARAMS`.";
        assert_eq!(note_of(&["t", "--lr", "{lr}"], &act).as_deref(), Some(said));
        assert_eq!(note_of(&["t", "{lr:.3e}", "--act={act}"], &act), None);
        assert_eq!(note_of(&["t", "{{lr}}"], &act), None, "a command without placeholders reads all elsewhere");
        let branches = [("optimizer", None), ("warmup", Some("a")), ("warmup", Some("b")), ("seed", None)];
        assert_eq!(note_of(&["t", "{lr}", "{warmup}"], &branches), None, "what only decides what exists");
        let said = note_of(&["t", "{optimizer}"], &branches).unwrap();
        assert!(said.starts_with("The command does not insert `lr` and `warmup`: the program sees them"), "{said}");
        let mut fixed = study(&["t", "{lr}"], &[]);
        let (name, distribution) = ("steps".to_string(), Distribution::constant(5.into()));
        fixed.space.declare(Hyperparameter { name, role: Role::Fixed, distribution, conditions: vec![] }).unwrap();
        assert_eq!(note(&fixed), None, "a fixed value compares nothing");
        let builtin = definition();
        assert_eq!(note(&builtin), None);
    }

    #[test]
    fn a_placeholder_of_no_declaration_is_answered_with_each_known_name_once() {
        let branches = [("optimizer", None), ("warmup", Some("a")), ("warmup", Some("b"))];
        let help = |word: &str| {
            let StudyDefinition { workload, space, .. } = study(&["t", word], &branches);
            let WorkloadReference::Command(line) = workload else { panic!("no program") };
            let text = format!("t {word}");
            check(&Source::new(&text, 0), &line, &(0..text.len()), &space).unwrap_err().help.unwrap()
        };
        assert_eq!(help("{optimiser}"), "did you mean `optimizer`? Otherwise write `{{` for a brace");
        assert_eq!(help("{q}"), "known names: `lr`, `optimizer`, `warmup`; write `{{` for a brace");
    }

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
