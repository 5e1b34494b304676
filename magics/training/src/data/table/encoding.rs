//! The encoding of a table: which feature each column became, so that other rows are encoded in the same way.

use super::numbers::{Reading, Writing};
use super::{Column, Table};
use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How the columns of a table became features, and its target became classes or numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Encoding {
    pub features: Vec<Feature>,
    pub target: Target,
    /// What the cell that defines the workload says about the table, in sentences.
    pub description: Vec<String>,
}

/// What one column became.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Feature {
    /// One feature. `writing` is how the numbers were written. A missing value becomes `fill`; None if nothing was said
    /// about missing values.
    Number { column: String, writing: Writing, fill: Option<f64> },
    /// One feature for each word: 1 in the rows with that word and 0 elsewhere.
    Words { column: String, words: Vec<String> },
}

/// What the target column became.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The names of the classes, in the order of their indices.
    Classes(Vec<String>),
    /// The numbers of this column.
    Numbers(String),
}

impl Feature {
    /// The names of the features that the column became.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Number { column, .. } => vec![column.clone()],
            Self::Words { column, words } => words.iter().map(|word| format!("{column}={word}")).collect(),
        }
    }
}

impl Encoding {
    /// The names of all features, in the order of the inputs.
    pub fn feature_names(&self) -> Vec<String> {
        self.features.iter().flat_map(Feature::names).collect()
    }

    /// Returns the inputs \[rows, features\] (float32) of a table that has the columns of this encoding. Other columns
    /// are ignored, and a word that the encoding does not know is none of its words. It fails if a column is missing,
    /// or if a field is no number where one is needed.
    pub fn inputs(&self, table: &Table) -> Result<Tensor> {
        let rows = table.lines.len();
        let mut flat: Vec<f32> = vec![];
        for feature in &self.features {
            match feature {
                Feature::Number { column, writing, fill } => {
                    let column = table.column(column)?;
                    let writing = match table.reading(column) {
                        Reading::Numbers(writing) => writing,
                        // What does not tell itself is written as it was in the table of this encoding.
                        Reading::Ambiguous | Reading::Words { .. } => *writing,
                    };
                    for row in 0..rows {
                        flat.push(table.number(column, writing, row, *fill)?);
                    }
                }
                Feature::Words { column, words } => {
                    let column = table.column(column)?;
                    for word in words {
                        flat.extend(column.fields.iter().map(|field| f32::from(field.as_deref() == Some(word))));
                    }
                }
            }
        }
        let features = flat.len().checked_div(rows).unwrap_or(0);
        Ok(Tensor::from_slice(&flat).view([features as i64, rows as i64]).transpose(0, 1).contiguous())
    }
}

impl Table {
    /// The number in a row of a column; `fill` where it is missing.
    pub(super) fn number(&self, column: &Column, writing: Writing, row: usize, fill: Option<f64>) -> Result<f32> {
        let (line, name, origin) = (self.lines[row], &column.name, &self.origin);
        let Some(field) = &column.fields[row] else {
            let missing = || anyhow!("line {line} of {origin} has no value in the column `{name}`");
            return Ok(fill.ok_or_else(missing)? as f32);
        };
        match writing.parse(field).map(|number| number as f32).filter(|number| number.is_finite()) {
            Some(number) => Ok(number),
            None => bail!("`{field}` stands in the column `{name}` of line {line} of {origin}; it must be a number"),
        }
    }
}
