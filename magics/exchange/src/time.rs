//! Times as Python writes them, and as Unix seconds. A time without an offset counts as UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Unix seconds of a time such as `2026-11-26T16:18:54.783500+00:00` or `2026-11-26 16:18:54.783500`.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
    };
    Some(moment.as_microsecond() as f64 / 1e6)
}

fn utc(unix: f64) -> Option<DateTime> {
    let moment = Timestamp::from_microsecond((unix * 1e6).round() as i64).ok()?;
    Some(moment.to_zoned_datetime(TimeZone::UTC).datetime())
}

/// The time in ISO 8601 with its offset.
pub(crate) fn iso(unix: f64) -> Option<String> {
    Some(utc(unix)?.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string())
}

/// The time as SQLAlchemy writes it to SQLite.
pub(crate) fn sql(unix: f64) -> Option<String> {
    Some(utc(unix)?.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_was_written() {
        let unix = 1_795_709_934.783_5;
        for text in [iso(unix).unwrap(), sql(unix).unwrap(), "2026-11-26T17:38:54.783500+01:20".into()] {
            assert_eq!(parse(&text), Some(unix), "{text}");
        }
        assert_eq!(parse("yesterday"), None);
    }
}
