//! Lines that are Rust only where a name is a variable: `r?` otherwise asks for documentation, and `!done` is otherwise
//! a command for the shell.

use ra_ap_syntax::ast::{self, AstNode};
use ra_ap_syntax::{Edition, SourceFile};
use tunebook_magics::session::Variable;

/// A line as Rust.
#[derive(Debug, PartialEq)]
pub struct AsRust {
    pub code: String,
    /// What the user is told about it, if it was not obvious.
    pub note: Option<String>,
}

/// Whether a line may be Rust, so that it is worth asking for the variables.
pub fn may_be_rust(line: &str) -> bool {
    match line.strip_prefix('!') {
        Some(negated) => expression(negated).is_some(),
        None => line.ends_with('?') && !line.ends_with("??") && !line.starts_with(['?', '%']),
    }
}

/// A question as Rust, if it unwraps a variable: `r?`, `handle.await?`. `is_method` tells whether a path such as
/// `values.push` names a method.
pub fn question(line: &str, variables: &[Variable], is_method: impl Fn(&str) -> bool) -> Option<AsRust> {
    let path = line.trim().strip_suffix('?')?;
    let (first, fields) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let variable = variables.iter().find(|variable| variable.name == first)?;
    if let Some(fields) = fields {
        let waits = fields.split('.').any(|field| field == "await");
        return (waits || !is_method(path)).then(|| AsRust { code: format!("{path}?"), note: None });
    }
    let kind = variable.kind.split('<').next()?.rsplit("::").next()?;
    let (code, instead) = match kind {
        "Result" => (format!("{path}.as_ref()?"), "ends the cell with the error"),
        "Option" => (format!("{path}.as_ref().ok_or(\"`{path}` is None\")?"), "ends the cell if there is none"),
        _ => return None,
    };
    let note = format!(
        "note: `{path}?` shows the value in the variable `{path}`, or else it {instead}. `let value = {path}?;` takes \
         the value out, and `?{path}` asks for documentation.\n"
    );
    // The value is borrowed, so that the variable is kept.
    Some(AsRust { code, note: Some(note) })
}

/// A command for the shell, without its `!`, as Rust, if it negates an expression over variables.
pub fn negation(command: &str, variables: &[Variable]) -> Option<AsRust> {
    let expression = expression(command)?;
    let is_variable = |name: &str| variables.iter().find(|variable| variable.name == name);
    let names: Vec<String> = heads(&expression);
    if names.is_empty() || !names.iter().all(|name| is_variable(name).is_some()) {
        return None;
    }
    // A word alone may be a program that has the name of a variable.
    if matches!(expression, ast::Expr::PathExpr(_)) {
        const NEGATED: &[&str] =
            &["bool", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize"];
        is_variable(&names[0]).filter(|variable| NEGATED.contains(&variable.kind.as_str()))?;
    }
    // evcxr takes a line that begins with `!` for a command.
    Some(AsRust { code: format!(" !{command}"), note: None })
}

/// What is said of a command that looks like Rust. None if it does not.
pub fn note_of_shell(command: &str) -> Option<String> {
    use ast::Expr::{CallExpr, FieldExpr, IndexExpr, Literal, MacroExpr, MethodCallExpr};
    let looks_like_rust = matches!(
        expression(command)?,
        Literal(_) | MethodCallExpr(_) | FieldExpr(_) | CallExpr(_) | MacroExpr(_) | IndexExpr(_)
    );
    looks_like_rust.then(|| {
        let command = command.trim();
        format!(
            "note: `!` in the first column sends the line to the shell. For the negation of Rust, write `!({command})`, \
             or a space before the `!`.\n"
        )
    })
}

/// The whole text as an expression.
fn expression(text: &str) -> Option<ast::Expr> {
    let parsed = SourceFile::parse(&format!("fn cell() {{ ({text}) }}"), Edition::Edition2024);
    if !parsed.errors().is_empty() {
        return None;
    }
    let body = parsed.tree().syntax().children().find_map(ast::Fn::cast)?.body()?.stmt_list()?;
    match body.tail_expr()? {
        ast::Expr::ParenExpr(inside) if body.statements().next().is_none() => inside.expr(),
        _ => None,
    }
}

/// The names in an expression that must be variables: those that it does not bind itself.
fn heads(expression: &ast::Expr) -> Vec<String> {
    use ast::HasName;
    let patterns = expression.syntax().descendants().filter_map(ast::IdentPat::cast);
    let bound: Vec<String> = patterns.filter_map(|pattern| Some(pattern.name()?.text().to_string())).collect();
    let paths = expression.syntax().descendants().filter_map(ast::PathExpr::cast);
    let names = paths.filter_map(|path| Some(path.path()?.as_single_name_ref()?.text().to_string()));
    names.filter(|name| !bound.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Vec<Variable> {
        let all = [
            ("r", "Result<i32, String>"),
            ("o", "std::option::Option<u8>"),
            ("h", "tokio::task::JoinHandle<()>"),
            ("v", "Vec<i32>"),
            ("done", "bool"),
            ("date", "String"),
        ];
        all.map(|(name, kind)| Variable { name: name.into(), kind: kind.into() }).into()
    }

    #[test]
    fn a_question_about_a_variable_that_can_be_unwrapped_is_rust() {
        let code = |line: &str| question(line, &variables(), |path| path == "v.push").map(|rust| rust.code);
        assert_eq!(code("r?").as_deref(), Some("r.as_ref()?"));
        assert_eq!(code("o?").as_deref(), Some("o.as_ref().ok_or(\"`o` is None\")?"));
        assert_eq!(code("h.await?").as_deref(), Some("h.await?"));
        assert_eq!(code("v.first?").as_deref(), Some("v.first?"));
        for line in ["v?", "v.push?", "Vec?", "unknown?", "unknown.await?"] {
            assert_eq!(code(line), None, "{line}");
        }
        assert!(may_be_rust("r?") && !may_be_rust("r??") && !may_be_rust("?r") && !may_be_rust("%time?"));
    }

    #[test]
    fn a_negation_of_variables_is_rust() {
        for command in ["v.is_empty()", "done", "v.contains(&3) || done", "(done)", "v.iter().any(|x| *x > 3)"] {
            assert!(may_be_rust(&format!("!{command}")), "{command}");
            assert!(negation(command, &variables()).is_some(), "{command}");
        }
        for command in ["date", "ls", "ls -l", "true", "echo done", "x.is_empty()", "cat a | wc", "done && ls"] {
            assert_eq!(negation(command, &variables()), None, "{command}");
        }
        for command in ["true", "x.is_empty()"] {
            assert!(note_of_shell(command).is_some_and(|note| note.contains(&format!("`!({command})`"))), "{command}");
        }
        for command in ["ls", "ls -l", "echo done", "make -j2", "./run", "cd /x"] {
            assert_eq!(note_of_shell(command), None, "{command}");
        }
    }
}
