//! Which columns of a table are used, and what they are.

use super::numbers::Writing;
use super::{ColumnKind, Table};
use anyhow::Result;

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
}
