//! Reads CSV tables and turns their columns into inputs and targets.

use super::{Examples, read};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use tch::Tensor;

/// A table of a CSV file whose first line names the columns.
///
/// ```no_run
/// # use tunebook_training::prelude::*;
/// let data = Table::read("wine.csv")?.classify("class")?.split(0.7, 0.15, 0)?.standardized();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Table {
    origin: String,
    names: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    /// Reads a CSV file with a header line, packed (`.gz`) or not. Spaces around fields are removed. It fails if the
    /// file cannot be read or its lines have different numbers of fields.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let origin = path.display().to_string();
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.as_slice());
        let names = reader.headers().with_context(|| origin.clone())?.iter().map(String::from).collect();
        let rows = reader.records().collect::<Result<_, _>>().with_context(|| origin.clone())?;
        Ok(Self { origin, names, rows })
    }

    /// Returns examples for classification: the targets \[rows\] (i64) are the classes in the column `target`, and all
    /// other columns are features, inputs \[rows, features\] (float32).
    ///
    /// Classes are numbered from 0 in alphabetical order, or by value if all of them are numbers. A column of numbers
    /// is one feature; a column of words is one feature for each word, 1 in the rows with that word and 0 elsewhere. It
    /// fails if there is no such column, no other column or no row, if a column mixes numbers and other text, or if it
    /// has more than 1,000 different words.
    pub fn classify(&self, target: &str) -> Result<Examples> {
        let column = self.column(target)?;
        let values: Vec<&str> = self.rows.iter().map(|row| &row[column]).collect();
        let mut classes: Vec<&str> = values.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if let Some(mut numbers) =
            classes.iter().map(|class| Some((class.parse::<f64>().ok()?, *class))).collect::<Option<Vec<_>>>()
        {
            numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
            classes = numbers.into_iter().map(|(_, class)| class).collect();
        }
        let index = |value: &&str| classes.iter().position(|class| class == value).unwrap_or(0) as i64;
        let targets: Vec<i64> = values.iter().map(index).collect();
        Examples::new(self.features(column)?, Tensor::from_slice(&targets))
    }

    /// Returns examples for regression: the targets \[rows, 1\] (float32) are the numbers in the column `target`, and
    /// all other columns are features, as in [`classify`](Self::classify). It fails as that does, or if a target is not
    /// a finite number.
    pub fn regress(&self, target: &str) -> Result<Examples> {
        let column = self.column(target)?;
        let targets: Vec<f32> = self.rows.iter().map(|row| self.number(row, column)).collect::<Result<_>>()?;
        Examples::new(self.features(column)?, Tensor::from_slice(&targets).unsqueeze(1))
    }

    /// Returns the features \[rows, features\] of all columns except one.
    fn features(&self, except: usize) -> Result<Tensor> {
        ensure!(!self.rows.is_empty(), "{} has no rows", self.origin);
        let mut columns: Vec<Vec<f32>> = vec![];
        for column in (0..self.names.len()).filter(|column| *column != except) {
            // If any field is a number, the column is one of numbers, and a field that is not a number is a mistake.
            if self.rows.iter().any(|row| row[column].parse::<f32>().is_ok()) {
                columns.push(self.rows.iter().map(|row| self.number(row, column)).collect::<Result<_>>()?);
                continue;
            }
            let words: BTreeSet<&str> = self.rows.iter().map(|row| &row[column]).collect();
            if words.len() > 1000 {
                bail!(
                    "the column `{}` of {} has {} different words, more than 1000; remove the column",
                    self.names[column],
                    self.origin,
                    words.len()
                );
            }
            for word in words {
                columns.push(self.rows.iter().map(|row| if &row[column] == word { 1.0 } else { 0.0 }).collect());
            }
        }
        ensure!(!columns.is_empty(), "{} has no columns beside the target", self.origin);
        let flat: Vec<f32> = columns.concat();
        Ok(Tensor::from_slice(&flat).view([columns.len() as i64, self.rows.len() as i64]).transpose(0, 1).contiguous())
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| anyhow!("{} has no column `{name}`; it has {}", self.origin, self.names.join(", ")))
    }

    fn number(&self, row: &csv::StringRecord, column: usize) -> Result<f32> {
        let field = &row[column];
        field.parse().ok().filter(|number: &f32| number.is_finite()).ok_or_else(|| {
            let line = row.position().map_or(0, csv::Position::line);
            let what = if field.is_empty() { "nothing".to_string() } else { format!("`{field}`") };
            let (name, origin) = (&self.names[column], &self.origin);
            anyhow!("{what} stands in the column `{name}` of line {line} of {origin}; it must be a finite number")
        })
    }
}
