//! Answers values that are written as in other languages and tuners, such as `range(1, 5)` or `choice([a, b])`, with
//! the form that a sweep has for them.

use super::declarations::RANGES;
use crate::error::{ErrorName, MagicError, Source, Span};

/// Lists that are written out have at most so many values.
const LONGEST: usize = 20;

/// The error for the declaration of `span`, which could not be parsed: the error that the parser found, or one that
/// names our form if the declaration has another one.
pub(super) fn explain(source: &Source, span: Span, error: MagicError) -> MagicError {
    let line = &source.text()[span.clone()];
    let Some((name, at)) = declared(line) else { return error };
    let rest = &line[at..];
    let rest = rest.find(" #").map_or(rest, |comment| &rest[..comment]);
    let Some(ours) = ours(rest) else { return error };
    let expression = expression(rest);
    let start = span.start + at + (expression.as_ptr() as usize - rest.as_ptr() as usize);
    let one_line = !line.starts_with(|c: char| c.is_whitespace()) && ROLES.iter().all(|role| !line.contains(role));
    let form = match one_line {
        true => format!("{name}{}", ours.replace("in [", "=[").replace("~ ", "~").replace(", ", ",")),
        false => format!("{name} {ours}"),
    };
    let message = format!("`{}` is not a form that a sweep knows", expression.trim());
    // A normal distribution has no form here that is nearly the same, so the user may prefer another one.
    let is_normal = ["normal", "gauss", "randn"].iter().any(|name| expression.contains(name));
    let help = if is_normal { format!("write `{form}`; {RANGES}") } else { format!("write `{form}`") };
    source.error(ErrorName::InvalidDistribution, start..start + expression.trim_end().len(), message, Some(help))
}

const ROLES: [&str; 3] = ["scientific ", "nuisance ", "fixed "];

/// The name that a line declares, and where the rest of the line begins.
fn declared(line: &str) -> Option<(&str, usize)> {
    let role = ROLES.iter().filter_map(|role| Some(line.find(role)? + role.len())).min().unwrap_or(0);
    let start = role + (line[role..].len() - line[role..].trim_start().len());
    let length = line[start..].find(|c: char| c.is_whitespace() || "~=:".contains(c))?;
    (length > 0).then(|| (&line[start..start + length], start + length))
}

/// What is behind the mark.
fn expression(rest: &str) -> &str {
    let rest = rest.trim_start();
    let without_mark = rest.strip_prefix("in ").or_else(|| rest.strip_prefix(['~', '=', ':'])).unwrap_or(rest);
    without_mark.trim_start()
}

/// Our form of what is behind a name, if it has another one.
fn ours(rest: &str) -> Option<String> {
    let written = expression(rest).trim();
    let text = computed(written);
    if let Some((function, arguments)) = call(&text) {
        let squeezed = |text: &str| text.replace(' ', "");
        // A form of ours has another mistake.
        return of_call(&function, &arguments).filter(|ours| squeezed(ours) != format!("~{}", squeezed(written)));
    }
    for separator in ["..=", "..", ":", " to "] {
        if let Some((low, high)) = text.trim_matches(['[', ']', '(', ')']).split_once(separator)
            && let (Some(low), Some(high)) = (whole(low), whole(high))
        {
            return Some(format!("~ int({low}, {})", if separator == ".." { high - 1 } else { high }));
        }
    }
    let inner = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(values) = inner('(', ')').or_else(|| inner('{', '}')) {
        return Some(format!("in [{}]", values.trim()));
    }
    if text.starts_with('[') && (!rest.trim_start().starts_with("in ") || text != written) {
        return Some(format!("in {text}"));
    }
    // Arithmetic alone: the same form with numbers.
    let mark = if rest.trim_start().starts_with('~') { "~" } else { "=" };
    (text != written).then(|| format!("{mark} {text}"))
}

/// The function and the arguments of a call: `np.arange(1, 5)` has the function `arange`.
fn call(text: &str) -> Option<(String, Vec<String>)> {
    let (function, arguments) = text.split_once('(')?;
    let arguments = arguments.strip_suffix(')')?;
    let function = function.trim().strip_prefix("1 -").map_or(function, |_| "").trim();
    let name = function.rsplit('.').next()?.to_lowercase().replace(['_', '-'], "");
    if name.is_empty() || !name.chars().all(char::is_alphanumeric) {
        return None;
    }
    let (mut found, mut depth) = (vec![String::new()], 0);
    for c in arguments.chars() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            _ => {}
        }
        match found.last_mut() {
            Some(last) if c != ',' || depth > 0 => last.push(c),
            _ => found.push(String::new()),
        }
    }
    let found = found.iter().map(|argument| argument.trim().to_string()).filter(|argument| !argument.is_empty());
    Some((name, found.collect()))
}

