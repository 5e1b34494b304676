//! Parameters of a notebook, by papermill's convention: a cell with the tag `parameters` has the defaults, and a cell
//! after it, which is made here, has the values of this run.

use super::document::{Document, code_cell, has_tag, is_code, source};
use anyhow::bail;
use ra_ap_syntax::ast::{self, AstNode, HasName};
use ra_ap_syntax::{Edition, SourceFile};
use serde_json::{Value, json};

/// The tag of the cell with the defaults.
const DEFAULTS: &str = "parameters";
/// The tag of the cell with the values of a run.
const INJECTED: &str = "injected-parameters";

/// A parameter: its name, and its value as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: String,
    value: String,
}

impl std::str::FromStr for Parameter {
    type Err = String;

    /// Reads `name=value`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write name=value")?;
        let is_name = !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        match is_name {
            true => Ok(Self { name: name.into(), value: value.into() }),
            false => Err(format!("`{name}` cannot be the name of a variable")),
        }
    }
}

/// A variable of the cell with the defaults.
struct Default {
    name: String,
    is_mutable: bool,
    /// The type that is written, if one is.
    kind: Option<String>,
    /// The text of the value.
    value: String,
}

/// Adds a cell with the values of this run, and removes that of an earlier run. Returns warnings.
pub fn inject(document: &mut Document, parameters: &[Parameter]) -> anyhow::Result<Vec<String>> {
    document.cells_mut().retain(|cell| !has_tag(cell, INJECTED));
    if parameters.is_empty() {
        return Ok(vec![]);
    }
    let at = document.cells().iter().position(|cell| is_code(cell) && has_tag(cell, DEFAULTS));
    let defaults = at.map_or(vec![], |at| variables(&source(&document.cells()[at])));
    let mut warnings = vec![];
    if at.is_none() {
        warnings.push(format!("no cell has the tag `{DEFAULTS}`, so the parameters stand at the top"));
    }
    let mut code = String::from("// Parameters\n");
    for parameter in parameters {
        let default = defaults.iter().rev().find(|default| default.name == parameter.name);
        if at.is_some() && default.is_none() {
            let names: Vec<&str> = defaults.iter().map(|default| default.name.as_str()).collect();
            let known = if names.is_empty() { "none".into() } else { names.join(", ") };
            warnings.push(format!("the cell `{DEFAULTS}` has no variable `{}` (it has: {known})", parameter.name));
        }
        code += &statement(parameter, default)?;
        code.push('\n');
    }
    let with_id = document.has_ids();
    let cell = code_cell(code.trim_end(), &[INJECTED], with_id);
    document.cells_mut().insert(at.map_or(0, |at| at + 1), cell);
    let values: Value = parameters.iter().map(|parameter| (parameter.name.clone(), typed(&parameter.value))).collect();
    super::document::set(document.metadata_mut(), "papermill", json!({ "parameters": values }));
    Ok(warnings)
}

/// Returns the variables that a cell declares with `let NAME = value;`.
fn variables(code: &str) -> Vec<Default> {
    let wrapped = format!("fn cell() {{\n{code}\n}}");
    let file = SourceFile::parse(&wrapped, Edition::CURRENT);
    let statements = file.tree().syntax().descendants().filter_map(ast::LetStmt::cast);
    let variable = |statement: ast::LetStmt| {
        let ast::Pat::IdentPat(pattern) = statement.pat()? else { return None };
        Some(Default {
            name: pattern.name()?.text().to_string(),
            is_mutable: pattern.mut_token().is_some(),
            kind: statement.ty().map(|kind| kind.syntax().text().to_string()),
            value: statement.initializer()?.syntax().text().to_string(),
        })
    };
    statements.filter_map(variable).collect()
}

