//! Formats times and counts.

/// A time in the unit that fits it: `1.234 µs`. `digits` is the number of significant digits.
pub fn time(seconds: f64, digits: usize) -> String {
    let (factor, unit) = unit(seconds);
    format!("{} {unit}", significant(seconds * factor, digits))
}

/// An interval of times, in the unit that fits its lower end: `1.230 to 1.241 µs`.
pub fn times([low, high]: [f64; 2], digits: usize) -> String {
    let (factor, unit) = unit(low);
    format!("{} to {} {unit}", significant(low * factor, digits), significant(high * factor, digits))
}

/// A time in the format of IPython: from a minute on, it is split into units, as in `2h 5min 3s`.
pub fn long_time(seconds: f64) -> String {
    if seconds < 60.0 {
        return time(seconds, 3);
    }
    let whole = seconds as u64;
    let parts = [(whole / 86400, "d"), (whole / 3600 % 24, "h"), (whole / 60 % 60, "min"), (whole % 60, "s")];
    let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}"));
    parts.collect::<Vec<_>>().join(" ")
}

/// A count in groups of three digits, `8 120`. The space is narrow, and no line breaks at it.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The unit that fits a time, and its factor from seconds.
fn unit(seconds: f64) -> (f64, &'static str) {
    match seconds.abs() {
        s if s >= 1.0 => (1.0, "s"),
        s if s >= 1e-3 => (1e3, "ms"),
        s if s >= 1e-6 => (1e6, "µs"),
        _ => (1e9, "ns"),
    }
}

/// A number with this many significant digits, but at least all digits before the point.
fn significant(x: f64, digits: usize) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let before = x.abs().log10().floor().max(-3.0) as i32 + 1;
    let decimals = (digits as i32 - before).max(0) as usize;
    let text = format!("{x:.decimals$}");
    if text.parse() == Ok(0.0) { "0".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits_them() {
        let cases = [
            (0.0, "0 ns"),
            (1.2345e-9, "1.23 ns"),
            (12.345e-6, "12.3 µs"),
            (0.5, "500 ms"),
            (1e-18, "0 ns"),
            (59.0, "59.0 s"),
        ];
        for (seconds, text) in cases {
            assert_eq!(time(seconds, 3), text);
        }
        assert_eq!(times([0.9996e-6, 1.0004e-6], 4), "999.6 to 1000 ns");
        assert_eq!([long_time(0.0131), long_time(63.2), long_time(7503.0)], ["13.1 ms", "1min 3s", "2h 5min 3s"]);
        assert_eq!([count(7), count(8120), count(1_234_567)], ["7", "8\u{202f}120", "1\u{202f}234\u{202f}567"]);
    }
}