fn of_call(function: &str, arguments: &[String]) -> Option<String> {
    let named = |name: &str| {
        let value = arguments.iter().find_map(|argument| argument.split_once('=').filter(|(n, _)| n.trim() == name));
        value.map(|(_, value)| value.trim().to_string())
    };
    let is_log = named("log")
        .or(named("prior"))
        .is_some_and(|log| ["true", "log"].iter().any(|w| log.to_lowercase().contains(w)))
        || named("sampling").is_some_and(|sampling| sampling.contains("log"));
    // A name in quotes comes first in Optuna and Hyperopt.
    let plain: Vec<&String> =
        arguments.iter().filter(|argument| !argument.contains('=') && !argument.starts_with(['"', '\''])).collect();
    let pair = || Some((plain.first()?.as_str(), plain.get(1)?.as_str()));
    let step = named("step").or(named("q")).or_else(|| plain.get(2).map(|step| step.to_string()));
    let kind = function.strip_prefix("suggest").unwrap_or(function);
    match kind {
        "choice" | "categorical" | "choose" | "oneof" | "gridsearch" | "grid" | "values" | "list" | "ordinal" => {
            let list = arguments.iter().find(|argument| argument.starts_with(['[', '(']));
            let values = match list {
                Some(list) => list.trim_matches(['[', ']', '(', ')']).to_string(),
                None => arguments.join(", "),
            };
            Some(format!("in [{values}]"))
        }
        "range" | "arange" => {
            let numbers: Vec<f64> = plain.iter().map(|number| number.parse().ok()).collect::<Option<_>>()?;
            let (low, high, step) = match numbers[..] {
                [high] => (0.0, high, 1.0),
                [low, high] => (low, high, 1.0),
                [low, high, step] => (low, high, step),
                _ => return None,
            };
            let exclusive = high - step.abs() * 1e-6;
            listed(low, exclusive, step).or_else(|| Some(format!("~ int({low}, {})", high - 1.0)))
        }
        "int" | "integer" | "randint" | "intuniform" | "quniform" | "discreteuniform" | "float" | "uniform"
        | "real" => {
            let (low, high) = pair()?;
            let integer = kind.contains("int") || kind == "quniform";
            if let Some(step) = step.and_then(|step| step.parse().ok()) {
                return listed(low.parse().ok()?, high.parse().ok()?, step);
            }
            let high = match whole(high).filter(|_| kind == "randint") {
                Some(high) => (high - 1).to_string(),
                None => high.to_string(),
            };
            let distribution = match (integer, is_log) {
                (true, true) => "logint",
                (true, false) => "int",
                (false, true) => "loguniform",
                (false, false) => "uniform",
            };
            Some(format!("~ {distribution}({low}, {high})"))
        }
        "loguniform" | "logfloat" | "loguniformvalues" | "qloguniform" | "log" | "reciprocal" | "logrange" => {
            let (low, high) = pair()?;
            Some(format!("~ loguniform({low}, {high})"))
        }
        "lograndint" | "qlograndint" | "loguniformint" | "logint" => {
            let (low, high) = pair()?;
            Some(format!("~ logint({low}, {high})"))
        }
        "linspace" => pair().map(|(low, high)| format!("~ uniform({low}, {high})")),
        "geomspace" => pair().map(|(low, high)| format!("~ loguniform({low}, {high})")),
        "logspace" => pair().map(|(low, high)| format!("~ loguniform(1e{low}, 1e{high})")),
        "normal" | "gauss" | "gaussian" | "randn" => {
            let (mean, deviation) = pair()?;
            let (mean, deviation): (f64, f64) = (mean.parse().ok()?, deviation.parse().ok()?);
            Some(format!("~ uniform({}, {})", mean - 2.0 * deviation, mean + 2.0 * deviation))
        }
        _ => None,
    }
}

/// The values from `low` to `high` as a list, if they are few.
fn listed(low: f64, high: f64, step: f64) -> Option<String> {
    let count = ((high - low) / step + 1e-9).floor();
    if !(0.0..LONGEST as f64).contains(&count) {
        return None;
    }
    // Rounded, so that no error of the sums is shown.
    let value = |i: u32| ((low + f64::from(i) * step) * 1e9).round() / 1e9;
    let values: Vec<String> = (0..=count as u32).map(|i| value(i).to_string()).collect();
    Some(format!("in [{}]", values.join(", ")))
}

