//! Reads CSV tables and turns their columns into inputs and targets.

mod choice;
mod describe;
mod encoding;
mod header;
mod missing;
mod numbers;
mod reading;
mod text;

pub(crate) use encoding::{Encoding, Target};

use self::encoding::Feature;
pub use choice::ColumnNames;
pub use missing::Fill;

use self::numbers::{Reading, Writing};
use super::{Examples, read};
use anyhow::{Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use tch::Tensor;

/// A column of words has at most as many different ones.
const MOST_WORDS: usize = 1000;

/// A table whose first line names the columns, such as a CSV file.
///
/// A column is one of numbers if all its values are numbers. Otherwise it is one of words. A field that is empty, or
/// that says `NA`, `NaN`, `null`, `?`, `inf` or the like, holds no value. The cell that defines a workload says what
/// became of each column.
///
/// ```no_run
/// # use tunebook_training::prelude::*;
/// let data = Table::read("wine.csv")?.classify("class")?.split(0.7, 0.15, 0)?.standardized();
/// let houses = Table::read("houses.csv")?.without("id")?.fill_missing(Fill::Median).regress("price")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    origin: String,
    columns: Vec<Column>,
    /// The line of each row in the file.
    lines: Vec<u64>,
    separator: char,
    /// How numbers are written that could be read in two ways, if other columns tell.
    convention: Option<Writing>,
    /// The columns that the user left out.
    left_out: Vec<String>,
    /// What was read otherwise than it stands there, in sentences.
    notes: Vec<String>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// None where a value is missing.
    fields: Vec<Option<String>>,
    /// What the user said that the column is.
    said: Option<ColumnKind>,
    /// What stands for missing values: a number, or for words nothing.
    fill: Option<Fill>,
}

impl Column {
    /// The values that are not missing.
    fn values(&self) -> impl Iterator<Item = &str> + Clone {
        self.fields.iter().flatten().map(String::as_str)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ColumnKind {
    Numbers,
    Words,
}

impl Table {
    /// Reads a file, packed (`.gz`) or not. Columns are separated by commas, semicolons, tabs or `|`, whichever the
    /// first line has most of. It fails if the file cannot be read, if its first line holds numbers instead of names or
    /// a name twice, or if a line has another number of fields.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(&read(path)?, &path.display().to_string())
    }

    /// Reads a table from text instead of a file, for example rows for a trained model: `Table::parse("a,b\n1,2")`. It
    /// fails as [`read`](Self::read) does.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_bytes(text.as_bytes(), "the text")
    }

    fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self> {
        let mut found = reading::split(bytes, origin)?;
        let mut columns = vec![];
        for (name, mut fields) in found.names.into_iter().zip(found.columns) {
            if let Some((sign, numbers)) = numbers::without_sign(&fields) {
                found.notes.push(format!("`{name}`: each value has a `{sign}`, which is left out."));
                fields = numbers;
            }
            columns.push(Column { name, fields, said: None, fill: None });
        }
        let convention = numbers::convention(columns.iter().map(Column::values));
        if convention == Some(Writing::DecimalComma) {
            found.notes.push("Numbers have decimal commas: `1,5` is one and a half.".into());
        }
        let (lines, separator, notes) = (found.lines, found.separator, found.notes);
        Ok(Self { origin: origin.into(), columns, lines, separator, convention, left_out: vec![], notes })
    }

    /// Returns examples for classification: the targets \[rows\] (i64) are the classes in the column `target`, and all
    /// other columns are features, inputs \[rows, features\] (float32).
    ///
    /// Classes are numbered from 0 in alphabetical order, or by value if all of them are numbers. Rows without a class
    /// are left out. A column of numbers is one feature; a column of words is one feature for each word, 1 in the rows
    /// with that word and 0 elsewhere.
    ///
    /// It fails if there is no such column, no other column or no row; if values are missing and neither
    /// [`drop_missing`](Self::drop_missing) nor [`fill_missing`](Self::fill_missing) says what to do; if most values
    /// of a column are numbers but not all; or if a column has more than 1,000 different words.
    pub fn classify(&self, target: &str) -> Result<Examples> {
        let mut table = self.labelled(target)?;
        let column = table.columns.remove(table.index(target)?);
        let values: Vec<&str> = column.values().collect();
        let mut classes: Vec<&str> = values.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if let Reading::Numbers(writing) = table.reading(&column) {
            classes
                .sort_by(|a, b| writing.parse(a).partial_cmp(&writing.parse(b)).unwrap_or(std::cmp::Ordering::Equal));
        }
        ensure!(
            classes.len() > 1,
            "the column `{target}` of {} has the same value in all rows, so there is nothing to distinguish",
            self.origin
        );
        let index = |value: &&str| classes.iter().position(|class| class == value).unwrap_or(0) as i64;
        let targets: Vec<i64> = values.iter().map(index).collect();
        let names: Vec<String> = classes.iter().map(|class| class.to_string()).collect();
        table.examples(Tensor::from_slice(&targets), Target::Classes(names), &column)
    }

    /// Returns examples for regression: the targets \[rows, 1\] (float32) are the numbers in the column `target`, and
    /// all other columns are features, as in [`classify`](Self::classify). Rows without a target are left out. It fails
    /// as that does, or if a target is not a number.
    pub fn regress(&self, target: &str) -> Result<Examples> {
        let mut table = self.labelled(target)?;
        let column = table.columns.remove(table.index(target)?);
        let writing = table.writing(&column)?.unwrap_or(Writing::Plain);
        let numbers = (0..table.lines.len()).map(|row| table.number(&column, writing, row, None));
        let targets: Vec<f32> = numbers.collect::<Result<_>>()?;
        let targets = Tensor::from_slice(&targets).unsqueeze(1);
        table.examples(targets, Target::Numbers(target.into()), &column)
    }

