//! A study as a table: a row for each trial, or for each measurement.

mod parquet;

pub use self::parquet::write_parquet;

use crate::parameters::{name_in, name_of};
use crate::{RecordedStudy, Result};
use indexmap::{IndexMap, IndexSet};
use std::collections::BTreeSet;
use std::path::Path;
use tunebook_study::{Trial, TrialState, Value};

/// The values of a column. None is a cell without a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    /// Microseconds since 1970, in UTC.
    Time(Vec<Option<i64>>),
}

/// Columns of the same length, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub columns: Vec<(String, Column)>,
}

impl Table {
    fn add(&mut self, name: impl Into<String>, column: Column) {
        self.columns.push((name.into(), column));
    }

    /// A row for each trial: what it is, its hyperparameters (`params_…`), and of each metric the smallest, the
    /// largest and the last value. A name that several branches declare has a column for each of them.
    pub fn of_trials(study: &RecordedStudy) -> Self {
        let trials: Vec<&Trial> = study.trials.iter().map(|recorded| &recorded.trial).collect();
        let objective = &study.definition.objective;
        let judged: Vec<Option<(f64, u64)>> = trials
            .iter()
            .map(|trial| match trial.state {
                TrialState::Complete | TrialState::Stopped => objective.of(trial),
                _ => None,
            })
            .collect();
        let mut table = Self::default();
        table.add("trial", Column::Int(trials.iter().map(|t| Some(t.number.into())).collect()));
        table.add("configuration", Column::Int(trials.iter().map(|t| Some(t.configuration.into())).collect()));
        table.add("state", Column::Text(trials.iter().map(|t| Some(t.state.to_string())).collect()));
        table.add("reason", Column::Text(trials.iter().map(|t| t.reason.clone()).collect()));
        table.add("objective", Column::Float(judged.iter().map(|j| j.map(|(value, _)| value)).collect()));
        table.add("best_step", Column::Int(judged.iter().map(|j| j.map(|(_, step)| step as i64)).collect()));
        table.add("seed", seeds(trials.iter().map(|t| t.seed)));
        let micros = |seconds: f64| Some((seconds * 1e6).round() as i64).filter(|micros| *micros != 0);
        table.add("started", Column::Time(trials.iter().map(|t| micros(t.started)).collect()));
        table.add("seconds", Column::Float(trials.iter().map(|t| Some(t.seconds)).collect()));
        let space = &study.definition.space;
        let params: Vec<IndexMap<String, &Value>> = trials
            .iter()
            .map(|t| t.params.iter().map(|(name, value)| (name_in(space, name, &t.params), value)).collect())
            .collect();
        let mut names: IndexSet<String> = space.hyperparameters().iter().map(|h| name_of(space, h)).collect();
        names.extend(params.iter().flat_map(|params| params.keys().cloned()));
        for name in names {
            let values: Vec<Option<&Value>> = params.iter().map(|params| params.get(&name).copied()).collect();
            table.add(format!("params_{name}"), of_values(&values));
        }
        for metric in metrics(study) {
            type Part = (&'static str, fn(&tunebook_study::MetricSummary) -> f64);
            let parts: [Part; 3] = [("min", |s| s.min.0), ("max", |s| s.max.0), ("last", |s| s.last.0)];
            for (name, part) in parts {
                let values = trials.iter().map(|t| t.summaries.get(metric).map(part)).collect();
                table.add(format!("{metric}_{name}"), Column::Float(values));
            }
        }
        table
    }

    /// A row for each measurement: trial, step, seconds since the trial began, and each metric. A metric that has the
    /// name of another column becomes `metric_…`.
    pub fn of_measurements(study: &RecordedStudy) -> Self {
        let rows: Vec<_> =
            study.trials.iter().flat_map(|r| r.measurements.iter().map(|m| (r.trial.number, m))).collect();
        let mut table = Self::default();
        table.add("trial", Column::Int(rows.iter().map(|(number, _)| Some((*number).into())).collect()));
        table.add("step", Column::Int(rows.iter().map(|(_, m)| Some(m.step as i64)).collect()));
        table.add("seconds", Column::Float(rows.iter().map(|(_, m)| Some(m.seconds)).collect()));
        let names: BTreeSet<&String> = rows.iter().flat_map(|(_, m)| m.metrics.keys()).collect();
        for name in &names {
            let values = rows.iter().map(|(_, m)| m.metrics.get(*name).copied().flatten()).collect();
            table.add(metric_column(name, &names), Column::Float(values));
        }
        table
    }
}

/// The column of a metric in a row for each measurement.
fn metric_column(metric: &str, metrics: &BTreeSet<&String>) -> String {
    let mut column = metric.to_string();
    while ["trial", "step", "seconds"].contains(&column.as_str()) || (column != metric && metrics.contains(&column)) {
        column.insert_str(0, "metric_");
    }
    column
}

fn metrics(study: &RecordedStudy) -> BTreeSet<&String> {
    study.trials.iter().flat_map(|recorded| recorded.trial.summaries.keys()).collect()
}

/// Seeds are numbers if all of them fit into a signed one, and else texts.
fn seeds(seeds: impl Iterator<Item = u64> + Clone) -> Column {
    let numbers: Option<Vec<i64>> = seeds.clone().map(|seed| i64::try_from(seed).ok()).collect();
    match numbers {
        Some(numbers) => Column::Int(numbers.into_iter().map(Some).collect()),
        None => Column::Text(seeds.map(|seed| Some(seed.to_string())).collect()),
    }
}

/// The narrowest column that holds the values.
fn of_values(values: &[Option<&Value>]) -> Column {
    let present: Vec<&Value> = values.iter().flatten().copied().filter(|v| **v != Value::Null).collect();
    let all = |test: fn(&Value) -> bool| present.iter().all(|value| test(value));
    if !present.is_empty() && all(|v| matches!(v, Value::Int(_))) {
        return Column::Int(values.iter().map(|v| v.and_then(Value::as_i64)).collect());
    }
    if !present.is_empty() && all(|v| v.as_f64().is_some()) {
        return Column::Float(values.iter().map(|v| v.and_then(Value::as_f64)).collect());
    }
    if !present.is_empty() && all(|v| matches!(v, Value::Bool(_))) {
        let flag = |v: &Value| if let Value::Bool(b) = v { Some(*b) } else { None };
        return Column::Bool(values.iter().map(|v| v.and_then(flag)).collect());
    }
    let text = |v: &Value| (*v != Value::Null).then(|| v.to_string());
    Column::Text(values.iter().map(|v| v.and_then(text)).collect())
}

/// Writes a table as CSV. A cell without a value is empty.
pub fn write_csv(path: &Path, table: &Table) -> Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(table.columns.iter().map(|(name, _)| name))?;
    let text = |column: &Column, row: usize| -> String {
        let cell = match column {
            Column::Int(values) => values[row].map(|x| x.to_string()),
            // The shortest text that reads back exactly.
            Column::Float(values) => values[row].map(|x| format!("{x:?}")),
            Column::Bool(values) => values[row].map(|b| b.to_string()),
            Column::Text(values) => values[row].clone(),
            Column::Time(values) => values[row].and_then(|micros| crate::time::iso(micros as f64 / 1e6)),
        };
        cell.unwrap_or_default()
    };
    for row in 0..table.rows() {
        writer.write_record(table.columns.iter().map(|(_, column)| text(column, row)))?;
    }
    writer.flush()?;
    Ok(())
}

