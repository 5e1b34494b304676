//! The value of a parameter as a literal in Rust, with the type of its default. The package for papermill
//! (`install/papermill`) writes the same literals.

use anyhow::{Context as _, bail};
use ra_ap_syntax::ast::{self, AstNode};
use ra_ap_syntax::{Edition, SourceFile};
use serde_json::{Value, json};

/// The types of numbers.
const NUMBERS: [&str; 14] =
    ["f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize"];
/// What a list begins with. All of them end with a square bracket.
const LISTS: [&str; 3] = ["vec![", "&[", "["];

/// How a value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text in quotes, between what makes it the wanted type.
    Text { before: &'static str, after: &'static str },
    /// A number. Its type is None if Rust finds it out by itself.
    Number { is_float: bool, kind: Option<&'static str>, with_suffix: bool },
    /// True or false.
    Truth,
    /// Possibly nothing.
    Optional(Box<Shape>),
    /// A list, with what it begins with.
    List { open: &'static str, item: Box<Shape> },
    /// By its look.
    Any,
}

const BORROWED: Shape = Shape::Text { before: "", after: "" };
const OWNED: Shape = Shape::Text { before: "String::from(", after: ")" };
const CONVERTED: Shape = Shape::Text { before: "", after: ".into()" };

/// Returns how a value is written that replaces a default with this type, which is empty if none is written, and with
/// this text.
pub fn shape(kind: &str, written: &str) -> Shape {
    let (kind, written) = (kind.trim(), written.trim());
    let argument = |name: &str| kind.strip_prefix(name)?.trim_start().strip_prefix('<')?.strip_suffix('>');
    if let Some(kind) = NUMBERS.into_iter().find(|known| *known == kind) {
        return Shape::Number { is_float: kind.starts_with('f'), kind: Some(kind), with_suffix: false };
    }
    if let Some(inner) = argument("Option") {
        return Shape::Optional(Box::new(shape(inner, of_some(written).unwrap_or_default())));
    }
    if let Some(item) = argument("Vec") {
        return Shape::List { open: "vec![", item: Box::new(shape(item, first_item(written))) };
    }
    let (list, open) = match kind.strip_prefix('&') {
        Some(list) => (list.trim_start().trim_start_matches("'static").trim_start(), "&["),
        None => (kind, "["),
    };
    if let Some(list) = list.strip_prefix('[') {
        // The type of an array ends with its length.
        let item = list.strip_suffix(']').unwrap_or(list);
        let item = item.rsplit_once(';').map_or(item, |(item, _)| item);
        return Shape::List { open, item: Box::new(shape(item, first_item(written))) };
    }
    match kind {
        "String" => OWNED,
        "bool" => Shape::Truth,
        _ if kind.starts_with('&') && kind.ends_with("str") => BORROWED,
        _ => shape_of_value(written),
    }
}

/// The same by the text of the default alone.
fn shape_of_value(written: &str) -> Shape {
    if let Some(inner) = of_some(written) {
        return Shape::Optional(Box::new(shape_of_value(inner)));
    }
    if let Some(open) = LISTS.into_iter().find(|open| written.starts_with(open)) {
        return Shape::List { open, item: Box::new(shape_of_value(first_item(written))) };
    }
    let is_text = ["\"", "r\"", "r#"].into_iter().any(|start| written.starts_with(start));
    let makes_string = [".to_string()", ".to_owned()"].into_iter().any(|end| written.ends_with(end));
    match written {
        "None" => Shape::Optional(Box::new(Shape::Any)),
        "true" | "false" => Shape::Truth,
        _ if written.starts_with("String::") || makes_string => OWNED,
        _ if is_text && written.ends_with(".into()") => CONVERTED,
        _ if is_text => BORROWED,
        _ => number(written).unwrap_or(Shape::Any),
    }
}

/// Returns what stands in `Some(…)`.
fn of_some(written: &str) -> Option<&str> {
    written.strip_prefix("Some(")?.strip_suffix(')').map(str::trim)
}

/// Returns the beginning of a list up to the end of its first item. Empty if there is none.
fn first_item(written: &str) -> &str {
    let items = LISTS.into_iter().find_map(|open| written.strip_prefix(open)).unwrap_or_default();
    items.split([',', ';', ']']).next().unwrap_or_default().trim()
}

/// Returns the shape of an expression that is a number by its look: `0.1_f64`, `60.0 * 2.0`, `f32::NAN`, `3 as f32`.
fn number(written: &str) -> Option<Shape> {
    let file = SourceFile::parse(&format!("fn cell() {{\nlet value = {written};\n}}"), Edition::CURRENT);
    let value = file.tree().syntax().descendants().find_map(ast::LetStmt::cast)?.initializer()?;
    let (mut kind, mut cast, mut is_real, mut is_number) = (None, None, false, false);
    let mut before = String::new();
    for token in value.syntax().descendants_with_tokens().filter_map(|element| element.into_token()) {
        let text = token.text();
        if text.trim().is_empty() {
            continue;
        }
        match text {
            "+" | "-" | "*" | "/" | "%" | "(" | ")" | "::" | "." | "as" | "std" | "core" => {}
            _ if text.starts_with(|c: char| c.is_ascii_digit()) => {
                kind = kind.or(suffix(text));
                is_real |= is_real_literal(text);
                is_number = true;
            }
            _ if NUMBERS.contains(&text) => {
                let named = NUMBERS.into_iter().find(|known| *known == text);
                cast = if before == "as" { named } else { cast };
                kind = kind.or(named);
                is_number = true;
            }
            _ if before == "::" || before == "." => {}
            _ => return None,
        }
        before = text.to_string();
    }
    let kind = cast.or(kind);
    let is_float = kind.map_or(is_real, |kind| kind.starts_with('f'));
    is_number.then_some(Shape::Number { is_float, kind, with_suffix: kind.is_some() })
}

/// The type at the end of a number, as in `1_f32`. The digits of a hexadecimal number may look like one.
fn suffix(number: &str) -> Option<&'static str> {
    let is_hexadecimal = number.starts_with("0x");
    NUMBERS.into_iter().find(|kind| number.ends_with(kind) && !(is_hexadecimal && kind.starts_with('f')))
}

