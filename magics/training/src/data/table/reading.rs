//! From the bytes of a file to named columns of fields.
//!
//! The crate `csv` splits records and fields, with quotes, any delimiter, and trimmed fields. It knows nothing of
//! encodings, missing values, decimal commas and the types of columns. A data frame library such as polars knows some
//! of that. But it brings hundreds of crates, minutes of compile time to every workload that is built, and errors
//! without the line and the advice that a user needs here.

use super::describe::counted;
use super::numbers::is_missing;
use super::{header, text};
use anyhow::{Result, anyhow, bail, ensure};

/// The characters that may stand between columns.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// A table as it stands in a file.
pub(super) struct Fields {
    pub names: Vec<String>,
    /// The fields by column; None where a value is missing.
    pub columns: Vec<Vec<Option<String>>>,
    /// The line of each row, counted from 1.
    pub lines: Vec<u64>,
    pub separator: char,
    /// What was taken for something else, in sentences.
    pub notes: Vec<String>,
}

/// Splits the bytes of a file, which errors call `origin`.
pub(super) fn split(bytes: &[u8], origin: &str) -> Result<Fields> {
    let mut notes = vec![];
    let text = text::decoded(bytes, origin, &mut notes)?;
    let (said, text) = text::without_separator_line(&text, &SEPARATORS);
    let separator = said.unwrap_or_else(|| separator_of(&text));
    let text = text::without_spaces_before_quotes(&text, separator).map_err(|line| {
        anyhow!(
            "the double quote that begins a field in line {line} of {origin} is never closed; close it or remove it"
        )
    })?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator as u8)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let Some(header) = records.next() else { bail!("{origin} is empty; its first line must name the columns") };
    let header = header?;
    let (mut columns, mut lines, mut blank) = (vec![vec![]; header.len()], vec![], 0);
    for record in records {
        let record = record?;
        let line = record.position().map_or(0, |position| line_of(position, &text));
        if record.iter().all(str::is_empty) {
            blank += 1;
            continue;
        }
        if record.len() != header.len() {
            let separator = shown(separator);
            bail!(
                "line {line} of {origin} has {} fields, but its first line names {} columns. The fields are separated by \
                 {separator}; a field that contains {separator} must stand in double quotes",
                record.len(),
                header.len()
            );
        }
        for (column, field) in columns.iter_mut().zip(&record) {
            column.push((!is_missing(field)).then(|| field.to_string()));
        }
        lines.push(line);
    }
    header::check_names(&header, &columns, origin)?;
    if blank > 0 {
        notes.push(format!("Left out: {} without any value.", counted(blank, "line")));
    }
    ensure!(!lines.is_empty(), "{origin} has no rows below the names of its columns");
    let (names, columns) = header::named(&header, columns, origin, &mut notes)?;
    Ok(Fields { names, columns, lines, separator, notes })
}

/// The line on which a record begins. `csv` skips empty lines, and gives the line of the first of them.
fn line_of(position: &csv::Position, text: &str) -> u64 {
    let skipped = text.bytes().skip(position.byte() as usize).take_while(|byte| *byte == b'\n').count();
    position.line() + skipped as u64
}

/// The number of lines that tell the separator.
const LINES: usize = 20;

/// The separator of the columns. Each of the first lines has equally many of it outside of quotes, or else the first
/// line has most of it. It is a comma if there is none.
fn separator_of(text: &str) -> char {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(LINES).collect();
    let count = |line: &str, separator| line.split('"').step_by(2).map(|part| part.matches(separator).count()).sum();
    let counts = |separator: char| -> Vec<usize> { lines.iter().map(|line| count(line, separator)).collect() };
    // A comma may also stand in numbers and names, equally often in each line.
    let rank = |separator: char| {
        let counts = counts(separator);
        let first = counts.first().copied().unwrap_or(0);
        let is_steady = counts.iter().all(|count| *count == first);
        (is_steady, is_steady && separator != ',', first)
    };
    let found = SEPARATORS.into_iter().filter(|separator| rank(*separator).2 > 0);
    found.rev().max_by_key(|separator| rank(*separator)).unwrap_or(',')
}

/// A separator in an error.
pub(super) fn shown(separator: char) -> String {
    match separator {
        '\t' => "tabs".into(),
        other => format!("`{other}`"),
    }
}