impl Table {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| match column {
            Column::Int(values) | Column::Time(values) => values.len(),
            Column::Float(values) => values.len(),
            Column::Bool(values) => values.len(),
            Column::Text(values) => values.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::testing::study_with_branches;

    fn names(table: &Table) -> Vec<&str> {
        table.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_name_in_two_branches_has_two_columns_and_another_one_its_plain_name() {
        let table = Table::of_trials(&study_with_branches());
        let params: Vec<&str> = names(&table).into_iter().filter(|name| name.starts_with("params_")).collect();
        let expected = ["params_optimizer", "params_optimizer=sgd/lr", "params_momentum", "params_optimizer=adam/lr"];
        assert_eq!(params, expected);
        let has = |name: &str, column| table.columns.contains(&(name.to_string(), column));
        assert!(has("params_optimizer=sgd/lr", Column::Float(vec![Some(0.5), None])), "{table:?}");
        assert!(has("params_optimizer=adam/lr", Column::Float(vec![None, Some(0.01)])), "{table:?}");
    }

    #[test]
    fn a_metric_with_the_name_of_a_column_has_another_one() {
        let mut study = study_with_branches();
        let table = Table::of_measurements(&study);
        assert_eq!(names(&table), ["trial", "step", "seconds", "loss", "metric_seconds"]);
        assert_eq!(table.columns[4].1, Column::Float(vec![Some(7.0), Some(7.0)]));
        study.trials[0].measurements[0].metrics.insert("metric_seconds".into(), Some(1.0));
        let table = Table::of_measurements(&study);
        assert_eq!(names(&table)[3..], ["loss", "metric_seconds", "metric_metric_seconds"]);
        assert_eq!(table.columns[4].1, Column::Float(vec![Some(1.0), None]), "the metric of that name keeps it");
    }
}