/// Returns the statement that sets a parameter. The value has the type of the default.
fn statement(parameter: &Parameter, default: Option<&Default>) -> anyhow::Result<String> {
    let Parameter { name, value } = parameter;
    let kind = default.and_then(|default| default.kind.as_deref());
    let written = default.map(|default| default.value.trim());
    let is_text = |text: &str| text.starts_with('"') || text.starts_with("r\"") || text.starts_with("r#");
    let makes_string = written.is_some_and(|text| {
        text.ends_with(".to_string()") || text.ends_with(".into()") || text.starts_with("String::from(")
    }) || kind == Some("String");
    let wants_float = matches!(kind, Some("f32" | "f64"))
        || (kind.is_none()
            && written.is_some_and(|text| text.replace('_', "").parse::<f64>().is_ok() && !is_whole(text)));
    let wants_text = makes_string || kind.is_some_and(|kind| kind.contains("str")) || written.is_some_and(is_text);
    let literal = if wants_text {
        let literal = format!("{value:?}");
        if makes_string { format!("String::from({literal})") } else { literal }
    } else if wants_float {
        match value.parse::<f64>() {
            Ok(number) if number.is_finite() => format!("{number:?}"),
            _ => bail!("the parameter `{name}` is a number, and `{value}` is none"),
        }
    } else {
        match typed(value) {
            Value::String(text) => format!("{text:?}"),
            Value::Number(number) if number.is_f64() => format!("{:?}", number.as_f64().unwrap_or_default()),
            Value::Array(_) | Value::Object(_) => {
                bail!("the parameter `{name}` is a list or an object, which has no form in Rust that fits every use")
            }
            Value::Null => "None".into(),
            other => other.to_string(),
        }
    };
    let mutable = if default.is_some_and(|default| default.is_mutable) { "mut " } else { "" };
    let kind = kind.map_or(String::new(), |kind| format!(": {kind}"));
    Ok(format!("let {mutable}{name}{kind} = {literal};"))
}

fn is_whole(text: &str) -> bool {
    text.replace('_', "").parse::<i64>().is_ok()
}

/// Returns a value by its look, as papermill does: a number, true or false, null, or text.
fn typed(text: &str) -> Value {
    match text {
        "true" | "True" => json!(true),
        "false" | "False" => json!(false),
        "null" | "None" => Value::Null,
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => json!(whole),
            (_, Ok(real)) if real.is_finite() => json!(real),
            _ => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(code: &str, parameter: &str) -> String {
        let parameter: Parameter = parameter.parse().unwrap();
        let defaults = variables(code);
        statement(&parameter, defaults.iter().find(|default| default.name == parameter.name)).unwrap()
    }

    #[test]
    fn a_value_has_the_type_of_its_default() {
        let code = "let lr = 0.1; // learning rate\nlet steps: u32 = 100;\nlet name = \"depth\";\n\
            let owned = \"a\".to_string();\nlet mut on = false;\nlet exact: f32 = 1.0;\nlet n = 1_000;";
        let cases = [
            ("lr=1", "let lr = 1.0;"),
            ("lr=1e-3", "let lr = 0.001;"),
            ("steps=7", "let steps: u32 = 7;"),
            ("name=12", "let name = \"12\";"),
            ("name=say \"hi\"", "let name = \"say \\\"hi\\\"\";"),
            ("owned=b", "let owned = String::from(\"b\");"),
            ("on=True", "let mut on = true;"),
            ("exact=2", "let exact: f32 = 2.0;"),
            ("n=5", "let n = 5;"),
            ("new=0.5", "let new = 0.5;"),
            ("new=x=y", "let new = \"x=y\";"),
        ];
        for (parameter, expected) in cases {
            assert_eq!(set(code, parameter), expected, "{parameter}");
        }
        assert!("1x=2".parse::<Parameter>().is_err() && "x".parse::<Parameter>().is_err());
        let wrong: Parameter = "lr=fast".parse().unwrap();
        assert!(statement(&wrong, variables(code).first()).is_err());
    }
}
