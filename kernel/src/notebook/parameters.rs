//! Parameters of a notebook, by papermill's convention: a cell with the tag `parameters` has the defaults, and a cell
//! after it, which is made here, has the values of this run.

use super::document::{Document, code_cell, has_tag, is_code, source};
use super::literals::{literal, shape, typed};
use anyhow::anyhow;
use ra_ap_syntax::ast::{self, AstNode, HasName};
use ra_ap_syntax::{Edition, SourceFile};
use serde_json::{Value, json};

/// The tag of the cell with the defaults.
const DEFAULTS: &str = "parameters";
/// The tag of the cell with the values of a run.
pub const INJECTED: &str = "injected-parameters";

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

/// Adds a cell with the values of this run, and removes that of an earlier run. Without values, the notebook runs with
/// those that it has, as with papermill. Returns warnings.
pub fn inject(document: &mut Document, parameters: &[Parameter]) -> anyhow::Result<Vec<String>> {
    if parameters.is_empty() {
        return Ok(vec![]);
    }
    document.cells_mut().retain(|cell| !has_tag(cell, INJECTED));
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
    let shape = shape(kind.unwrap_or_default(), default.map_or("", |default| default.value.as_str()));
    let literal = literal(&shape, value).map_err(|why| {
        anyhow!("the parameter `{name}` cannot be set: {why}; give it a value of the type of its default")
    })?;
    let mutable = if default.is_some_and(|default| default.is_mutable) { "mut " } else { "" };
    let kind = kind.map_or(String::new(), |kind| format!(": {kind}"));
    Ok(format!("let {mutable}{name}{kind} = {literal};"))
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
            let owned = \"a\".to_string();\nlet mut on = false;\nlet exact: f32 = 1.0;\nlet n = 1_000;\n\
            let clip: Option<f64> = None;\nlet seed: u64 = 0;\nlet widths: Vec<f64> = vec![];";
        let cases = [
            ("lr=1", "let lr = 1.0;"),
            ("lr=1e-3", "let lr = 0.001;"),
            ("steps=7", "let steps: u32 = 7;"),
            ("name=12", "let name = \"12\";"),
            ("name=say \"hi\"", "let name = \"say \\\"hi\\\"\";"),
            ("owned=b", "let owned = String::from(\"b\");"),
            ("on=True", "let mut on = true;"),
            ("exact=2", "let exact: f32 = 2.0;"),
            ("exact=nan", "let exact: f32 = f32::NAN;"),
            ("n=5", "let n = 5;"),
            ("clip=0.5", "let clip: Option<f64> = Some(0.5);"),
            ("clip=null", "let clip: Option<f64> = None;"),
            ("seed=12345678901234567890", "let seed: u64 = 12345678901234567890;"),
            ("widths=[1, 2.5]", "let widths: Vec<f64> = vec![1.0, 2.5];"),
            ("new=0.5", "let new = 0.5;"),
            ("new=x=y", "let new = \"x=y\";"),
            ("new=nan", "let new = f64::NAN;"),
        ];
        for (parameter, expected) in cases {
            assert_eq!(set(code, parameter), expected, "{parameter}");
        }
        assert!("1x=2".parse::<Parameter>().is_err() && "x".parse::<Parameter>().is_err());
        let wrong: Parameter = "lr=fast".parse().unwrap();
        let error = format!("{:#}", statement(&wrong, variables(code).first()).unwrap_err());
        assert!(error.contains("`lr`") && error.contains("`fast` is none"), "{error}");
    }

    #[test]
    fn without_parameters_those_of_an_earlier_run_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n.ipynb");
        let defaults = code_cell("let lr = 0.1;", &[DEFAULTS], false);
        let notebook = json!({ "cells": [defaults], "metadata": {}, "nbformat": 4, "nbformat_minor": 4 });
        std::fs::write(&path, notebook.to_string()).unwrap();
        let mut document = Document::read(&path).unwrap();
        inject(&mut document, &["lr=3".parse().unwrap()]).unwrap();
        inject(&mut document, &[]).unwrap();
        assert_eq!(document.cells().len(), 2);
        assert_eq!(source(&document.cells()[1]), "// Parameters\nlet lr = 3.0;");
        assert_eq!(document.metadata_mut()["papermill"]["parameters"]["lr"], 3);
        inject(&mut document, &["lr=5".parse().unwrap()]).unwrap();
        assert_eq!((document.cells().len(), source(&document.cells()[1]).contains("5.0")), (2, true));
    }
}
