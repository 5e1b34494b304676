//! `configurations FILE.csv` and `configuration hp=v, …`: configurations that the user gives (Playbook D9). They are
//! checked against the declared space before anything trains.

use super::plan::SweepPlan;
use crate::error::{ErrorName, MagicError, Result, Source, Span};
use crate::files::{expand, problem};
use crate::magic::Context;
use crate::syntax::{GivenConfigurations, SweepBody, Word};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{Distribution, Params, Value, WorkloadDescription};

/// A value that was given for a hyperparameter.
struct Cell {
    name: String,
    value: Value,
    /// The characters of the magic at which an error points.
    span: Span,
    /// The column of a file, from 1.
    column: Option<usize>,
}

/// A configuration as the user gave it: the values of a line of the cell, or of a row of a file.
pub struct Row {
    cells: Vec<Cell>,
    span: Span,
    /// The file and its line, for errors.
    place: Option<(String, u64)>,
}

/// Reads the given configurations, in the order in which they are given.
pub fn rows(context: &Context, source: &Source, body: &SweepBody) -> Result<Vec<Row>> {
    let mut rows = vec![];
    for given in &body.configurations {
        match given {
            GivenConfigurations::File(file) => rows.extend(read(context, source, &file.value, file.span.clone())?),
            GivenConfigurations::Line(values, span) => rows.push(Row {
                cells: values
                    .iter()
                    .map(|(name, value)| Cell {
                        name: name.value.clone(),
                        value: value.value.clone(),
                        span: name.span.start..value.span.end,
                        column: None,
                    })
                    .collect(),
                span: span.clone(),
                place: None,
            }),
        }
    }
    Ok(rows)
}

/// Adds the given configurations to a plan.
pub fn add(
    source: &Source,
    body: &SweepBody,
    rows: &[Row],
    description: Option<&WorkloadDescription>,
    plan: &mut SweepPlan,
) -> Result<()> {
    let Some(first) = body.configurations.first() else { return Ok(()) };
    let span = match first {
        GivenConfigurations::File(file) => file.span.clone(),
        GivenConfigurations::Line(_, span) => span.clone(),
    };
    if plan.definition.sampler == SamplerKind::Grid {
        let message = "a grid has its own configurations, and none can be given";
        let help = "remove `--sampler grid`, or these lines".to_string();
        return Err(source.syntax_error(span, message, Some(help)));
    }
    let mut given: Vec<Params> = vec![];
    for row in rows {
        let params = configuration(source, plan, description, row)?;
        if let Some(earlier) = given.iter().position(|earlier| *earlier == params) {
            let message = format!("this configuration is the same as the given configuration {}", earlier + 1);
            let help = "remove one of them; `--repeats N` trains each configuration with several seeds";
            return Err(row.error(source, None, message, Some(help.into())));
        }
        given.push(params);
    }
    plan.definition.given = given;
    Ok(())
}

/// Reads the rows of a file. An empty field gives no value.
fn read(context: &Context, source: &Source, file: &str, span: Span) -> Result<Vec<Row>> {
    let path = expand(context, file);
    let word = Word { text: file.into(), span: span.clone(), quoted: true };
    let bytes = std::fs::read(&path).map_err(|error| problem(source, &word, &path, "read", &error))?;
    let bad = |message: String| source.error(ErrorName::InvalidValue, span.clone(), message, None);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes.as_slice());
    let header = reader.headers().map_err(|error| bad(format!("`{file}` cannot be read as CSV: {error}")))?.clone();
    if header.iter().all(str::is_empty) {
        return Err(bad(format!("`{file}` is empty: its first line has the names of hyperparameters")));
    }
    for (i, name) in header.iter().enumerate() {
        if let Some(earlier) = header.iter().take(i).position(|earlier| earlier == name) {
            let (at, earlier) = (i + 1, earlier + 1);
            return Err(bad(format!("`{file}`, line 1, column {at}: `{name}` is the name of column {earlier} too")));
        }
    }
    let mut rows = vec![];
    for record in reader.records() {
        let record = record.map_err(|error| bad(format!("`{file}` cannot be read as CSV: {error}")))?;
        let line = record.position().map_or(0, |position| line_of(&bytes, position));
        if record.len() != header.len() {
            let (has, needs) = (record.len(), header.len());
            return Err(bad(format!("`{file}`, line {line}: it has {has} fields, and the header has {needs}")));
        }
        let fields = header.iter().zip(&record).enumerate().filter(|(_, (_, field))| !field.is_empty());
        let cells = fields.map(|(i, (name, field))| Cell {
            name: name.into(),
            value: value(field),
            span: span.clone(),
            column: Some(i + 1),
        });
        rows.push(Row { cells: cells.collect(), span: span.clone(), place: Some((file.into(), line)) });
    }
    if rows.is_empty() {
        return Err(bad(format!("`{file}` has no configuration below its header")));
    }
    Ok(rows)
}

