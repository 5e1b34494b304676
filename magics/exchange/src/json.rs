//! JSON as Python writes it: with the tokens `NaN`, `Infinity` and `-Infinity`, which JSON does not have.

use serde_json::Value;

const TOKENS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];

/// Parses JSON in which such tokens may stand. They become texts, which [`number`] reads.
pub(crate) fn parse(text: &str) -> serde_json::Result<Value> {
    match TOKENS.iter().any(|token| text.contains(token)) {
        true => serde_json::from_str(&with_quoted_tokens(text)),
        false => serde_json::from_str(text),
    }
}

/// A number, also one that is not finite.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "nan" => Some(f64::NAN),
            "inf" | "infinity" => Some(f64::INFINITY),
            "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn with_quoted_tokens(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    let (mut rest, mut in_string) = (text, false);
    while let Some(first) = rest.chars().next() {
        if !in_string && let Some(token) = TOKENS.iter().find(|token| rest.starts_with(**token)) {
            quoted += &format!("\"{token}\"");
            rest = &rest[token.len()..];
            continue;
        }
        let taken = match first {
            '\\' if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => first.len_utf8(),
        };
        in_string ^= first == '"';
        quoted += &rest[..taken];
        rest = &rest[taken..];
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_python_are_numbers_outside_of_texts_only() {
        let value = parse(r#"{"a": NaN, "b": [-Infinity, Infinity, 1e400], "c\"NaN": "NaN \\"}"#);
        assert!(value.is_err(), "1e400 is no token and no number");
        let value = parse(r#"{"a": NaN, "b": [-Infinity, Infinity], "c\"NaN": "x NaN \\"}"#).unwrap();
        assert!(number(&value["a"]).unwrap().is_nan());
        assert_eq!(number(&value["b"][0]), Some(f64::NEG_INFINITY));
        assert_eq!(number(&value["b"][1]), Some(f64::INFINITY));
        assert_eq!(value["c\"NaN"], "x NaN \\");
    }
}
