//! `%who [TYPE…]` and `%whos [TYPE…]`: list the variables of Rust cells.

use crate::error::Result;
use crate::host::session::{Session, Variable};
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, bytes};
use crate::rust::{DebugValue, short_type};
use serde::Serialize;
use serde_json::json;

/// How many characters of a value are shown.
const PREVIEW: usize = 60;

pub const WHO: Magic = Magic {
    name: "who",
    line: true,
    body: None,
    usage: "%who [TYPE…]",
    example: "let learning_rate = 0.1;\n%who",
    summary: "List the names of all variables of Rust cells",
    help: "With types, it lists only variables of these types: `%who Vec f64` lists every `Vec<…>` and every `f64`.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse: |invocation| parse(invocation, false),
};

pub const WHOS: Magic = Magic {
    name: "whos",
    line: true,
    body: None,
    usage: "%whos [TYPE…]",
    example: "let learning_rates = vec![0.1, 0.3];\n%whos",
    summary: "List all variables of Rust cells with type, size and the beginning of the value",
    help: "The size is that of the variable and of all that it owns, as far as it is known: that is, of strings, \
        vectors, boxes, maps and sets of the standard library, and of tensors. `≥` marks the size of a variable that \
        may own more. The value is the beginning of its Debug text, if the type has one. Nothing is moved or copied.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse: |invocation| parse(invocation, true),
};

struct Who {
    /// The types to list, without paths. If empty, all variables are listed.
    kinds: Vec<String>,
    /// Whether this is `%whos`.
    details: bool,
}

fn parse(Invocation { arguments, .. }: Invocation, details: bool) -> Result<Box<dyn Command>> {
    let mut kinds: Vec<String> = vec![];
    for word in &arguments.positional {
        // A type with a space (`HashMap<String, f64>`) consists of several words, which are joined until all `<` are
        // closed.
        let open = |kind: &String| kind.matches('<').count() > kind.replace("->", "").matches('>').count();
        match kinds.last_mut().filter(|kind| open(kind)) {
            Some(kind) => *kind += &format!(" {}", word.text),
            None => kinds.push(word.text.clone()),
        }
    }
    let kinds = kinds.iter().map(|kind| short_type(kind)).collect();
    Ok(Box::new(Who { kinds, details }))
}

impl Who {
    /// Whether a variable is listed. Its type can be named with or without its parameters.
    fn selects(&self, variable: &Variable) -> bool {
        let kind = short_type(&variable.kind);
        let head = kind.split(['<', ' ', '[', '(']).next().unwrap_or_default();
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| *wanted == kind || wanted == head)
    }
}

/// A row of `%whos`. `bytes` and `value` are None if they are unknown.
#[derive(Debug, Default, PartialEq, Serialize)]
struct VariableRow {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// The size with what the variable owns.
    bytes: Option<u64>,
    /// Whether the size is exact. Otherwise it is a lower bound.
    exact: bool,
    /// The beginning of its value.
    value: Option<String>,
}

impl Command for Who {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        let mut variables = session.variables()?;
        let none = if variables.is_empty() { "There are no variables yet." } else { "No variable has such a type." };
        variables.retain(|variable| self.selects(variable));
        if variables.is_empty() {
            output.print(Stream::Stdout, &format!("{none}\n"));
            return Ok(());
        }
        if !self.details {
            let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
            output.print(Stream::Stdout, &format!("{}\n", names.join("\t")));
            return Ok(());
        }
        let variables = look(session, &variables);
        let mut rows = Rows::new(&["variable", "type", "size", "value"]);
        for variable in &variables {
            let size = variable.bytes.map_or("–".into(), bytes);
            let size = if variable.exact || variable.bytes.is_none() { size } else { format!("≥ {size}") };
            let value = variable.value.clone().unwrap_or_default();
            rows.row(vec![variable.name.clone(), variable.kind.clone(), size, value]);
        }
        Report::new("variables", &json!({ "variables": variables })).table(&rows).show(&context.charts, output);
        Ok(())
    }
}

