//! `configurations FILE.csv` and `configuration hp=v, …`: configurations that the user gives (Playbook D9). They are
//! checked against the declared space before anything trains.

use super::plan::SweepPlan;
use crate::error::{ErrorName, MagicError, Result, Source, Span};
use crate::files::{expand, problem};
use crate::magic::Context;
use crate::syntax::{GivenConfigurations, SweepBody, Word};
use tunebook_analysis::counted;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::workload::ValueError;
use tunebook_study::{Distribution, Params, Value, WorkloadDescription, WorkloadHyperparameter};

/// A value that was given for a hyperparameter.
struct Cell {
    name: String,
    /// What the value can be read as. The first reading that the declaration has is the value.
    readings: Vec<Value>,
    /// The value as it was written.
    shown: String,
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
                        readings: vec![value.value.clone()],
                        shown: value.value.declared(),
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
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(bad(format!("`{file}` is encoded in UTF-16, and it has to be UTF-8: save it again as UTF-8")));
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes.as_slice());
    let header = reader.headers().map_err(|error| bad(format!("`{file}` cannot be read as CSV: {error}")))?.clone();
    if header.iter().all(str::is_empty) {
        return Err(bad(format!("`{file}` is empty: its first line has the names of hyperparameters")));
    }
    let separators = [("`;`", ';'), ("tabs", '\t')];
    let other = separators.into_iter().find(|(_, separator)| header.len() == 1 && header[0].contains(*separator));
    if let Some((written, separator)) = other {
        let example = header[0].split(separator).map(str::trim).collect::<Vec<_>>().join(",");
        return Err(bad(format!(
            "`{file}`, line 1: its fields are separated by {written}, and they have to be by commas: `{example}`"
        )));
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
            let has = counted(has, "field");
            return Err(bad(format!("`{file}`, line {line}: it has {has}, and the header has {needs}")));
        }
        let fields = header.iter().zip(&record).enumerate().filter(|(_, (_, field))| !field.is_empty());
        let cells = fields.map(|(i, (name, field))| Cell {
            name: name.into(),
            readings: readings(field),
            shown: field.into(),
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

/// What a field of a file can be read as: a whole number, a finite number, or true or false, if it looks like one, and
/// text. A file does not say whether `1` is a number or a word, so the declaration decides.
fn readings(field: &str) -> Vec<Value> {
    let number = || field.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::Float);
    let looks_like = match field {
        "true" | "True" => Some(Value::Bool(true)),
        "false" | "False" => Some(Value::Bool(false)),
        _ => field.parse().ok().map(Value::Int).or_else(number),
    };
    looks_like.into_iter().chain([Value::Text(field.into())]).collect()
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
            // In a file, its name stands in the header.
            let place = row.place.as_ref().map(|(file, _)| (file.clone(), 1));
            let named = Row { cells: vec![], span: row.span.clone(), place };
            return Err(named.error(source, Some(cell), message, Some(help)));
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
                typed(distribution, known, &cell.readings).map_err(|refused| {
                    let message = match refused {
                        Some(refused) => refused.to_string(),
                        None => {
                            let label = hyperparameter.label();
                            format!("`{label}` is {} here, and it is declared {distribution}", cell.shown)
                        }
                    };
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

/// The first reading that the workload accepts and the distribution has, in its type. The error says why the workload
/// refuses the value; None says that only the distribution does not have it.
fn typed(
    distribution: &Distribution,
    known: Option<&WorkloadHyperparameter>,
    readings: &[Value],
) -> std::result::Result<Value, Option<ValueError>> {
    let (mut refused, mut is_accepted) = (None, false);
    for reading in readings {
        match known.map_or_else(|| Ok(reading.clone()), |known| known.accept(reading)) {
            Ok(accepted) => {
                is_accepted = true;
                if let Some(value) = declared(distribution, &accepted) {
                    return Ok(value);
                }
            }
            // A value outside the domain has the right type, so its error says more than one about the type.
            Err(error) if refused.is_none() || matches!(error, ValueError::Domain { .. }) => refused = Some(error),
            Err(_) => {}
        }
    }
    Err(refused.filter(|_| !is_accepted))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Distribution {
        Distribution::Choice { values: values.iter().map(|value| (*value).into()).collect() }
    }

    /// The value of a field under a declaration, without a workload that declares types.
    fn read(distribution: &Distribution, field: &str) -> Option<Value> {
        typed(distribution, None, &readings(field)).ok()
    }

    #[test]
    fn a_field_is_read_in_the_type_of_its_declaration() {
        let words = list(&["1", "2.0", "1e-3", "true", "False", "relu"]);
        for word in ["1", "2.0", "1e-3", "true", "False", "relu"] {
            assert_eq!(read(&words, word), Some(word.into()), "{word}");
        }
        assert_eq!(read(&words, "2"), None, "the list has the word 2.0 only");
        assert_eq!(read(&Distribution::constant("1".into()), "1"), Some("1".into()));
        let whole = Distribution::Choice { values: vec![1.into(), 2.into()] };
        assert_eq!(read(&whole, "1"), Some(1.into()));
        assert_eq!(read(&whole, "1.0"), Some(1.into()), "numbers are compared by their value");
        assert_eq!(read(&whole, "3"), None);
        let real = Distribution::Uniform { low: 0.0, high: 2.0 };
        assert_eq!(read(&real, "1"), Some(1.0.into()));
        assert_eq!(read(&real, "one"), None);
        assert_eq!(read(&Distribution::Int { low: 1, high: 5 }, "1e0"), Some(1.into()));
        assert_eq!(read(&Distribution::constant(true.into()), "True"), Some(true.into()));
        let both = Distribution::Choice { values: vec!["1".into(), 1.into()] };
        assert_eq!(read(&both, "1"), Some(1.into()), "a number comes before a word");
    }

    #[test]
    fn a_workload_says_the_type_and_why_it_refuses_a_value() {
        let (name, words) = (WorkloadHyperparameter::text("name", "a"), list(&["1", "2"]));
        assert_eq!(typed(&words, Some(&name), &readings("1")), Ok("1".into()));
        assert_eq!(typed(&words, Some(&name), &readings("3")), Err(None), "only the list does not have it");
        let kind = WorkloadHyperparameter::choice("kind", &["1", "2"]);
        assert_eq!(typed(&words, Some(&kind), &readings("2")), Ok("2".into()));
        let refused = typed(&words, Some(&kind), &readings("3"));
        assert!(matches!(refused, Err(Some(ValueError::Domain { .. }))), "{refused:?}");
        let rate = WorkloadHyperparameter::real("lr", 0.0..=1.0, 0.1);
        let range = Distribution::Uniform { low: 0.0, high: 1.0 };
        assert_eq!(typed(&range, Some(&rate), &readings("1")), Ok(1.0.into()));
        let refused = typed(&range, Some(&rate), &readings("much"));
        assert!(matches!(refused, Err(Some(ValueError::Type { .. }))), "{refused:?}");
        let refused = typed(&range, Some(&rate), &readings("2"));
        assert!(matches!(refused, Err(Some(ValueError::Domain { .. }))), "{refused:?}");
    }
}
