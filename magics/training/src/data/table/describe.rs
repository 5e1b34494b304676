//! What the cell that defines a workload says about its table.

use super::encoding::{Encoding, Feature, Target};
use super::{Column, Table, reading};

/// Lists of names longer than this are cut.
const MOST_NAMES: usize = 12;
/// A column of words with more different ones is told of.
const MANY_WORDS: usize = 50;

/// A target with more classes may be a quantity.
const MANY_CLASSES: usize = 20;

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
        Feature::Words { column, words } => Some(format!("{column} ({} words)", words.len())),
        Feature::Number { .. } => None,
    });
    for (what, names) in [("Numbers", listed(numbers)), ("Words", listed(words))] {
        if !names.is_empty() {
            lines.push(format!("{what}: {names}."));
        }
    }
    match &encoding.target {
        Target::Classes(classes) => {
            let count = |class: &String| target.fields.iter().flatten().filter(|value| *value == class).count();
            let counts = classes.iter().enumerate().map(|(i, class)| format!("{i} = {class} ({} rows)", count(class)));
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
        if is_row_number(column, feature) {
            lines.push(format!(
                "`{name}` has another value in each row, so it teaches nothing about other rows; {leave_out}."
            ));
        } else if let Feature::Words { words, .. } = feature
            && words.len() > MANY_WORDS
        {
            let count = words.len();
            lines.push(format!("`{name}` has {count} different words, so it became {count} features; {leave_out}."));
        }
    }
    lines
}

/// Whether a column names its rows: words that are all different, or whole numbers that go up or down by one.
fn is_row_number(column: &Column, feature: &Feature) -> bool {
    let rows = column.fields.len();
    match feature {
        Feature::Words { words, .. } => rows > 5 && words.len() == rows,
        Feature::Number { .. } => {
            let numbers: Option<Vec<i64>> = column.fields.iter().map(|field| field.as_ref()?.parse().ok()).collect();
            rows > 5 && numbers.is_some_and(|numbers| numbers.windows(2).all(|pair| pair[1].abs_diff(pair[0]) == 1))
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