/// Whether a number without a suffix would be a float.
fn is_real_literal(number: &str) -> bool {
    let digits = suffix(number).map_or(number, |kind| number.trim_end_matches(kind));
    !number.starts_with("0x") && digits.contains(['.', 'e', 'E'])
}

/// Returns a value in Rust. An error is the end of a sentence about the parameter.
pub fn literal(shape: &Shape, value: &str) -> anyhow::Result<String> {
    match shape {
        Shape::Text { before, after } => Ok(format!("{before}{value:?}{after}")),
        Shape::Number { is_float: true, kind, with_suffix } => {
            let number = real(value).with_context(|| format!("it is a number, and `{value}` is none"))?;
            Ok(float(number, kind.unwrap_or("f64"), *with_suffix))
        }
        Shape::Number { kind, with_suffix, .. } => {
            let number = whole(value).with_context(|| format!("it is a whole number, and `{value}` is none"))?;
            if let Some((kind, (low, high))) = kind.and_then(|kind| Some((kind, range(kind)?)))
                && !is_between(&number, low, high)
            {
                bail!("it has the type `{kind}`, whose values go from {low} to {high}, and `{value}` is none of them");
            }
            let suffix = kind.filter(|_| *with_suffix).map_or(String::new(), |kind| format!("_{kind}"));
            Ok(format!("{number}{suffix}"))
        }
        Shape::Truth => match typed(value) {
            Value::Bool(truth) => Ok(truth.to_string()),
            _ => bail!("it is true or false, and `{value}` is neither"),
        },
        Shape::Optional(_) if typed(value).is_null() => Ok("None".into()),
        Shape::Optional(inner) => Ok(format!("Some({})", literal(inner, value)?)),
        Shape::List { open, item } => match typed(value) {
            Value::Array(items) => list(open, item, &items),
            _ => bail!("it is a list as in JSON (`[1, 2]`), and `{value}` is none"),
        },
        Shape::Any => by_look(value),
    }
}

