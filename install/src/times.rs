//! How long each part of a command took, shown as a table when it ends.

use anyhow::Result;
use std::fmt;
use std::time::{Duration, Instant};

/// Test programs that take less time than this share one row of the table.
const SHORT: Duration = Duration::from_secs(1);

/// The parts of a command, in the order in which they began.
pub struct Times {
    started: Instant,
    rows: Vec<Row>,
}

/// One part.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub part: String,
    pub took: Duration,
    pub failed: bool,
    /// Whether the part is a test program. Short ones are summed up, because there are many of them.
    pub is_test: bool,
}

impl Times {
    /// Starts the clock of the whole command.
    pub fn start() -> Self {
        Self { started: Instant::now(), rows: Vec::new() }
    }

    /// Does a part of the work and records how long it took, also when it fails.
    pub fn part<T>(&mut self, part: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let done = work();
        self.rows.push(Row { part: part.into(), took: started.elapsed(), failed: done.is_err(), is_test: false });
        done
    }

    /// Adds parts that were timed elsewhere.
    pub fn extend(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_short = |row: &&Row| row.is_test && !row.failed && row.took < SHORT;
        let short: Vec<&Row> = self.rows.iter().filter(is_short).collect();
        let mut lines: Vec<(String, Duration, bool)> =
            self.rows.iter().filter(|row| !is_short(row)).map(|row| (row.part.clone(), row.took, row.failed)).collect();
        if !short.is_empty() {
            let part = format!("{} test programs of less than a second", short.len());
            lines.push((part, short.iter().map(|row| row.took).sum(), false));
        }
        lines.push(("in all".into(), self.started.elapsed(), false));
        let width = lines.iter().map(|(part, ..)| part.chars().count()).max().unwrap_or(0);
        for (part, took, failed) in lines {
            let mark = if failed { "  failed" } else { "" };
            writeln!(f, "{part:width$}  {:>12}{mark}", shown(took))?;
        }
        Ok(())
    }
}

/// A duration as people read it: `0.4 s`, `2 min 05 s`, `1 h 02 min`.
fn shown(duration: Duration) -> String {
    let tenths = (duration.as_secs_f64() * 10.0).round() as u64;
    let seconds = (tenths + 5) / 10;
    match seconds {
        _ if tenths < 600 => format!("{}.{} s", tenths / 10, tenths % 10),
        ..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_part_is_in_the_table_and_short_tests_share_a_row() {
        let mut times = Times::start();
        times.part("libtorch", || Ok(())).unwrap();
        times.part::<()>("building", || anyhow::bail!("no compiler")).unwrap_err();
        let test = |part: &str, took: u64, failed| {
            let took = Duration::from_millis(took);
            Row { part: part.into(), took, failed, is_test: true }
        };
        times.extend(vec![test("a", 400, false), test("slow", 125_000, false), test("b", 300, false)]);
        times.extend(vec![test("broken", 20, true)]);
        let table = times.to_string();
        let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
        assert!(row("libtorch").ends_with(" 0.0 s"), "{table}");
        assert!(row("building").ends_with("failed") && row("broken").ends_with("failed"), "{table}");
        assert!(row("slow").ends_with("2 min 05 s"), "{table}");
        assert!(row("2 test programs").ends_with("0.7 s"), "{table}");
        assert_eq!(table.lines().count(), 6, "{table}");
        assert!(table.lines().last().is_some_and(|line| line.starts_with("in all")), "{table}");
    }

    #[test]
    fn durations_are_rounded_and_never_read_60_seconds() {
        let of = |milliseconds| shown(Duration::from_millis(milliseconds));
        assert_eq!((of(0), of(449), of(59_940)), ("0.0 s".into(), "0.4 s".into(), "59.9 s".into()));
        assert_eq!((of(59_970), of(119_960)), ("1 min 00 s".into(), "2 min 00 s".into()));
        assert_eq!((of(3_599_800), of(3_720_000)), ("1 h 00 min".into(), "1 h 02 min".into()));
    }
}
