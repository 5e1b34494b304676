//! The first line of a table, which names the columns.

use super::describe::counted;
use super::numbers::{Reading, read};
use anyhow::{Result, bail};

/// Fails if the first line holds no names but values: numbers only, a decimal number, or mostly words that stand in
/// their column again. It fails as well if the columns are separated by spaces.
pub(super) fn check_names(header: &csv::StringRecord, columns: &[Vec<Option<String>>], origin: &str) -> Result<()> {
    let fields = || header.iter().filter(|field| !field.is_empty());
    let is_number = |field: &str| matches!(read([field].into_iter(), ',', None), Reading::Numbers(_));
    let is_decimal = |field: &&str| field.contains(['.', ',']) && is_number(field);
    let numbers = fields().filter(|field| is_number(field)).count();
    let words = fields().count() - numbers;
    let again = header.iter().zip(columns).filter(|(name, column)| {
        !name.is_empty() && !is_number(name) && column.iter().flatten().any(|field| field == name)
    });
    let again = again.count();
    let are_values = numbers > 0 && words == 0
        || fields().any(|field| is_decimal(&field))
        || 2 * again > words && (again > 1 || numbers > 0);
    if are_values {
        bail!(
            "the first line of {origin} holds {} ({}), but it must name the columns; add a line with names above it",
            if words == 0 { "numbers" } else { "values" },
            fields().take(3).collect::<Vec<_>>().join(", ")
        );
    }
    let parts = |text: &str| text.split_whitespace().count();
    if let (1, [only]) = (header.len(), columns) {
        let several = parts(&header[0]);
        let as_many = |field: &Option<String>| field.as_deref().is_some_and(|field| parts(field) == several);
        if several > 1 && !only.is_empty() && only.iter().all(as_many) {
            bail!(
                "the columns of {origin} seem to be separated by spaces; separate them by a comma, a semicolon, a tab or \
                 `|`, for example with `!sed -E 's/ +/,/g' FILE > NEW`"
            );
        }
    }
    Ok(())
}

/// The names of columns, and the fields of each column; None where a value is missing.
type Named = (Vec<String>, Vec<Vec<Option<String>>>);

/// The columns with their names. A column without a name and without values is left out. It fails if two columns have
/// the same name.
pub(super) fn named(
    header: &csv::StringRecord,
    columns: Vec<Vec<Option<String>>>,
    origin: &str,
    notes: &mut Vec<String>,
) -> Result<Named> {
    let (mut names, mut kept) = (vec![], vec![]);
    let mut empty = 0;
    for (i, (name, column)) in header.iter().zip(columns).enumerate() {
        match name {
            "" if column.iter().all(Option::is_none) => {
                empty += 1;
                continue;
            }
            // pandas writes the column of row numbers without a name.
            "" => {
                names.push(format!("column {}", i + 1));
                notes.push(format!("Column {} has no name, so it is called `column {}`.", i + 1, i + 1));
            }
            name => names.push(name.to_string()),
        }
        if let Some(first) =
            header.iter().position(|other| other == name).filter(|first| *first < i && !name.is_empty())
        {
            bail!(
                "the first line of {origin} names `{name}` twice, in the columns {} and {}; rename one of them",
                first + 1,
                i + 1
            );
        }
        kept.push(column);
    }
    if empty > 0 {
        notes.push(format!("Left out: {} without a name and without values.", counted(empty, "column")));
    }
    Ok((names, kept))
}
