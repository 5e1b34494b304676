//! Reads CSV tables and turns their columns into inputs and targets.

mod describe;
mod encoding;
mod numbers;
mod reading;

pub(crate) use encoding::{Encoding, Target};

use self::encoding::Feature;
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum ColumnKind {
    Numbers,
    Words,
}

/// What takes the place of missing values in a column of numbers, for [`Table::fill_missing`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// The mean of the values that are there.
    Mean,
    /// The median of the values that are there.
    Median,
    /// This number.
    Value(f64),
}

impl From<f64> for Fill {
    fn from(value: f64) -> Self {
        Self::Value(value)
    }
}

/// One name of a column or several: `"id"`, `["id", "date"]`.
pub trait ColumnNames {
    /// The names.
    fn names(&self) -> Vec<String>;
}

impl ColumnNames for &str {
    fn names(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl<const N: usize> ColumnNames for [&str; N] {
    fn names(&self) -> Vec<String> {
        self.iter().map(|name| name.to_string()).collect()
    }
}

impl ColumnNames for &[&str] {
    fn names(&self) -> Vec<String> {
        self.iter().map(|name| name.to_string()).collect()
    }
}

impl ColumnNames for Vec<String> {
    fn names(&self) -> Vec<String> {
        self.clone()
    }
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
        let fields = reading::split(bytes, origin)?;
        let columns = fields.names.into_iter().zip(fields.columns);
        let columns = columns.map(|(name, fields)| Column { name, fields, said: None, fill: None }).collect();
        let (lines, separator, notes) = (fields.lines, fields.separator, fields.notes);
        Ok(Self { origin: origin.into(), columns, lines, separator, notes })
    }

    /// Leaves columns out. It fails if there is no such column.
    pub fn without(mut self, columns: impl ColumnNames) -> Result<Self> {
        for name in columns.names() {
            let at = self.index(&name)?;
            self.columns.remove(at);
        }
        Ok(self)
    }

    /// Leaves all other columns out. Name the target too. It fails if there is no such column.
    pub fn only(mut self, columns: impl ColumnNames) -> Result<Self> {
        let names = columns.names();
        for name in &names {
            self.index(name)?;
        }
        self.columns.retain(|column| names.contains(&column.name));
        Ok(self)
    }

    /// Takes columns for numbers. What is no number in them counts as missing. It fails if there is no such column.
    pub fn numeric(mut self, columns: impl ColumnNames) -> Result<Self> {
        for name in columns.names() {
            let at = self.index(&name)?;
            self.columns[at].said = Some(ColumnKind::Numbers);
            let writing = self.writing(&self.columns[at])?.unwrap_or(Writing::Plain);
            let column = &mut self.columns[at];
            let mut lost = 0;
            for field in &mut column.fields {
                if field.as_deref().is_some_and(|field| writing.parse(field).is_none()) {
                    *field = None;
                    lost += 1;
                }
            }
            if lost > 0 {
                self.notes.push(format!("`{name}`: {lost} values are no numbers and count as missing."));
            }
        }
        Ok(self)
    }

    /// Takes columns for words, also where they hold numbers, such as codes. It fails if there is no such column.
    pub fn words(mut self, columns: impl ColumnNames) -> Result<Self> {
        for name in columns.names() {
            let at = self.index(&name)?;
            self.columns[at].said = Some(ColumnKind::Words);
        }
        Ok(self)
    }

    /// Leaves out the rows in which a value is missing. Choose the columns first.
    pub fn drop_missing(mut self) -> Self {
        let whole: Vec<bool> =
            (0..self.lines.len()).map(|row| self.columns.iter().all(|column| column.fields[row].is_some())).collect();
        let lost = self.keep_rows(&whole);
        if lost > 0 {
            self.notes.push(format!("{lost} rows with missing values are left out."));
        }
        self
    }

    /// Fills missing values: in columns of numbers with the mean, the median or a number, in columns of words with none
    /// of the words. Mean and median are those of all rows, of the later validation part too.
    ///
    /// ```no_run
    /// # use tunebook_training::prelude::*;
    /// let table = Table::read("houses.csv")?.fill_missing(Fill::Median); // or Fill::Mean, or a number: 0.0
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fill_missing(mut self, fill: impl Into<Fill>) -> Self {
        let fill = fill.into();
        for column in &mut self.columns {
            column.fill = Some(fill);
        }
        self
    }

    /// Returns examples for classification: the targets \[rows\] (i64) are the classes in the column `target`, and all
    /// other columns are features, inputs \[rows, features\] (float32).
    ///
    /// Classes are numbered from 0 in alphabetical order, or by value if all of them are numbers. Rows without a class
    /// are left out. A column of numbers is one feature; a column of words is one feature for each word, 1 in the rows
    /// with that word and 0 elsewhere.
    ///
    /// It fails if there is no such column, no other column or no row; if values are missing and neither
    /// [`drop_missing`](Self::drop_missing) nor [`fill_missing`](Self::fill_missing) says what to do; if most values of a
    /// column are numbers but not all; or if a column has more than 1,000 different words.
    pub fn classify(&self, target: &str) -> Result<Examples> {
        let mut table = self.labelled(target)?;
        let column = table.columns.remove(table.index(target)?);
        let values: Vec<&str> = column.fields.iter().flatten().map(String::as_str).collect();
        let mut classes: Vec<&str> = values.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if let Reading::Numbers(writing) = numbers::read(classes.iter().copied(), self.separator) {
            classes
                .sort_by(|a, b| writing.parse(a).partial_cmp(&writing.parse(b)).unwrap_or(std::cmp::Ordering::Equal));
        }
        ensure!(
            classes.len() > 1,
            "the column `{target}` of {} has the same value in all rows, so there is nothing to tell apart",
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
            table.notes.push(format!("{lost} rows without a value of `{target}` are left out."));
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
    fn examples(self, targets: Tensor, target: Target, column: &Column) -> Result<Examples> {
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
            let numbers = || column.fields.iter().flatten().filter_map(|field| writing.parse(field));
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
            return Ok(Feature::Number { column: name, fill });
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

    /// How the numbers of a column are written, or None if it is a column of words. It fails if that cannot be told.
    fn writing(&self, column: &Column) -> Result<Option<Writing>> {
        let (name, origin) = (&column.name, &self.origin);
        let reading = numbers::read(column.fields.iter().flatten().map(String::as_str), self.separator);
        match (reading, column.said) {
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
                        !matches!(numbers::read([field].into_iter(), self.separator), Reading::Numbers(_))
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

    /// Fails if values are missing and nothing says what to do with them.
    fn check_missing(&self) -> Result<()> {
        let problem = self.where_missing_unless(|column| column.fill.is_some());
        ensure!(
            problem.is_empty(),
            "values are missing in {}{problem}. Write .drop_missing() to leave such rows out, .fill_missing(Fill::Median) \
             (or Fill::Mean, or a number) to fill them, or .without(\"…\")? to leave a column out",
            self.origin
        );
        Ok(())
    }

    fn where_missing(&self) -> String {
        self.where_missing_unless(|_| false)
    }

    /// Which columns have missing values, as the end of a sentence. Empty if none has.
    fn where_missing_unless(&self, is_settled: impl Fn(&Column) -> bool) -> String {
        let missing: Vec<String> = self
            .columns
            .iter()
            .filter(|column| !is_settled(column))
            .filter_map(|column| {
                let first = column.fields.iter().position(Option::is_none)?;
                let count = column.fields.iter().filter(|field| field.is_none()).count();
                Some(format!("`{}` ({count} rows, the first in line {})", column.name, self.lines[first]))
            })
            .collect();
        match missing.len() {
            0 => String::new(),
            n if n > 5 => format!(": {} and {} more columns", missing[..5].join(", "), n - 5),
            _ => format!(": {}", missing.join(", ")),
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