/// The line of a record, from 1. The reader's position is before the blank lines that it skips.
fn line_of(bytes: &[u8], position: &csv::Position) -> u64 {
    let rest = bytes.get(position.byte() as usize..).unwrap_or(&[]);
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|byte| **byte == b'\n');
    position.line() + blank.count() as u64
}

/// A field as a value: a whole number, a finite number, true or false, or text.
fn value(field: &str) -> Value {
    let number = || field.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::Float);
    match field {
        "true" | "True" => Value::Bool(true),
        "false" | "False" => Value::Bool(false),
        _ => field.parse().ok().map(Value::Int).or_else(number).unwrap_or_else(|| Value::Text(field.into())),
    }
}

impl Row {
    /// An error about the row, or about one of its cells.
    fn error(&self, source: &Source, cell: Option<&Cell>, message: String, help: Option<String>) -> MagicError {
        let column = cell.and_then(|cell| cell.column).map_or(String::new(), |column| format!(", column {column}"));
        let message = match &self.place {
            Some((file, line)) => format!("`{file}`, line {line}{column}: {message}"),
            None => message,
        };
        let span = cell.map_or(&self.span, |cell| &cell.span);
        source.error(ErrorName::InvalidValue, span.clone(), message, help)
    }
}

/// Returns the active hyperparameters of a row, each in the type of its declaration.
fn configuration(
    source: &Source,
    plan: &SweepPlan,
    description: Option<&WorkloadDescription>,
    row: &Row,
) -> Result<Params> {
    let space = &plan.definition.space;
    for (i, cell) in row.cells.iter().enumerate() {
        let name = &cell.name;
        if space.named(name).next().is_none() {
            let message = format!("`{name}` is not declared");
            let help = format!("declare it: `nuisance {name} ~ …`, `scientific {name} in […]` or `fixed {name} = v`");
            return Err(row.error(source, Some(cell), message, Some(help)));
        }
        if row.cells[..i].iter().any(|earlier| earlier.name == *name) {
            return Err(row.error(source, Some(cell), format!("`{name}` is given twice"), None));
        }
    }
    let mut params = Params::new();
    for hyperparameter in space.hyperparameters() {
        if !hyperparameter.is_active(&params) {
            continue;
        }
        let (name, distribution) = (&hyperparameter.name, &hyperparameter.distribution);
        let cell = row.cells.iter().find(|cell| cell.name == *name);
        let value = match (cell, distribution) {
            (None, Distribution::Constant { value }) => value.clone(),
            (None, _) => {
                let message = format!("`{}` has no value here, and it is not fixed", hyperparameter.label());
                let help = format!("add its value, or declare `fixed {name} = v`");
                return Err(row.error(source, None, message, Some(help)));
            }
            (Some(cell), _) => {
                let known = description.and_then(|description| description.hyperparameter(name));
                let typed = match known {
                    Some(known) => {
                        known.accept(&cell.value).map_err(|e| row.error(source, Some(cell), e.to_string(), None))?
                    }
                    None => cell.value.clone(),
                };
                declared(distribution, &typed).ok_or_else(|| {
                    let label = hyperparameter.label();
                    let message = format!("`{label}` is {} here, and it is declared {distribution}", cell.value);
                    row.error(source, Some(cell), message, None)
                })?
            }
        };
        params.insert(name.clone(), value);
    }
    if let Some(cell) = row.cells.iter().find(|cell| !params.contains_key(&cell.name)) {
        let message =
            format!("`{}` has a value here, and its condition does not hold in this configuration", cell.name);
        return Err(row.error(source, Some(cell), message, Some("leave its value out".into())));
    }
    Ok(params)
}

/// The value as the distribution has it: in its type. None if it is not one of its values.
fn declared(distribution: &Distribution, value: &Value) -> Option<Value> {
    use Distribution::*;
    let real = || value.as_f64().map(Value::Float);
    let value = match distribution {
        Choice { values } => values.iter().find(|known| known.same_as(value)).cloned(),
        Constant { value: known } => known.same_as(value).then(|| known.clone()),
        Uniform { .. } | LogUniform { .. } | OneMinusLogUniform { .. } => real(),
        Int { .. } | LogInt { .. } => value.as_i64().map(Value::Int),
    }?;
    distribution.to_unit(&value).is_some().then_some(value)
}
