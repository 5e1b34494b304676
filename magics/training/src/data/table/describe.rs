//! What the cell that defines a workload says about its table.

use super::encoding::{Encoding, Feature, Target};
use super::{Column, Table, reading};
use std::collections::BTreeSet;

/// In so few rows, values are often all different.
const FEW_ROWS: usize = 5;
/// Lists of names longer than this are cut.
const MOST_NAMES: usize = 12;
/// A column of words with more different ones is told of.
const MANY_WORDS: usize = 50;

/// A target with more classes may be a quantity.
const MANY_CLASSES: usize = 20;

/// A number of things: `1 row`, `3 rows`.
pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Describes a table without its target column, in sentences.
pub(super) fn describe(table: &Table, encoding: &Encoding, target: &Column) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} rows; columns are separated by {}.",
        table.origin,
        table.lines.len(),
        reading::shown(table.separator)
    )];
    let numbers = encoding.features.iter().filter_map(|feature| match feature {
        Feature::Number { column, .. } => Some(column.clone()),
        Feature::Words { .. } => None,
    });
    let words = encoding.features.iter().filter_map(|feature| match feature {
        Feature::Words { column, words } => Some(format!("{column} ({})", counted(words.len(), "word"))),
        Feature::Number { .. } => None,
    });
    let is_constant = |column: &&Column| column.fields.iter().collect::<BTreeSet<_>>().len() == 1;
    let constant = table.columns.iter().filter(is_constant).map(|column| column.name.clone());
    let kinds = [
        ("Numbers", listed(numbers)),
        ("Words", listed(words)),
        ("The same in all rows", listed(constant)),
        ("Left out", listed(table.left_out.iter().cloned())),
    ];
    for (what, names) in kinds {
        if !names.is_empty() {
            lines.push(format!("{what}: {names}."));
        }
    }
    match &encoding.target {
        Target::Classes(classes) => {
            let count = |class: &String| target.fields.iter().flatten().filter(|value| *value == class).count();
            let counts = classes
                .iter()
                .enumerate()
                .map(|(i, class)| format!("{i} = {class} ({})", counted(count(class), "row")));
            lines.push(format!("Classes of `{}`: {}.", target.name, listed(counts)));
            let (name, rows) = (&target.name, table.lines.len());
            if classes.len() > MANY_CLASSES && 2 * classes.len() > rows {
                lines.push(format!(
                    "`{name}` has {} different values in {rows} rows, so most classes have a single example. If it is a \
                     quantity, write `.regress(\"{name}\")?` and `Task::Regression`.",
                    classes.len()
                ));
            }
        }
        Target::Numbers(name) => lines.push(format!("Target: the numbers of `{name}`.")),
    }
    lines.extend(table.notes.iter().cloned());
    for (column, feature) in table.columns.iter().zip(&encoding.features) {
        let missing = column.fields.iter().filter(|field| field.is_none()).count();
        let name = &column.name;
        match feature {
            Feature::Number { fill: Some(fill), .. } if missing > 0 => {
                lines.push(format!("`{name}`: {missing} missing values became {fill}."));
            }
            Feature::Words { .. } if missing > 0 => {
                lines.push(format!("`{name}`: {missing} missing values are none of its words."));
            }
            _ => {}
        }
        let leave_out = format!("`.without(\"{name}\")?` leaves it out");
        match told_apart(column, feature) {
            Some(true) => lines.push(format!(
                "`{name}` has another value in each row, so it teaches nothing about other rows; {leave_out}."
            )),
            Some(false) => {
                lines.push(format!(
                    "`{name}` has another whole number in each row. If it is an identifier, {leave_out}."
                ));
            }
            None => {}
        }
        if let Feature::Words { words, .. } = feature
            && words.len() > MANY_WORDS
        {
            let count = words.len();
            lines.push(format!("`{name}` has {count} different words, so it became {count} features; {leave_out}."));
        }
    }
    lines
}

/// Whether the values of a column tell its rows apart: `true` for words that are all different, and for whole numbers
/// that go up or down by one; `false` for other whole numbers that are all different. None if they do not.
fn told_apart(column: &Column, feature: &Feature) -> Option<bool> {
    let rows = column.fields.len();
    match feature {
        Feature::Words { words, .. } => (rows > FEW_ROWS && words.len() == rows).then_some(true),
        Feature::Number { .. } => {
            let numbers: Option<Vec<i64>> = column.fields.iter().map(|field| field.as_ref()?.parse().ok()).collect();
            let numbers = numbers.filter(|_| rows > FEW_ROWS)?;
            if numbers.windows(2).all(|pair| pair[1].abs_diff(pair[0]) == 1) {
                return Some(true);
            }
            let different: BTreeSet<i64> = numbers.into_iter().collect();
            (rows > 4 * FEW_ROWS && different.len() == rows).then_some(false)
        }
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    match names.len() {
        n if n > MOST_NAMES => format!("{} and {} more", names[..MOST_NAMES].join(", "), n - MOST_NAMES),
        _ => names.join(", "),
    }
}
