//! Missing values: rows with them are left out, or they are filled.

use super::describe::counted;
use super::{Column, Table};
use anyhow::{Result, ensure};

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

impl Table {
    /// Leaves out the rows in which a value is missing. A column without any value does not count. Choose the columns
    /// first.
    pub fn drop_missing(mut self) -> Self {
        let columns: Vec<&Column> = self.columns.iter().filter(|column| column.values().next().is_some()).collect();
        let is_whole = |row: usize| columns.iter().all(|column| column.fields[row].is_some());
        let whole: Vec<bool> = (0..self.lines.len()).map(is_whole).collect();
        let lost = self.keep_rows(&whole);
        if lost > 0 {
            self.notes.push(format!("Left out: {} with missing values.", counted(lost, "row")));
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

    /// Leaves out the columns that have no value in any row.
    pub(super) fn leave_out_empty(&mut self) {
        let (kept, empty) =
            std::mem::take(&mut self.columns).into_iter().partition(|column| column.values().next().is_some());
        self.columns = kept;
        let notes = |column: Column| format!("`{}` has no value in any row and is left out.", column.name);
        self.notes.extend(Vec::into_iter(empty).map(notes));
    }

    /// Fails if values are missing and nothing says what to do with them.
    pub(super) fn check_missing(&self) -> Result<()> {
        let problem = self.where_missing_unless(|column| column.fill.is_some());
        ensure!(
            problem.is_empty(),
            "values are missing in {}{problem}. Write .drop_missing() to leave such rows out, .fill_missing(Fill::Median) \
             (or Fill::Mean, or a number) to fill them, or .without(\"…\")? to leave a column out",
            self.origin
        );
        Ok(())
    }

    pub(super) fn where_missing(&self) -> String {
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
                Some(format!("`{}` ({}, the first in line {})", column.name, counted(count, "row"), self.lines[first]))
            })
            .collect();
        match missing.len() {
            0 => String::new(),
            n if n > 5 => format!(": {} and {} more columns", missing[..5].join(", "), n - 5),
            _ => format!(": {}", missing.join(", ")),
        }
    }
}
