//! Numbers as people write them in tables: `1234.5`, `1,234.5`, `1.234,5`, `1 234,5`.

use serde::{Deserialize, Serialize};

/// What stands for a missing value, in small letters: the words that pandas and R write, `?` of the UCI repository, and
/// numbers that are not finite.
const MISSING: [&str; 22] = [
    "",
    "na",
    "n/a",
    "#n/a",
    "#na",
    "<na>",
    "nan",
    "-nan",
    "null",
    "none",
    "nil",
    "?",
    "-",
    "--",
    "inf",
    "+inf",
    "-inf",
    "infinity",
    "+infinity",
    "-infinity",
    "1.#qnan",
    "1.#ind",
];

/// Whether a field holds no value.
pub(super) fn is_missing(field: &str) -> bool {
    MISSING.contains(&field.to_ascii_lowercase().as_str())
}

/// How the numbers of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Writing {
    /// `1234.5`
    Plain,
    /// `1,234.5`: commas group the digits.
    GroupingCommas,
    /// `1.234,5`: the comma is the decimal point.
    DecimalComma,
}

impl Writing {
    const ALL: [Writing; 3] = [Writing::Plain, Writing::GroupingCommas, Writing::DecimalComma];

    /// The number that a field holds, or None if it holds none in this writing. Spaces and apostrophes may group
    /// digits.
    pub fn parse(self, field: &str) -> Option<f64> {
        let groups = |separator: char| {
            let whole = field.trim_start_matches(['+', '-']);
            let (whole, fraction) = whole.split_once(if separator == '.' { ',' } else { '.' }).unwrap_or((whole, ""));
            if fraction.contains(separator) {
                return false;
            }
            let mut parts = whole.split(separator);
            let first = parts.next().unwrap_or_default();
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let rest: Vec<&str> = parts.collect();
            rest.is_empty()
                || ((1..=3).contains(&first.len())
                    && !first.starts_with('0')
                    && digits(first)
                    && rest.iter().all(|part| part.len() == 3 && digits(part)))
        };
        let plain = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        let is_space = |c: char| matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '’');
        if let Some(separator) = field.chars().find(|c| is_space(*c)) {
            if !groups(separator) {
                return None;
            }
            return self.parse(&field.replace(separator, ""));
        }
        match self {
            Writing::Plain => plain(field),
            // The same in all writings. Large tables consist of such numbers.
            _ if !field.contains([',', '.']) => plain(field),
            Writing::GroupingCommas => groups(',').then(|| plain(&field.replace(',', "")))?,
            Writing::DecimalComma => {
                let is_one = field.matches(',').count() <= 1;
                (is_one && groups('.')).then(|| plain(&field.replace('.', "").replace(',', ".")))?
            }
        }
    }
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// All of them are numbers in this writing.
    Numbers(Writing),
    /// All of them are numbers in two writings, with different values: `1,234` is 1234 or 1.234.
    Ambiguous,
    /// Some of them are no numbers; `share` (0–1) of them are.
    Words { share: f64 },
}

/// Finds out what the values of a column are. `separator` is the character between the columns: if it is a comma, a
/// comma inside a field is no decimal point, unless `convention`, the writing of the other columns, says so.
pub(super) fn read<'a>(
    fields: impl Iterator<Item = &'a str> + Clone,
    separator: char,
    convention: Option<Writing>,
) -> Reading {
    let readings = readings(fields.clone());
    match readings.as_slice() {
        [] => {
            let number = |field: &&str| Writing::ALL.iter().any(|writing| writing.parse(field).is_some());
            let (numbers, all) = (fields.clone().filter(number).count(), fields.count());
            Reading::Words { share: numbers as f64 / all.max(1) as f64 }
        }
        // In a file with decimal commas, `1.234` is 1234.
        [Writing::Plain, ..] if separator != ',' && convention == Some(Writing::DecimalComma) => Reading::Numbers(
            *readings.iter().find(|writing| **writing == Writing::DecimalComma).unwrap_or(&Writing::Plain),
        ),
        [Writing::Plain, ..] => Reading::Numbers(Writing::Plain),
        [_, Writing::DecimalComma] if convention.is_some() => Reading::Numbers(convention.unwrap_or(Writing::Plain)),
        [Writing::GroupingCommas, Writing::DecimalComma] if separator != ',' => Reading::Ambiguous,
        [first, ..] => Reading::Numbers(*first),
    }
}

/// The writings in which all fields are numbers.
fn readings<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> Vec<Writing> {
    let reads = |writing: &Writing| fields.clone().all(|field| writing.parse(field).is_some());
    Writing::ALL.into_iter().filter(reads).collect()
}