fn whole(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// A text with powers, products and quotients of numbers computed: `10**-5` is 1e-5.
fn computed(text: &str) -> String {
    let mut text = text.to_string();
    for operator in ["**", "^", "*", "/"] {
        let mut from = 0;
        while let Some(at) = text[from..].find(operator).map(|at| at + from) {
            let is_number = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
            let before = text[..at].trim_end();
            let mut start = before.len() - before.chars().rev().take_while(|c| is_number(*c)).count();
            // The sign of an exponent belongs to the number: 1e-5.
            if before[..start].ends_with(['-', '+']) && before[..start - 1].ends_with(['e', 'E']) {
                let head = &before[..start - 1];
                start = head.len() - head.chars().rev().take_while(|c| is_number(*c)).count();
            }
            let after = &text[at + operator.len()..];
            let skipped = after.len() - after.trim_start().len();
            let sign = usize::from(after.trim_start().starts_with(['-', '+']));
            let digits = after[skipped + sign..].find(|c| !is_number(c)).unwrap_or(after.len() - skipped - sign);
            let end = at + operator.len() + skipped + sign + digits;
            let (left, right) = (before[start..].to_string(), text[at + operator.len()..end].trim().to_string());
            match value(&left, operator, &right) {
                Some(value) => {
                    text.replace_range(start..end, &value);
                    from = start + value.len();
                }
                None => from = at + operator.len(),
            }
        }
    }
    text
}

fn value(left: &str, operator: &str, right: &str) -> Option<String> {
    let (a, b): (f64, f64) = (left.parse().ok()?, right.parse().ok()?);
    let value = match operator {
        "*" => a * b,
        "/" => a / b,
        _ if a == 10.0 && b.fract() == 0.0 && !(-3.0..=6.0).contains(&b) => return Some(format!("1e{b}")),
        _ => a.powf(b),
    };
    value.is_finite().then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{parse_body, parse_one_line, split_words};

    #[test]
    fn other_forms_are_answered_with_ours() {
        for (line, form) in [
            ("nuisance n in range(1, 5)", "n in [1, 2, 3, 4]"),
            ("nuisance n in range(1, 500)", "n ~ int(1, 499)"),
            ("nuisance n in range(0, 10, 2)", "n in [0, 2, 4, 6, 8]"),
            ("nuisance n in np.arange(0.1, 0.4, 0.1)", "n in [0.1, 0.2, 0.3]"),
            ("nuisance n ~ int(1, 9, step=2)", "n in [1, 3, 5, 7, 9]"),
            ("nuisance x ~ uniform(0, 1, step=0.25)", "x in [0, 0.25, 0.5, 0.75, 1]"),
            ("nuisance lr ~ uniform(10**-5, 1)", "lr ~ uniform(1e-5, 1)"),
            ("nuisance lr ~ loguniform(10 ** -5, 10^-1)", "lr ~ loguniform(1e-5, 0.1)"),
            ("fixed lr = 10**-5", "lr = 1e-5"),
            ("fixed n = 2**10 # comment", "n = 1024"),
            ("fixed x = 1/4", "x = 0.25"),
            ("nuisance n in [2**4, 2**5]", "n in [16, 32]"),
            ("nuisance lr ~ log_uniform(1e-5, 1)", "lr ~ loguniform(1e-5, 1)"),
            ("nuisance lr ~ trial.suggest_float(\"lr\", 1e-5, 1e-1, log=True)", "lr ~ loguniform(1e-5, 1e-1)"),
            ("nuisance n ~ suggest_int('n', 1, 8)", "n ~ int(1, 8)"),
            ("nuisance n ~ randint(1, 8)", "n ~ int(1, 7)"),
            ("nuisance o ~ choice([adam, sgd])", "o in [adam, sgd]"),
            ("nuisance o = tune.choice([\"adam\", \"sgd\"])", "o in [\"adam\", \"sgd\"]"),
            ("scientific o ~ choice(adam, sgd)", "o in [adam, sgd]"),
            ("nuisance o ~ [1, 2]", "o in [1, 2]"),
            ("nuisance o = [1, 2]", "o in [1, 2]"),
            ("nuisance o in (1, 2)", "o in [1, 2]"),
            ("nuisance n in 1..5", "n ~ int(1, 4)"),
            ("nuisance n in [1..=5]", "n ~ int(1, 5)"),
            ("when o == adam: nuisance n in range(1, 3)", "n in [1, 2]"),
            ("nuisance x ~ logspace(-4, 0)", "x ~ loguniform(1e-4, 1e0)"),
        ] {
            let text = format!("nuisance z in [1, 2]\n{line}\n");
            let error = parse_body(&Source::new(&text, 0), 0..text.len()).unwrap_err();
            assert_eq!(error.help.as_deref(), Some(&*format!("write `{form}`")), "{line}: {error}");
            assert!(error.traceback().join("\n").contains("cell:2:"), "{line}");
        }
        for (word, form) in [("lr~log_uniform(1e-5,1)", "lr~loguniform(1e-5,1)"), ("n=range(1,4)", "n=[1,2,3]")] {
            let text = format!("w {word}");
            let source = Source::new(&text, 0);
            let error = parse_one_line(&source, &split_words(&source, 0..text.len()).unwrap()).unwrap_err();
            assert_eq!(error.help.as_deref(), Some(&*format!("write `{form}`")), "{word}: {error}");
        }
        // Other mistakes keep their own answers.
        for line in ["nuisance lr ~ logunifrom(1e-4, 1)", "nuisance lr ~ uniform(0 1)", "fixed x = 1 2", "nuisance lr"]
        {
            let error = parse_body(&Source::new(line, 0), 0..line.len()).unwrap_err();
            assert!(!error.help.unwrap_or_default().starts_with("write `"), "{line}");
        }
    }
}
