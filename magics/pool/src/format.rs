//! How values are written on a command line.

use tunebook_study::Value;

/// A format as in Python and C: `[+][0][width][.precision][e|f|g|d|s]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Format {
    plus: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

/// A value without a format: a number in its shortest form that reads back exactly, and without a point if it is whole.
pub fn argument(value: &Value) -> String {
    match value {
        Value::Float(x) if x.fract() == 0.0 && x.abs() < 1e15 => format!("{x:.0}"),
        other => other.to_string(),
    }
}

impl Format {
    /// Parses the part behind the colon.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (rest, kind) = match text.chars().last()? {
            kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'd' | 's') => (&text[..text.len() - 1], kind),
            _ => (text, ' '),
        };
        let (plus, rest) = rest.strip_prefix('+').map_or((false, rest), |rest| (true, rest));
        let (width, precision) = rest.split_once('.').map_or((rest, None), |(width, rest)| (width, Some(rest)));
        let digits = |text: &str| text.is_empty() || (text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()));
        if !digits(width) || precision.is_some_and(|p| p.is_empty() || !digits(p)) {
            return None;
        }
        let precision = precision.and_then(|precision| precision.parse().ok());
        if precision.is_some() && matches!(kind, 'd' | 's') {
            return None;
        }
        Some(Self { plus, zeros: width.starts_with('0'), width: width.parse().unwrap_or(0), precision, kind })
    }

    /// Writes a value. None if it cannot be written so: a word as a number, or a fraction as a whole number.
    pub(crate) fn write(self, value: &Value) -> Option<String> {
        let digits = self.precision.unwrap_or(6);
        let text = match self.kind {
            's' => argument(value),
            ' ' if self.precision.is_none() => argument(value),
            'd' => value.as_i64()?.to_string(),
            'e' | 'E' => exponential(value.as_f64()?, digits),
            'f' | 'F' => format!("{:.digits$}", value.as_f64()?),
            _ => general(value.as_f64()?, digits.max(1)),
        };
        let text = if self.kind.is_ascii_uppercase() { text.to_uppercase() } else { text };
        let is_number = value.as_f64().is_some();
        let sign = if self.plus && is_number && !text.starts_with('-') { "+" } else { "" };
        let missing = self.width.saturating_sub(text.chars().count() + sign.len());
        Some(match (self.zeros && is_number, text.strip_prefix('-')) {
            (true, Some(rest)) => format!("-{}{rest}", "0".repeat(missing)),
            (true, None) => format!("{sign}{}{text}", "0".repeat(missing)),
            (false, _) => format!("{}{sign}{text}", " ".repeat(missing)),
        })
    }
}

/// With an exponent of at least two digits, as Python and C write it.
fn exponential(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// With so many significant digits and without zeros at the end, with an exponent only for very large or small numbers.
fn general(x: f64, digits: usize) -> String {
    let rounded = format!("{x:.*e}", digits - 1);
    let exponent: i32 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let short = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if (-4..digits as i32).contains(&exponent) {
        return short(&format!("{x:.*}", (digits as i32 - 1 - exponent) as usize));
    }
    let text = exponential(x, digits - 1);
    text.split_once('e').map_or(text.clone(), |(mantissa, exponent)| format!("{}e{exponent}", short(mantissa)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_python() {
        // Each was printed by Python 3: `format(value, format)`.
        let cases: [(&str, Value, &str); 16] = [
            (".3e", 0.0316227766.into(), "3.162e-02"),
            (".2E", 1234.5.into(), "1.23E+03"),
            ("e", 1.into(), "1.000000e+00"),
            (".4f", (-0.5).into(), "-0.5000"),
            ("g", 0.0001.into(), "0.0001"),
            ("g", 0.00001234567.into(), "1.23457e-05"),
            ("g", 1e6.into(), "1e+06"),
            (".3g", 999.9.into(), "1e+03"),
            (".2", 0.123.into(), "0.12"),
            ("g", 100000.into(), "100000"),
            ("d", 10.0.into(), "10"),
            ("05d", 42.into(), "00042"),
            ("08.3f", (-1.5).into(), "-001.500"),
            ("+d", 3.into(), "+3"),
            ("4d", 3.into(), "   3"),
            ("s", "adam".into(), "adam"),
        ];
        for (format, value, text) in cases {
            assert_eq!(Format::parse(format).unwrap().write(&value).as_deref(), Some(text), "{format} {value:?}");
        }
        for format in ["", ">9", ".", ".e", "x", ".3d", "99999f"] {
            assert_eq!(Format::parse(format), None, "{format}");
        }
        for (format, value) in [("d", 0.5.into()), (".2f", "adam".into()), ("e", true.into())] {
            assert_eq!(Format::parse(format).unwrap().write(&value), None, "{format} {value:?}");
        }
    }

    #[test]
    fn without_a_format_a_number_is_as_short_as_possible() {
        let cases: [(Value, &str); 6] = [
            (1e1.into(), "10"),
            (0.1.into(), "0.1"),
            (1e-7.into(), "1e-7"),
            (1e20.into(), "1e20"),
            (3.into(), "3"),
            (true.into(), "true"),
        ];
        for (value, text) in cases {
            assert_eq!(argument(&value), text);
        }
    }
}