/// Finds sizes and values with one generated cell. If the cell cannot be run, the rows have only names and types.
fn look(session: &dyn Session, variables: &[Variable]) -> Vec<VariableRow> {
    let items = session.items().unwrap_or_default();
    let imported = items.iter().any(|item| item.name == "Tensor" && item.code.contains("tch::"));
    let is_tensor = |kind: &str| kind == "tch::Tensor" || (kind == "Tensor" && imported);
    let answer = session.run(&generated(variables, is_tensor), 0, true).ok().and_then(|ran| DebugValue::of(&ran));
    let rows = answer.as_ref().map_or(&[] as &[DebugValue], DebugValue::items);
    let row_of = |variable: &Variable| {
        let kind = short_type(&variable.kind);
        let mut known = VariableRow { name: variable.name.clone(), kind, ..VariableRow::default() };
        let row = rows
            .iter()
            .map(DebugValue::items)
            .find(|row| row.first().and_then(DebugValue::text) == Some(&variable.name));
        if let Some([_, bytes, exact, value]) = row {
            known.bytes = bytes.number().map(|bytes| bytes as u64);
            known.exact = exact.is_true();
            known.value = value.text().map(shortened);
        }
        known
    };
    variables.iter().map(row_of).collect()
}

/// The cell that measures the variables. Its value is a list of rows: name, bytes, exact, value.
fn generated(variables: &[Variable], is_tensor: impl Fn(&str) -> bool) -> String {
    let row = |Variable { name, kind }: &Variable| {
        let heap = match is_tensor(kind) {
            // The data of a tensor is behind a pointer of libtorch.
            true => format!(
                "(if {name}.defined() {{ {name}.numel() * {name}.kind().elt_size_in_bytes() }} else {{ 0 }}, true)"
            ),
            false => format!("(&&&Look(&{name})).heap_of()"),
        };
        format!("tunebook_looking::row({name:?}, &{name}, {heap}, (&&Look(&{name})).preview()),\n")
    };
    let rows: String = variables.iter().map(row).collect();
    format!(
        "{{\n#[allow(dead_code)]\nmod tunebook_looking {{\n{}\n{}\n}}\n#[allow(unused_imports)]\nuse \
         tunebook_looking::{{ByDebug, ByHeap, ByName, ByNothing, ByShallow, \
         Look}};\ntunebook_looking::Answer(::std::vec![\n{rows}])\n}}",
        include_str!("../rust/generated/answer.rs"),
        include_str!("../rust/generated/looking.rs")
    )
}

