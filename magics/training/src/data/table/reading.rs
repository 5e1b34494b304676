//! From the bytes of a file to named columns of fields.
//!
//! The crate `csv` splits records and fields. A data frame library would bring far more than a training set needs, and
//! minutes of compile time to every workload that is built.

use super::numbers::{Reading, is_missing, read as read_numbers};
use anyhow::{Result, bail, ensure};

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
    // Line ends become those that `csv` counts.
    let text = decode(bytes, &mut notes).replace("\r\n", "\n").replace('\r', "\n");
    let separator = separator_of(&text);
    let text = without_spaces_before_quotes(&text, separator);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator as u8)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let Some(header) = records.next() else { bail!("{origin} is empty; its first line must name the columns") };
    let names = names_of(&header?, origin)?;
    let (mut columns, mut lines, mut blank) = (vec![vec![]; names.len()], vec![], 0);
    for record in records {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            blank += 1;
            continue;
        }
        if record.len() != names.len() {
            let separator = shown(separator);
            bail!(
                "line {line} of {origin} has {} fields, but its first line names {} columns. The fields are separated by \
                 {separator}; a field that contains {separator} must stand in double quotes",
                record.len(),
                names.len()
            );
        }
        for (column, field) in columns.iter_mut().zip(&record) {
            column.push((!is_missing(field)).then(|| field.to_string()));
        }
        lines.push(line);
    }
    if blank > 0 {
        notes.push(format!("{blank} lines without any value are left out."));
    }
    ensure!(!lines.is_empty(), "{origin} has no rows below the names of its columns");
    Ok(Fields { names, columns, lines, separator, notes })
}

/// Decodes text: UTF-8 or UTF-16 with or without a byte order mark, otherwise Latin-1.
fn decode(bytes: &[u8], notes: &mut Vec<String>) -> String {
    let wide = |convert: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks_exact(2).map(|pair| convert([pair[0], pair[1]]));
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.trim_start_matches('\u{feff}').to_string(),
            Err(_) => {
                notes.push("The file is not UTF-8, so it is read as Latin-1.".into());
                bytes.iter().map(|byte| char::from(*byte)).collect()
            }
        },
    }
}

/// The separator that the first line has most often outside of quotes; a comma if it has none.
fn separator_of(text: &str) -> char {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let outside: Vec<&str> = first.split('"').step_by(2).collect();
    let count = |separator: char| outside.iter().map(|part| part.matches(separator).count()).sum::<usize>();
    // Of equals, the first one in the list.
    SEPARATORS.into_iter().rev().max_by_key(|separator| count(*separator)).filter(|s| count(*s) > 0).unwrap_or(',')
}

/// Removes the spaces between a separator and a quote: `1, "x, y"`. A quote begins a field only if nothing stands before
/// it.
fn without_spaces_before_quotes(text: &str, separator: char) -> String {
    let mut result = String::with_capacity(text.len());
    // Where the field begins in `result`, and whether it is quoted.
    let (mut start, mut is_quoted) = (0, false);
    for c in text.chars() {
        match c {
            '"' if is_quoted => is_quoted = false,
            '"' if result[start..].chars().all(|before| before == ' ') => {
                result.truncate(start);
                is_quoted = true;
            }
            // Two quotes inside a quoted field stand for one.
            '"' if result.ends_with('"') => is_quoted = true,
            _ => {}
        }
        result.push(c);
        if (c == separator || c == '\n') && !is_quoted {
            start = result.len();
        }
    }
    result
}

/// A separator in an error.
pub(super) fn shown(separator: char) -> String {
    match separator {
        '\t' => "tabs".into(),
        other => format!("`{other}`"),
    }
}

fn names_of(header: &csv::StringRecord, origin: &str) -> Result<Vec<String>> {
    let fields = || header.iter().filter(|field| !field.is_empty());
    if fields().next().is_some() && matches!(read_numbers(fields(), ','), Reading::Numbers(_)) {
        bail!(
            "the first line of {origin} holds numbers ({}), but it must name the columns; add a line with names above it",
            fields().take(3).collect::<Vec<_>>().join(", ")
        );
    }
    // pandas writes the column of row numbers without a name.
    let name = |(i, field): (usize, &str)| match field {
        "" => format!("column {}", i + 1),
        field => field.to_string(),
    };
    let names: Vec<String> = header.iter().enumerate().map(name).collect();
    for (i, name) in names.iter().enumerate() {
        if let Some(first) = names[..i].iter().position(|other| other == name) {
            bail!(
                "the first line of {origin} names `{name}` twice, in the columns {} and {}; rename one of them",
                first + 1,
                i + 1
            );
        }
    }
    Ok(names)
}