    /// The rows that have a target.
    fn labelled(&self, target: &str) -> Result<Table> {
        let mut table = self.clone();
        let has_target: Vec<bool> = self.column(target)?.fields.iter().map(Option::is_some).collect();
        let lost = table.keep_rows(&has_target);
        if lost > 0 {
            table.notes.push(format!("Left out: {} without a value of `{target}`.", describe::counted(lost, "row")));
        }
        ensure!(
            !table.lines.is_empty(),
            "{} has no row with a value of `{target}`{}",
            self.origin,
            self.where_missing()
        );
        Ok(table)
    }

    /// The examples of a table from which the target column was taken out.
    fn examples(mut self, targets: Tensor, target: Target, column: &Column) -> Result<Examples> {
        self.leave_out_empty();
        self.check_missing()?;
        let features: Vec<Feature> = self.columns.iter().map(|column| self.feature(column)).collect::<Result<_>>()?;
        ensure!(!features.is_empty(), "{} has no columns beside the target", self.origin);
        let mut encoding = Encoding { features, target, description: vec![] };
        encoding.description = describe::describe(&self, &encoding, column);
        let inputs = encoding.inputs(&self)?;
        Ok(Examples::new(inputs, targets)?.with_encoding(encoding))
    }

    fn feature(&self, column: &Column) -> Result<Feature> {
        let name = column.name.clone();
        if let Some(writing) = self.writing(column)? {
            let numbers = || column.values().filter_map(|field| writing.parse(field));
            let fill = column.fill.map(|fill| match fill {
                Fill::Value(value) => value,
                Fill::Mean => numbers().sum::<f64>() / numbers().count().max(1) as f64,
                Fill::Median => {
                    let mut sorted: Vec<f64> = numbers().collect();
                    sorted.sort_by(f64::total_cmp);
                    let middle = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
                    0.5 * (middle(sorted.len().saturating_sub(1) / 2) + middle(sorted.len() / 2))
                }
            });
            return Ok(Feature::Number { column: name, writing, fill });
        }
        let words: BTreeSet<&String> = column.fields.iter().flatten().collect();
        ensure!(
            words.len() <= MOST_WORDS,
            "the column `{name}` of {} has {} different words, more than {MOST_WORDS}; leave it out with \
             .without(\"{name}\")?",
            self.origin,
            words.len()
        );
        Ok(Feature::Words { column: name, words: words.into_iter().cloned().collect() })
    }

    /// What the values of a column are.
    fn reading(&self, column: &Column) -> Reading {
        numbers::read(column.values(), self.separator, self.convention)
    }

    /// How the numbers of a column are written, or None if it is a column of words. It fails if that cannot be told.
    fn writing(&self, column: &Column) -> Result<Option<Writing>> {
        let (name, origin) = (&column.name, &self.origin);
        match (self.reading(column), column.said) {
            (_, Some(ColumnKind::Words)) => Ok(None),
            (Reading::Numbers(writing), _) => Ok(Some(writing)),
            (Reading::Ambiguous, _) => {
                let field =
                    column.fields.iter().flatten().find(|field| field.contains(',')).cloned().unwrap_or_default();
                bail!(
                    "`{field}` in the column `{name}` of {origin} can be {} or {}: write the numbers of this column \
                     without commas, or take them for words with .words(\"{name}\")?",
                    field.replace(',', ""),
                    field.replace(',', ".")
                )
            }
            (Reading::Words { .. }, Some(ColumnKind::Numbers)) => Ok(Some(Writing::Plain)),
            (Reading::Words { share }, None) if share >= 0.5 => {
                let is_word = |field: &&Option<String>| {
                    field.as_deref().is_some_and(|field| {
                        !matches!(
                            numbers::read([field].into_iter(), self.separator, self.convention),
                            Reading::Numbers(_)
                        )
                    })
                };
                let row = column.fields.iter().position(|field| is_word(&field)).unwrap_or(0);
                let field = column.fields[row].as_deref().unwrap_or_default();
                bail!(
                    "the column `{name}` of {origin} holds numbers, but `{field}` in line {} is none. \
                     .numeric(\"{name}\")? counts such values as missing, and .words(\"{name}\")? takes all values of \
                     the column for words",
                    self.lines[row]
                )
            }
            (Reading::Words { .. }, None) => Ok(None),
        }
    }

    /// Keeps the rows that are marked. Returns the number of rows that are gone.
    fn keep_rows(&mut self, keep: &[bool]) -> usize {
        let before = self.lines.len();
        for column in &mut self.columns {
            let mut marks = keep.iter();
            column.fields.retain(|_| marks.next() == Some(&true));
        }
        let mut marks = keep.iter();
        self.lines.retain(|_| marks.next() == Some(&true));
        before - self.lines.len()
    }

    fn column(&self, name: &str) -> Result<&Column> {
        Ok(&self.columns[self.index(name)?])
    }

    fn index(&self, name: &str) -> Result<usize> {
        let names = || self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| anyhow!("{} has no column `{name}`; it has {}", self.origin, names()))
    }
}

#[cfg(test)]
mod tests;
