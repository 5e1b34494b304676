//! `configurations FILE.csv` and `configuration hp=v, …`: configurations that the user gives (Playbook D9). They are
//! checked against the declared space before anything trains.

use super::plan::{SweepPlan, near_choice, near_value};
use crate::error::{ErrorName, MagicError, Result, Source, Span, suggest};
use crate::files::{expand, problem};
use crate::magic::Context;
use crate::syntax::{GivenConfigurations, SweepBody, Word};
use tunebook_analysis::counted;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::workload::ValueError;
use tunebook_study::{
    Distribution, Hyperparameter, Params, SearchSpace, Value, WorkloadDescription, WorkloadHyperparameter,
};

/// A value that was given for a hyperparameter.
struct Cell {
    /// The plain name of the hyperparameter, or its label, which names one branch: `optimizer=adam/lr`.
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

impl Cell {
    fn is_for(&self, hyperparameter: &Hyperparameter) -> bool {
        self.name == hyperparameter.name || self.name == hyperparameter.label()
    }
}

/// A configuration as the user gave it: the values of a line of the cell, or of a row of a file.
pub struct Row {
    cells: Vec<Cell>,
    span: Span,
    /// Where it stands in a file, for errors.
    place: Option<Place>,
}

/// A row of a file.
#[derive(Clone)]
struct Place {
    file: String,
    line: u64,
    /// The line of the names.
    header: u64,
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
        let params = configuration(source, &plan.definition.space, description, row)?;
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

/// Reads the rows of a file.
fn read(context: &Context, source: &Source, file: &str, span: Span) -> Result<Vec<Row>> {
    let path = expand(context, file);
    let word = Word { text: file.into(), span: span.clone(), quoted: true };
    let bytes = std::fs::read(&path).map_err(|error| problem(source, &word, &path, "read", &error))?;
    let table =
        table(file, &bytes).map_err(|message| source.error(ErrorName::InvalidValue, span.clone(), message, None))?;
    let row = |TableRow { line, fields }| {
        let cell = |(column, field): (usize, String)| Cell {
            name: table.names[column].clone(),
            readings: readings(&field),
            shown: if field == field.trim() { field } else { format!("\"{field}\"") },
            span: span.clone(),
            column: Some(column + 1),
        };
        let place = Place { file: file.into(), line, header: table.header };
        Row { cells: fields.into_iter().map(cell).collect(), span: span.clone(), place: Some(place) }
    };
    Ok(table.rows.into_iter().map(row).collect())
}

/// The contents of a file. Blank lines are left out.
#[derive(Debug, PartialEq)]
struct Table {
    /// The line of the names, from 1.
    header: u64,
    /// The names of the columns.
    names: Vec<String>,
    rows: Vec<TableRow>,
}

/// A line of a file with values.
#[derive(Debug, PartialEq)]
struct TableRow {
    /// The line, from 1.
    line: u64,
    /// The fields that are not empty, each with its column, from 0. Each of these columns has a name.
    fields: Vec<(usize, String)>,
}

/// Reads the text of a file. The error is a message that says where the mistake is.
fn table(file: &str, bytes: &[u8]) -> std::result::Result<Table, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(format!("`{file}` is encoded in UTF-16, and it has to be UTF-8: save it again as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("`{file}`, line {line} is not UTF-8: save the file again as UTF-8")
    })?;
    let text = without_spaces_around_fields(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true);
    let mut lines = vec![];
    for record in reader.from_reader(text.as_bytes()).records() {
        let record = record.map_err(|error| format!("`{file}` cannot be read as CSV: {error}"))?;
        // A spreadsheet writes an empty row as commas.
        if record.iter().any(|field| !field.is_empty()) {
            let line = record.position().map_or(0, |position| line_of(text.as_bytes(), position));
            lines.push((line, record));
        }
    }
    let mut lines = lines.into_iter();
    let Some((header, first)) = lines.next() else {
        return Err(format!("`{file}` is empty: its first line has the names of hyperparameters"));
    };
    let separators = [("`;`", ';'), ("tabs", '\t')];
    let other = separators.into_iter().find(|(_, separator)| first.len() == 1 && first[0].contains(*separator));
    if let Some((written, separator)) = other {
        let example = first[0].split(separator).map(str::trim).collect::<Vec<_>>().join(",");
        return Err(format!(
            "`{file}`, line {header}: its fields are separated by {written}, and they have to be by commas: `{example}`"
        ));
    }
    let mut names: Vec<String> = first.iter().map(String::from).collect();
    for (i, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(earlier) = names[..i].iter().position(|earlier| earlier == name) {
            let (at, earlier) = (i + 1, earlier + 1);
            return Err(format!("`{file}`, line {header}, column {at}: `{name}` is the name of column {earlier} too"));
        }
    }
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    let mut rows = vec![];
    for (line, record) in lines {
        let fields = record.iter().enumerate().filter(|(_, field)| !field.is_empty());
        let fields: Vec<(usize, String)> = fields.map(|(column, field)| (column, field.to_string())).collect();
        let beyond = fields.iter().any(|(column, _)| *column >= first.len());
        if record.len() < names.len() || beyond {
            let (has, needs) = (counted(record.len(), "field"), names.len());
            return Err(format!("`{file}`, line {line}: it has {has}, and the header has {needs}"));
        }
        let has_name = |column: usize| names.get(column).is_some_and(|name| !name.is_empty());
        if let Some((column, field)) = fields.iter().find(|(column, _)| !has_name(*column)) {
            return Err(format!(
                "`{file}`, line {line}, column {}: `{field}` stands in a column without a name: write the name of its \
                 hyperparameter in line {header}, or remove the value",
                column + 1
            ));
        }
        rows.push(TableRow { line, fields });
    }
    if rows.is_empty() {
        return Err(format!("`{file}` has no configuration below its header"));
    }
    Ok(Table { header, names, rows })
}

/// A text without the spaces around its fields. Spaces inside quotes belong to a field. The CSV reader would take a
/// quote after a space for a part of the field, and if it removed spaces, it would do so inside quotes too.
fn without_spaces_around_fields(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // The field ends at `end`, except if more than spaces follow.
    let (mut begins, mut is_quoted, mut end) = (true, false, 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let was_quoted = is_quoted;
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => kept.extend(chars.next()),
            '"' => is_quoted = begins,
            ',' | '\n' | '\r' if !is_quoted => kept.truncate(end),
            _ if begins && c.is_whitespace() => continue,
            _ => {}
        }
        kept.push(c);
        begins = !was_quoted && matches!(c, ',' | '\n' | '\r');
        if was_quoted || begins || !c.is_whitespace() {
            end = kept.len();
        }
    }
    kept.truncate(end);
    kept
}