/// A value for which there is no default, by its look.
fn by_look(value: &str) -> anyhow::Result<String> {
    match typed(value) {
        Value::Null => Ok("None".into()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Array(items) => {
            let float = Shape::Number { is_float: true, kind: None, with_suffix: false };
            let item = if items.iter().any(Value::is_f64) { float } else { Shape::Any };
            list("vec![", &item, &items)
        }
        Value::Object(_) => bail!("`{value}` is an object, which has no form in Rust that fits every use"),
        _ => Ok(match (whole_as_written(value), real(value)) {
            (Some(number), _) => number,
            (None, Some(number)) => float(number, "f64", false),
            (None, None) => format!("{value:?}"),
        }),
    }
}

fn list(open: &str, item: &Shape, items: &[Value]) -> anyhow::Result<String> {
    let text = BORROWED;
    let one = |value: &Value| match value {
        // A text in a list is no number, whatever it looks like.
        Value::String(value) if *item == Shape::Any => literal(&text, value),
        Value::String(value) => literal(item, value),
        _ => literal(item, &value.to_string()),
    };
    let items = items.iter().map(one).collect::<anyhow::Result<Vec<String>>>()?;
    Ok(format!("{open}{}]", items.join(", ")))
}

/// A float in Rust. What is not finite is a constant of its type.
fn float(number: f64, kind: &str, with_suffix: bool) -> String {
    match number {
        _ if number.is_nan() => format!("{kind}::NAN"),
        f64::INFINITY => format!("{kind}::INFINITY"),
        f64::NEG_INFINITY => format!("{kind}::NEG_INFINITY"),
        _ if with_suffix => format!("{number:?}_{kind}"),
        _ => format!("{number:?}"),
    }
}

/// Reads a number as Python does, which allows `_` between digits.
fn real(text: &str) -> Option<f64> {
    digits(text).parse().ok()
}

/// The digits of a whole number. They may be written as in `1e6`.
fn whole(text: &str) -> Option<String> {
    let exact = |number: f64| (number.fract() == 0.0 && number.abs() < 2_f64.powi(53)).then(|| format!("{number:.0}"));
    whole_as_written(text).or_else(|| real(text).and_then(exact))
}

/// The digits of a number without a point and an exponent.
fn whole_as_written(text: &str) -> Option<String> {
    let text = digits(text);
    let signed = text.parse::<i128>().ok().map(|number| number.to_string());
    signed.or_else(|| text.parse::<u128>().ok().map(|number| number.to_string()))
}

/// The least and the largest value of a type of whole numbers. None for any other type.
fn range(kind: &str) -> Option<(i128, u128)> {
    let (sign, size) = kind.split_at_checked(1)?;
    let bits: u32 = if size == "size" { usize::BITS } else { size.parse().ok()? };
    let unused = 128_u32.checked_sub(bits)?;
    match sign {
        "u" => Some((0, u128::MAX >> unused)),
        "i" => Some((i128::MIN >> unused, u128::MAX >> (unused + 1))),
        _ => None,
    }
}

/// Whether a whole number, given by its digits, is in a range.
fn is_between(number: &str, low: i128, high: u128) -> bool {
    match (number.parse::<i128>(), number.parse::<u128>()) {
        (_, Ok(number)) => number <= high,
        (Ok(number), _) => number >= low,
        _ => false,
    }
}

fn digits(text: &str) -> String {
    let text = text.trim();
    let is_inside = !text.starts_with('_') && !text.ends_with('_');
    if is_inside { text.replace('_', "") } else { text.to_string() }
}

/// Returns a value by its look, as papermill does: a number, true or false, null, or text. A list or an object is
/// written as in JSON.
pub fn typed(text: &str) -> Value {
    match text {
        "true" | "True" => return json!(true),
        "false" | "False" => return json!(false),
        "null" | "None" => return Value::Null,
        _ => {}
    }
    let number = digits(text);
    match (number.parse::<i64>(), number.parse::<u64>(), number.parse::<f64>()) {
        (Ok(whole), ..) => json!(whole),
        (_, Ok(whole), _) => json!(whole),
        (.., Ok(real)) if real.is_finite() => json!(real),
        _ if text.trim_start().starts_with(['[', '{']) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        _ => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, written: &str, value: &str) -> String {
        literal(&shape(kind, written), value).unwrap()
    }

    #[test]
    fn a_number_keeps_the_type_of_its_default() {
        for (kind, written, value, expected) in [
            ("", "0.1_f64", "1", "1.0_f64"),
            ("", "0.1f32", "1", "1.0_f32"),
            ("", "1f32", "nan", "f32::NAN"),
            ("", "1e-3", "1", "1.0"),
            ("", "60.0 * 2.0", "1", "1.0"),
            ("", "-(60 * 2)", "7", "7"),
            ("", "3 as f32", "1", "1.0_f32"),
            ("", "f64::INFINITY", "1", "1.0_f64"),
            ("", "std::f32::consts::PI / 2.0", "3", "3.0_f32"),
            ("", "2.0_f64.powi(3)", "1", "1.0_f64"),
            ("", "5u64", "7", "7_u64"),
            ("", "0xf32", "7", "7"),
            ("_", "0.1", "1", "1.0"),
            ("u64", "0", "18446744073709551615", "18446744073709551615"),
            ("u64", "0", "1_000", "1000"),
            ("usize", "0", "1e6", "1000000"),
            ("i32", "0", "-3", "-3"),
            ("f64", "0.1", "-1e-7", "-1e-7"),
            ("f32", "0.1", "nan", "f32::NAN"),
            ("f32", "0.1", "inf", "f32::INFINITY"),
            ("", "0.1", "-inf", "f64::NEG_INFINITY"),
        ] {
            assert_eq!(of(kind, written, value), expected, "{kind} {written} {value}");
        }
        for (kind, written, value) in
            [("f64", "0.1", "fast"), ("u32", "1", "0.5"), ("", "1", "true"), ("", "0.5", "None"), ("bool", "true", "1")]
        {
            assert!(literal(&shape(kind, written), value).is_err(), "{kind} {written} {value}");
        }
    }

    #[test]
    fn a_whole_number_is_in_the_range_of_its_type() {
        for (kind, written, least, largest, below, above) in [
            ("usize", "4", "0", "18446744073709551615", "-1", "18446744073709551616"),
            ("", "4_u8", "0", "255", "-1", "256"),
            ("i8", "4", "-128", "127", "-129", "1e3"),
            ("i64", "4", "-9223372036854775808", "9223372036854775807", "-9223372036854775809", "9223372036854775808"),
            ("u128", "4", "0", "340282366920938463463374607431768211455", "-1", "0.5"),
            ("Option<u32>", "None", "0", "4294967295", "-1", "4294967296"),
            ("Vec<u16>", "vec![]", "[0]", "[65535]", "[1, -1]", "[65536]"),
        ] {
            for value in [least, largest] {
                assert!(literal(&shape(kind, written), value).is_ok(), "{kind} {written} {value}");
            }
            for value in [below, above] {
                assert!(literal(&shape(kind, written), value).is_err(), "{kind} {written} {value}");
            }
        }
        let error = literal(&shape("usize", "4"), "-1").unwrap_err().to_string();
        assert!(error.contains("`usize`, whose values go from 0 to") && error.contains("`-1` is none"), "{error}");
        assert_eq!(of("", "4", "-1"), "-1", "Rust finds the type");
    }

    #[test]
    fn texts_options_and_lists_have_the_type_of_their_default() {
        for (kind, written, value, expected) in [
            ("", "\"a\"", "ü \"q\" \\ \n'", "\"ü \\\"q\\\" \\\\ \\n'\""),
            ("&'static str", "NAME", "1", "\"1\""),
            ("", "\"a\".to_owned()", "true", "String::from(\"true\")"),
            ("PathBuf", "\"a\".into()", "b", "\"b\".into()"),
            ("Option<f64>", "None", "1", "Some(1.0)"),
            ("Option<f64>", "Some(0.5)", "None", "None"),
            ("Option<String>", "None", "a", "Some(String::from(\"a\"))"),
            ("", "Some(0.5_f32)", "1", "Some(1.0_f32)"),
            ("Option<Vec<u8>>", "None", "[1]", "Some(vec![1])"),
            ("Vec<f64>", "Vec::new()", "[1, 2]", "vec![1.0, 2.0]"),
            ("[f64; 2]", "[0.0; 2]", "[1, 2.5]", "[1.0, 2.5]"),
            ("&[&str]", "&[]", "[\"a\", \"1\"]", "&[\"a\", \"1\"]"),
            ("", "vec![1.5, 2.0]", "[1]", "vec![1.0]"),
            ("", "[[1.0], [2.0]]", "[[1], [2]]", "[[1.0], [2.0]]"),
            ("", "", "[1, 2.5]", "vec![1.0, 2.5]"),
            ("", "", "[\"1\", \"a\"]", "vec![\"1\", \"a\"]"),
            ("", "", "[]", "vec![]"),
            ("", "f(3)", "0.5", "0.5"),
            ("", "", "nan", "f64::NAN"),
            ("", "", "\"a\"", "\"\\\"a\\\"\""),
        ] {
            assert_eq!(of(kind, written, value), expected, "{kind} {written} {value}");
        }
        for (kind, value, why) in [
            ("Vec<f64>", "1", "as in JSON"),
            ("", "{\"a\": 1}", "no form in Rust"),
            ("Vec<u8>", "[0.5]", "whole number"),
        ] {
            let error = literal(&shape(kind, ""), value).unwrap_err().to_string();
            assert!(error.contains(why), "{kind} {value}: {error}");
        }
    }
}