/// The text as one line of at most [`PREVIEW`] characters.
fn shortened(value: &str) -> String {
    let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(PREVIEW) {
        None => line,
        Some(_) => line.chars().take(PREVIEW - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use crate::error::{ErrorName, MagicError};
    use crate::host::RESULT_MIME;
    use crate::testing::{Cells, FakeHost, Shown, run};

    const VARIABLES: [(&str, &str); 3] =
        [("a", "alloc::vec::Vec<f64>"), ("b", "f64"), ("c", "std::collections::HashMap<String, geometry::Point>")];

    fn table(fake: &FakeHost) -> (String, serde_json::Value) {
        let shown = fake.shown();
        let Some(Shown::Display(bundle)) = shown.last() else { panic!("{shown:?}") };
        (bundle["text/plain"].as_str().unwrap().into(), bundle[RESULT_MIME]["variables"].clone())
    }

    #[test]
    fn who_selects_variables_by_type() {
        for (text, names) in [
            ("%who", "a\tb\tc\n"),
            ("%who Vec f64", "a\tb\n"),
            ("%who std::collections::HashMap", "c\n"),
            ("%who HashMap<String, Point>", "c\n"),
            ("%who i32", "No variable has such a type.\n"),
        ] {
            let fake = FakeHost::default().with_variables(&VARIABLES);
            run(text, &fake).unwrap();
            assert_eq!(fake.stdout(), names, "{text}");
        }
        let fake = FakeHost::default();
        run("%whos", &fake).unwrap();
        assert_eq!(fake.stdout(), "There are no variables yet.\n");
    }

    #[test]
    fn if_the_generated_cell_fails_names_and_types_are_shown() {
        let broken = Err(MagicError::new(ErrorName::CompilationError, "E0412", None));
        let fake = FakeHost::answering([broken]).with_variables(&VARIABLES);
        run("%whos", &fake).unwrap();
        let (text, variables) = table(&fake);
        assert!(text.contains("HashMap<String, Point>") && text.contains('–'), "{text}");
        assert_eq!((&variables[0]["type"], &variables[0]["bytes"]), (&"Vec<f64>".into(), &serde_json::Value::Null));
    }

    #[test]
    fn generated_code_finds_sizes_and_values_of_any_type() {
        let cells = Cells {
            items: "struct Plain(f64, u8); struct Owner { name: String, more: Vec<u8> }\n\
                    struct Bad; impl std::fmt::Debug for Bad { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> \
                    std::fmt::Result { panic!(\"no\") } } type Result<T> = std::result::Result<T, u8>;",
            before: "let numbers = vec![0.5_f64; 1_000_000]; let texts = vec![String::with_capacity(10), \
                     String::from(\"a\\nb\")]; let plain = Plain(1.0, 2); let owner = Owner { name: \
                     String::from(\"x\"), more: vec![1] }; let owners: Vec<Owner> = vec![]; let f: Box<dyn Fn(i32) -> \
                     i32> = Box::new(|x| x + 1); let bad = Bad; let map = std::collections::HashMap::from([(1_u32, \
                     2_u64)]); let result: Result<String> = Err(3); let r#type = 7_u8;",
            after: "drop((numbers, texts, owners, f, bad, map, result, r#type)); let Owner { name, more } = owner; \
                    drop((name, more)); let Plain(a, b) = plain; let _ = (a, b);",
        };
        let kinds = [
            ("numbers", "alloc::vec::Vec<f64>"),
            ("texts", "Vec<String>"),
            ("plain", "Plain"),
            ("owner", "Owner"),
            ("owners", "Vec<Owner>"),
            ("f", "Box<dyn Fn(i32) -> i32>"),
            ("bad", "Bad"),
            ("map", "HashMap<u32, u64>"),
            ("result", "Result<String>"),
            ("r#type", "u8"),
        ];
        let fake = FakeHost::running(cells).with_variables(&kinds);
        run("%whos", &fake).unwrap();
        let (text, variables) = table(&fake);
        let found: Vec<(&str, u64, bool, Option<&str>)> = variables
            .as_array()
            .unwrap()
            .iter()
            .map(|v| {
                (
                    v["name"].as_str().unwrap(),
                    v["bytes"].as_u64().unwrap(),
                    v["exact"].as_bool().unwrap(),
                    v["value"].as_str(),
                )
            })
            .collect();
        let halves = "[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5…";
        assert_eq!(found[0], ("numbers", 8_000_024, true, Some(halves)), "{text}");
        assert_eq!(found[1], ("texts", 24 + 2 * 24 + 10 + 3, true, Some("[\"\", \"a\\nb\"]")));
        assert_eq!(found[2], ("plain", 16, true, None));
        assert_eq!(found[3], ("owner", 48, false, None));
        assert_eq!(found[4], ("owners", 24, false, None));
        assert_eq!(found[5], ("f", 16, false, None));
        assert_eq!(found[6], ("bad", 0, true, Some("")));
        assert_eq!(found[7], ("map", 48 + 4 * 17 + 16, true, Some("{1: 2}")));
        assert_eq!(found[8], ("result", 24, false, Some("Err(3)")));
        assert_eq!(found[9], ("r#type", 1, true, Some("7")));
    }
}