/// The line of a record, from 1. The reader's position is before the blank lines that it skips.
fn line_of(bytes: &[u8], position: &csv::Position) -> u64 {
    let rest = bytes.get(position.byte() as usize..).unwrap_or(&[]);
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|byte| **byte == b'\n');
    position.line() + blank.count() as u64
}

/// What a field of a file can be read as: a whole number, a finite number, or true or false, if it looks like one, and
/// text. A file does not say whether `1` is a number or a word, so the declaration decides. Spaces inside quotes are
/// part of a text only.
fn readings(field: &str) -> Vec<Value> {
    let trimmed = field.trim();
    let number = || trimmed.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::Float);
    let looks_like = match trimmed {
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        _ => trimmed.parse().ok().map(Value::Int).or_else(number),
    };
    looks_like.into_iter().chain([Value::Text(field.into())]).collect()
}

impl Row {
    /// An error about the row, or about one of its cells.
    fn error(&self, source: &Source, cell: Option<&Cell>, message: String, help: Option<String>) -> MagicError {
        let column = cell.and_then(|cell| cell.column).map_or(String::new(), |column| format!(", column {column}"));
        let message = match &self.place {
            Some(Place { file, line, .. }) => format!("`{file}`, line {line}{column}: {message}"),
            None => message,
        };
        let span = cell.map_or(&self.span, |cell| &cell.span);
        source.error(ErrorName::InvalidValue, span.clone(), message, help)
    }
}