/// Finds out how the numbers of a table are written, from the columns that can be read in one way only: with decimal
/// commas or with decimal points. None if no column tells, or if columns contradict each other.
pub(super) fn convention<'a, F: Iterator<Item = &'a str> + Clone>(columns: impl Iterator<Item = F>) -> Option<Writing> {
    let (mut commas, mut points) = (false, false);
    for fields in columns {
        match readings(fields.clone()).as_slice() {
            [Writing::DecimalComma] => commas = true,
            [Writing::GroupingCommas] => points = true,
            [Writing::Plain, ..] | [Writing::GroupingCommas, ..] => {
                let has_point = |field: &str| field.contains('.') && Writing::DecimalComma.parse(field).is_none();
                points |= fields.clone().any(has_point);
            }
            _ => {}
        }
    }
    match (commas, points) {
        (true, false) => Some(Writing::DecimalComma),
        (false, true) => Some(Writing::GroupingCommas),
        _ => None,
    }
}

/// The signs of currencies, and the percent sign.
const SIGNS: [char; 6] = ['$', '€', '£', '¥', '₹', '%'];

/// The numbers of a column in which each value bears the same sign (`$1,200`, `12 %`), without the sign. None if a
/// value has no sign or another one, or is no number.
pub(super) fn without_sign(fields: &[Option<String>]) -> Option<(char, Vec<Option<String>>)> {
    let first = fields.iter().flatten().next()?;
    let sign = first.chars().find(|c| SIGNS.contains(c))?;
    let strip = |field: &String| {
        let (minus, rest) = field.strip_prefix('-').map_or(("", field.as_str()), |rest| ("-", rest));
        let rest = rest.strip_prefix(sign).or_else(|| rest.strip_suffix(sign))?.trim();
        Some(format!("{minus}{rest}"))
    };
    let stripped: Vec<Option<String>> = fields
        .iter()
        .map(|field| field.as_ref().map(|field| strip(field).ok_or(())).transpose())
        .collect::<Result<_, _>>()
        .ok()?;
    let is_numbers = !readings(stripped.iter().flatten().map(String::as_str)).is_empty();
    is_numbers.then_some((sign, stripped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writing_of_a_column_follows_from_all_its_values() {
        let cases: [(&[&str], char, Reading); 10] = [
            (&["1", "-2.5", "1e3", ".5", "+7"], ',', Reading::Numbers(Writing::Plain)),
            (&["1,234", "12"], ',', Reading::Numbers(Writing::GroupingCommas)),
            (&["1,234", "12"], ';', Reading::Ambiguous),
            (&["1,234", "12,5"], ';', Reading::Numbers(Writing::DecimalComma)),
            (&["0,345", "0,5"], ';', Reading::Numbers(Writing::DecimalComma)),
            (&["1.234,5", "-0,25"], ';', Reading::Numbers(Writing::DecimalComma)),
            (&["1,234.5", "12"], ';', Reading::Numbers(Writing::GroupingCommas)),
            (&["1 234", "1'234", "5"], ',', Reading::Numbers(Writing::Plain)),
            (&["1.2.3", "4"], ',', Reading::Words { share: 0.5 }),
            (&["red", "12k", "1_000", "12 34"], ',', Reading::Words { share: 0.0 }),
        ];
        for (fields, separator, expected) in cases {
            assert_eq!(read(fields.iter().copied(), separator, None), expected, "{fields:?}");
        }
        // The other columns tell how a column is written that could be read in two ways.
        let convention = |columns: &[&[&'static str]]| super::convention(columns.iter().map(|c| c.iter().copied()));
        let comma = convention(&[&["1,5", "2"], &["1.234", "2.500"], &["ab"]]);
        let point = convention(&[&["1.5", "2"], &["1,234"]]);
        assert_eq!((comma, point), (Some(Writing::DecimalComma), Some(Writing::GroupingCommas)));
        assert_eq!(convention(&[&["1,5"], &["1.5"]]), None);
        let reads = |field: &'static str, convention| read([field].into_iter(), ';', convention);
        assert_eq!(reads("1.234", comma), Reading::Numbers(Writing::DecimalComma));
        assert_eq!(reads("1,234", comma), Reading::Numbers(Writing::DecimalComma));
        assert_eq!(reads("1,234", point), Reading::Numbers(Writing::GroupingCommas));
        assert_eq!(reads("1.234", None), Reading::Numbers(Writing::Plain));
        let column =
            |fields: &[&str]| fields.iter().map(|f| (!f.is_empty()).then(|| f.to_string())).collect::<Vec<_>>();
        assert_eq!(without_sign(&column(&["$1,200", "", "-$3.5"])), Some(('$', column(&["1,200", "", "-3.5"]))));
        assert_eq!(without_sign(&column(&["12 %", "5%"])), Some(('%', column(&["12", "5"]))));
        for mixed in [["$5", "5"], ["$5", "€5"], ["$a", "$b"], ["a", "b"]] {
            assert_eq!(without_sign(&column(&mixed)), None);
        }
        assert_eq!(Writing::DecimalComma.parse("1.234,5"), Some(1234.5));
        assert_eq!(Writing::GroupingCommas.parse("-12,345.5"), Some(-12345.5));
        assert_eq!(Writing::Plain.parse("1 234"), Some(1234.0));
        for word in ["NaN", "", "?", "N/A", "-inf", "NULL"] {
            assert!(is_missing(word), "{word}");
        }
        assert!(!is_missing("0") && !is_missing("nano"));
    }
}
