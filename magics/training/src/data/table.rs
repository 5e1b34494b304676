//! Tables with a header line: CSV.

use super::{Examples, read};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use tch::Tensor;

/// A table of named columns.
pub struct Table {
    origin: String,
    names: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    /// Reads a CSV file with a header line, `.gz` or not.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let origin = path.display().to_string();
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.as_slice());
        let names = reader.headers().with_context(|| origin.clone())?.iter().map(String::from).collect();
        let rows = reader.records().collect::<Result<_, _>>().with_context(|| origin.clone())?;
        Ok(Self { origin, names, rows })
    }

    /// Examples whose target is the class that a column names; classes are numbered in the order of their names (numbers in
    /// the order of their values). All other columns are features.
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

    /// Examples whose target is the number in a column: targets \[count, 1\]. All other columns are features.
    pub fn regress(&self, target: &str) -> Result<Examples> {
        let column = self.column(target)?;
        let targets: Vec<f32> = self.rows.iter().map(|row| self.number(row, column)).collect::<Result<_>>()?;
        Examples::new(self.features(column)?, Tensor::from_slice(&targets).unsqueeze(1))
    }

    /// The columns but one: numbers as they are, words as one column a word, which is 1 where the word stands.
    fn features(&self, but: usize) -> Result<Tensor> {
        ensure!(!self.rows.is_empty(), "{} has no rows", self.origin);
        let mut columns: Vec<Vec<f32>> = vec![];
        for column in (0..self.names.len()).filter(|column| *column != but) {
            // A column is of words if none of its fields is a number: a single odd field is a mistake to be named.
            if self.rows.iter().any(|row| row[column].parse::<f32>().is_ok()) {
                columns.push(self.rows.iter().map(|row| self.number(row, column)).collect::<Result<_>>()?);
                continue;
            }
            let words: BTreeSet<&str> = self.rows.iter().map(|row| &row[column]).collect();
            if words.len() > 1000 {
                bail!(
                    "the column `{}` of {} has {} different words; drop it",
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
            anyhow!("{what} stands in the column `{name}` of line {line} of {origin}; a finite number is wanted")
        })
    }
}
