//! Tables of results, as text for consoles and as HTML for notebooks, and the formats of their values.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use std::sync::OnceLock;
pub use tunebook_analysis::number;
use tunebook_charts::html;
use tunebook_pool::program_line;
use tunebook_study::WorkloadReference;

/// The environment variable with the width of the terminal on which text is shown, in columns.
pub const TEXT_COLUMNS: &str = "TUNEBOOK_COLUMNS";
/// The width of text that is shown on no terminal.
const TEXT_WIDTH: usize = 100;
/// Text is not made narrower than this, however narrow the terminal is.
const LEAST_WIDTH: usize = 30;

/// The width of text in columns.
pub fn text_width() -> usize {
    static WIDTH: OnceLock<usize> = OnceLock::new();
    *WIDTH.get_or_init(|| width_of(std::env::var(TEXT_COLUMNS).ok().as_deref()))
}

/// Whether text is shown on a terminal, which has no cells: this kernel runs one command there.
pub fn is_on_terminal() -> bool {
    std::env::var_os(TEXT_COLUMNS).is_some()
}

/// The width of text on a terminal with this many columns.
fn width_of(columns: Option<&str>) -> usize {
    let columns = columns.and_then(|columns| columns.parse::<u16>().ok()).filter(|columns| *columns > 0);
    columns.map_or(TEXT_WIDTH, |columns| usize::from(columns).max(LEAST_WIDTH))
}

/// A table: rows under headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Whether cells are sentences, in which code stands between backticks.
    has_sentences: bool,
}

impl Rows {
    /// A table without rows.
    pub fn new(headers: &[&str]) -> Self {
        Self { headers: headers.iter().map(|h| h.to_string()).collect(), rows: vec![], has_sentences: false }
    }

    /// The cells are sentences of ours: the page shows what stands between backticks as code. Text of users may contain
    /// backticks that are part of it.
    pub fn with_sentences(self) -> Self {
        Self { has_sentences: true, ..self }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Leaves out the columns in which no row has anything but a dash.
    pub fn without_empty_columns(mut self) -> Self {
        let is_filled = |cell: &String| !cell.is_empty() && cell != "–";
        let kept: Vec<bool> = (0..self.headers.len())
            .map(|column| self.rows.iter().any(|row| row.get(column).is_some_and(is_filled)))
            .collect();
        let keep = |cells: &mut Vec<String>| {
            let mut kept = kept.iter();
            cells.retain(|_| kept.next().is_none_or(|kept| *kept));
        };
        keep(&mut self.headers);
        self.rows.iter_mut().for_each(keep);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Leaves the first rows. If there are more, returns a sentence that says so; `what` says what all rows are.
    pub fn cut(&mut self, limit: usize, what: &str) -> Option<String> {
        let all = self.rows.len();
        self.rows.truncate(limit);
        (all > limit).then(|| format!("The first {limit} of {all} {what}:"))
    }

    /// The table as text that is as wide as the terminal at most.
    pub fn text(&self) -> String {
        self.text_in(text_width())
    }

    /// The table as text that is at most so many columns wide, if a letter for each column fits.
    fn text_in(&self, width: usize) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::ASCII_MARKDOWN)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width as u16)
            .set_header(&self.headers);
        for row in &self.rows {
            table.add_row(row);
        }
        let longest: Vec<usize> = (0..self.headers.len()).map(|column| self.longest_word(column)).collect();
        // Each column has a border and two spaces.
        if longest.iter().sum::<usize>() + 3 * longest.len() < width {
            for (column, longest) in table.column_iter_mut().zip(longest) {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(longest as u16 + 2)));
            }
        }
        table.lines().map(|line| line.trim_end().to_string()).collect::<Vec<_>>().join("\n")
    }

    /// The number of characters in the longest word of a column, which is not broken if there is room.
    fn longest_word(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.headers.get(column));
        cells.flat_map(|cell| cell.split_whitespace()).map(|word| word.chars().count()).max().unwrap_or(0)
    }

    /// The table as HTML.
    pub fn html(&self) -> String {
        let cell = if self.has_sentences { html::sentence } else { html::escape };
        html::table_html(&self.headers, &self.rows, cell)
    }
}