/// Returns the active hyperparameters of a row, each in the type of its declaration.
fn configuration(
    source: &Source,
    space: &SearchSpace,
    description: Option<&WorkloadDescription>,
    row: &Row,
) -> Result<Params> {
    for (i, cell) in row.cells.iter().enumerate() {
        let name = &cell.name;
        if !space.hyperparameters().iter().any(|h| cell.is_for(h)) {
            let message = format!("`{name}` is not declared");
            let labels: Vec<String> = space.hyperparameters().iter().map(Hyperparameter::label).collect();
            let help = match name.contains('=') {
                true => suggest(name, labels.iter().map(String::as_str)),
                false => {
                    Some(format!("declare it: `nuisance {name} ~ …`, `scientific {name} in […]` or `fixed {name} = v`"))
                }
            };
            // In a file, its name stands in the header.
            let place = row.place.clone().map(|place| Place { line: place.header, ..place });
            let named = Row { cells: vec![], span: row.span.clone(), place };
            return Err(named.error(source, Some(cell), message, help));
        }
        if row.cells[..i].iter().any(|earlier| earlier.name == *name) {
            return Err(row.error(source, Some(cell), format!("`{name}` is given twice"), None));
        }
    }
    let mut params = Params::new();
    let mut unused: Vec<&Cell> = row.cells.iter().collect();
    for hyperparameter in space.hyperparameters() {
        if !hyperparameter.is_active(&params) {
            continue;
        }
        let (name, distribution) = (&hyperparameter.name, &hyperparameter.distribution);
        let mut cells = row.cells.iter().filter(|cell| cell.is_for(hyperparameter));
        let cell = cells.next();
        if let (Some(first), Some(again)) = (cell, cells.next()) {
            let (label, first, second) = (hyperparameter.label(), &first.name, &again.name);
            let message = format!("`{label}` is given twice, as `{first}` and as `{second}`");
            return Err(row.error(source, Some(again), message, Some("leave one of them out".into())));
        }
        unused.retain(|cell| !cell.is_for(hyperparameter));
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
                    let help = match (&refused, known, distribution) {
                        (Some(_), Some(known), _) => cell.readings.iter().find_map(|value| near_choice(value, known)),
                        (None, _, Distribution::Choice { values }) => near_value(&cell.shown, values.iter().cloned()),
                        _ => None,
                    };
                    let message = match refused {
                        Some(refused) => refused.to_string(),
                        None => {
                            let label = hyperparameter.label();
                            format!("`{label}` is {} here, and it is declared {distribution}", cell.shown)
                        }
                    };
                    row.error(source, Some(cell), message, help)
                })?
            }
        };
        params.insert(name.clone(), value);
    }
    if let Some(cell) = unused.first().copied() {
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
    use crate::testing::branches;

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
    fn booleans_are_read_as_spreadsheets_write_them() {
        let flag = Distribution::Choice { values: vec![true.into(), false.into()] };
        for (field, value) in [("TRUE", true), ("FALSE", false), ("true", true), ("False", false)] {
            assert_eq!(read(&flag, field), Some(value.into()), "{field}");
        }
        assert_eq!(read(&list(&["TRUE", "FALSE"]), "TRUE"), Some("TRUE".into()), "the list has words");
        assert_eq!(read(&Distribution::constant(false.into()), "FALSE"), Some(false.into()));
    }

    /// The fields of a file by their names, and the lines of its rows.
    fn fields(text: &str) -> Vec<(u64, Vec<(String, String)>)> {
        let table = table("g.csv", text.as_bytes()).unwrap();
        let named = |(column, field): (usize, String)| (table.names[column].clone(), field);
        table.rows.into_iter().map(|row| (row.line, row.fields.into_iter().map(named).collect())).collect()
    }

    fn row(line: u64, fields: &[(&str, &str)]) -> (u64, Vec<(String, String)>) {
        (line, fields.iter().map(|(name, field)| (name.to_string(), field.to_string())).collect())
    }

    fn refused(text: &str) -> String {
        table("g.csv", text.as_bytes()).unwrap_err()
    }

    #[test]
    fn blank_lines_and_rows_of_commas_are_left_out() {
        let expected = [row(3, &[("lr", "0.1"), ("act", "relu")]), row(7, &[("lr", "0.2"), ("act", "tanh")])];
        assert_eq!(fields("lr,act\n   \n0.1,relu\n\n,\n , ,\n0.2,tanh\n,\n\n"), expected);
        let found = table("g.csv", b"\n,,\nlr,act\r\n\r\n0.1,relu\r\n").unwrap();
        assert_eq!((found.header, found.rows[0].line), (3, 5));
        assert!(refused("  \n,,\n").contains("`g.csv` is empty"));
        assert!(refused("lr\n,\n").contains("no configuration below its header"));
    }

    #[test]
    fn a_file_in_another_encoding_is_told_with_its_line() {
        let latin = table("g.csv", b"optimizer,lr\nadam,0.1\nad\xe4m,0.1\n").unwrap_err();
        assert_eq!(latin, "`g.csv`, line 3 is not UTF-8: save the file again as UTF-8");
        let wide = table("g.csv", b"\xff\xfea\0").unwrap_err();
        assert!(wide.contains("UTF-16") && wide.contains("save it again as UTF-8"), "{wide}");
    }

    #[test]
    fn a_quote_may_stand_after_a_space() {
        let text = "lr, \"act\"\n0.1, \"relu\"\n0.2,\t \"a, \"\"b\"\"\" \n \"0.3\" ,a \"b\"\n\
                    \"0.4\",\"two\n \"\"lines\"\"\"\n";
        let expected = [
            row(2, &[("lr", "0.1"), ("act", "relu")]),
            row(3, &[("lr", "0.2"), ("act", "a, \"b\"")]),
            row(4, &[("lr", "0.3"), ("act", "a \"b\"")]),
            row(5, &[("lr", "0.4"), ("act", "two\n \"lines\"")]),
        ];
        assert_eq!(fields(text), expected);
        assert_eq!(fields("\u{feff}\"lr\"\n0.1\n"), [row(2, &[("lr", "0.1")])], "after a mark of the encoding");
    }

    #[test]
    fn spaces_inside_quotes_belong_to_the_field() {
        let text = "model , lr\n\" lead\" , \"0.5 \" \n a b\t,\"\"\n\"trail, \"\" \",0.5 ";
        let expected = [
            row(2, &[("model", " lead"), ("lr", "0.5 ")]),
            row(3, &[("model", "a b")]),
            row(4, &[("model", "trail, \" "), ("lr", "0.5")]),
        ];
        assert_eq!(fields(text), expected);
        assert_eq!(read(&list(&["x", " lead"]), " lead"), Some(" lead".into()));
        assert_eq!(read(&list(&["x", "lead"]), " lead"), None);
        assert_eq!(read(&Distribution::Uniform { low: 0.0, high: 1.0 }, "0.5 "), Some(0.5.into()));
    }

    #[test]
    fn columns_without_a_name_may_be_empty_only() {
        let expected = [row(2, &[("lr", "0.1"), ("act", "relu")]), row(3, &[("lr", "0.2"), ("act", "tanh")])];
        assert_eq!(fields("lr,act,,\n0.1,relu,,\n0.2,tanh\n"), expected);
        assert_eq!(fields("lr,,act\n0.1,,relu\n0.2,,tanh\n"), expected);
        assert_eq!(fields("lr,act\n0.1,relu,,\n0.2,tanh,\n"), expected);
        let error = refused("lr,act,,\n0.1,relu,,7\n");
        assert!(error.starts_with("`g.csv`, line 2, column 4: `7` stands in a column without a name"), "{error}");
        assert!(error.contains("in line 1, or remove the value"), "{error}");
        assert!(refused("lr,,act\n0.1,7,relu\n").contains("column 2: `7` stands in a column without a name"));
        assert!(refused("lr,act\n0.1,relu,7\n").contains("line 2: it has 3 fields, and the header has 2"));
        assert!(refused("lr,act,\n0.1\n").contains("line 2: it has 1 field, and the header has 2"));
        assert!(refused("lr,act,lr\n0.1,relu,1\n").contains("line 1, column 3: `lr` is the name of column 1 too"));
    }

    #[test]
    fn a_label_gives_the_value_of_one_branch() {
        let space =
            branches(Distribution::Uniform { low: 0.0, high: 1.0 }, Distribution::Uniform { low: 0.0, high: 0.1 });
        let source = Source::new("configurations g.csv", 0);
        let given = |values: &[(&str, &str)]| {
            let cell = |(name, value): &(&str, &str)| Cell {
                name: name.to_string(),
                readings: readings(value),
                shown: value.to_string(),
                span: 0..14,
                column: None,
            };
            let place = Place { file: "g.csv".into(), line: 4, header: 2 };
            let row = Row { cells: values.iter().map(cell).collect(), span: 0..14, place: Some(place) };
            configuration(&source, &space, None, &row).map_err(|error| error.message)
        };
        let params = |optimizer: &str, lr: f64| -> std::result::Result<Params, String> {
            Ok(Params::from([("optimizer".to_string(), optimizer.into()), ("lr".to_string(), lr.into())]))
        };
        assert_eq!(given(&[("optimizer", "adam"), ("optimizer=adam/lr", "0.05")]), params("adam", 0.05));
        assert_eq!(given(&[("optimizer", "sgd"), ("optimizer=sgd/lr", "0.5")]), params("sgd", 0.5));
        assert_eq!(given(&[("optimizer", "sgd"), ("lr", "0.5")]), params("sgd", 0.5), "the plain name is any branch");
        let other = given(&[("optimizer", "sgd"), ("lr", "0.5"), ("optimizer=adam/lr", "0.05")]).unwrap_err();
        assert!(other.contains("`optimizer=adam/lr` has a value here, and its condition does not hold"), "{other}");
        let twice = given(&[("optimizer", "adam"), ("lr", "0.05"), ("optimizer=adam/lr", "0.05")]).unwrap_err();
        assert!(twice.contains("is given twice, as `lr` and as `optimizer=adam/lr`"), "{twice}");
        let unknown = given(&[("optimizer", "adam"), ("optimizer=lion/lr", "0.05")]).unwrap_err();
        assert!(unknown.starts_with("`g.csv`, line 2: `optimizer=lion/lr` is not declared"), "{unknown}");
        let outside = given(&[("optimizer", "adam"), ("optimizer=adam/lr", "0.5")]).unwrap_err();
        assert!(outside.starts_with("`g.csv`, line 4: `optimizer=adam/lr` is 0.5 here"), "{outside}");
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