/// A number, or a dash if there is none.
pub fn number_or_dash(x: Option<f64>) -> String {
    x.map_or("–".into(), number)
}

/// An interval as `0.1 to 0.3`, or a dash if there is none.
pub fn interval_or_dash(interval: Option<[f64; 2]>) -> String {
    interval.map_or("–".into(), |[low, high]| format!("{} to {}", number(low), number(high)))
}

/// An interval, one end of which may be open.
pub fn open_interval_or_dash(interval: Option<[Option<f64>; 2]>) -> String {
    match interval {
        Some([Some(low), Some(high)]) => interval_or_dash(Some([low, high])),
        Some([None, Some(high)]) => format!("up to {}", number(high)),
        Some([Some(low), None]) => format!("from {}", number(low)),
        Some([None, None]) | None => "–".into(),
    }
}

/// A value of a hyperparameter. Real numbers are rounded.
pub fn value(value: &tunebook_study::Value) -> String {
    match value {
        tunebook_study::Value::Float(x) => number(*x),
        other => other.to_string(),
    }
}

/// The value or the range that a point of an isolation stands for.
pub fn bucket(bucket: &tunebook_analysis::Bucket) -> String {
    match bucket {
        tunebook_analysis::Bucket::Value(v) => value(v),
        tunebook_analysis::Bucket::Range([low, high]) if low == high => number(*low),
        tunebook_analysis::Bucket::Range([low, high]) => format!("{} to {}", number(*low), number(*high)),
    }
}

/// The values of the hyperparameters that vary in a study: `lr=0.02, momentum=0.9`. One that a program gets in a
/// format is shown in it.
pub fn params(definition: &tunebook_study::StudyDefinition, params: &tunebook_study::Params) -> String {
    let varied = params
        .iter()
        .filter(|(name, _)| definition.space.active(name, params).is_some_and(|h| !h.distribution.is_constant()));
    let shown = |name: &str, v: &tunebook_study::Value| match &definition.workload {
        WorkloadReference::Command(line) => program_line::formatted(line, name, v).unwrap_or_else(|| value(v)),
        _ => value(v),
    };
    varied.map(|(name, v)| format!("{name}={}", shown(name, v))).collect::<Vec<_>>().join(", ")
}

/// Seconds as `0.8 s`, `42 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!("{:.0} h {:.0} min", (s / 3600.0).floor(), (s % 3600.0) / 60.0),
    }
}

/// A number of bytes in its unit: `512 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut x = bytes as f64;
    let mut unit = 0;
    while x >= 1024.0 && unit + 1 < UNITS.len() {
        x /= 1024.0;
        unit += 1;
    }
    if x < 10.0 && unit > 0 { format!("{x:.1} {}", UNITS[unit]) } else { format!("{x:.0} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_four_digits() {
        let cases = [
            (0.0, "0"),
            (0.0333333, "0.03333"),
            (128.0, "128"),
            (1e-5, "1e-5"),
            (1234567.0, "1.235e6"),
            (0.000_123_456, "0.0001235"),
        ];
        for (x, text) in cases {
            assert_eq!(number(x), text);
        }
    }

    #[test]
    fn columns_in_which_nothing_stands_are_left_out() {
        let mut rows = Rows::new(&["a", "b", "c", "d"]);
        for cells in [["1", "", "–", ""], ["2", "–", "–", "4"]] {
            rows.row(cells.map(String::from).to_vec());
        }
        let mut expected = Rows::new(&["a", "d"]);
        expected.row(vec!["1".into(), String::new()]);
        expected.row(vec!["2".into(), "4".into()]);
        assert_eq!(rows.without_empty_columns(), expected);
    }

    #[test]
    fn text_is_at_most_as_wide_as_the_terminal() {
        let mut rows = Rows::new(&["a", "b"]);
        rows.row(vec!["x".repeat(80), "word ".repeat(40)]);
        for width in [40, 60, 100, 140] {
            let text = rows.text_in(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        for (columns, width) in [(None, 100), (Some(""), 100), (Some("0"), 100), (Some("60"), 60), (Some("8"), 30)] {
            assert_eq!(width_of(columns), width, "{columns:?}");
        }
    }
}
