//! Variables that cells no longer have, and why: an error about such a name can then say where it went.

use ra_ap_syntax::ast::{self, AstNode, HasName};
use ra_ap_syntax::{Edition, SourceFile};
use std::collections::HashMap;

/// Why there is no variable of a name any more.
#[derive(Default)]
pub struct Gone(HashMap<String, String>);

impl Gone {
    /// Records what a cell that ended did to the variables. `before` and `after` are their names, `not_kept` those that
    /// the user was told of, each with the reason. `cell` is the cell in words.
    pub fn record(
        &mut self,
        before: &[String],
        after: &[String],
        not_kept: &[(String, String)],
        code: &str,
        cell: &str,
    ) {
        for name in before.iter().filter(|name| !after.contains(name)) {
            let mentions = |line: &&str| line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|w| w == name);
            let place =
                code.lines().rev().find(mentions).map_or(String::new(), |line| format!(", in `{}`", line.trim()));
            let help = format!("Write `{name}.clone()` there, or lend it (`&{name}`), to keep it");
            self.0.insert(name.clone(), format!("{cell} moved `{name}`{place}. {help}."));
        }
        for (name, reason) in not_kept {
            self.0.insert(name.clone(), format!("{cell} did not keep `{name}`: {reason}."));
        }
        self.0.retain(|name, _| !after.contains(name));
    }

    /// Records that the process that runs cells ended, and all variables with it.
    pub fn all_lost(&mut self, variables: &[String], cell: &str) {
        for name in variables {
            self.0.insert(name.clone(), format!("{cell} ended the process that runs cells, and `{name}` was lost."));
        }
    }

    /// What is known about the name that the compiler did not find, if an error is about one.
    pub fn explained(&self, error: &evcxr::CompilationError) -> Option<&str> {
        self.of(error.code()?, &error.message())
    }

    fn of(&self, code: &str, message: &str) -> Option<&str> {
        let name = message.split('`').nth(1).filter(|_| code == "E0425")?;
        self.0.get(name).map(String::as_str)
    }
}

/// The names that the `let` statements of a cell define.
pub fn defined(code: &str) -> Vec<String> {
    let file = SourceFile::parse(&format!("fn cell() {{\n{code}\n}}"), Edition::CURRENT).tree();
    let body = file.syntax().descendants().find_map(ast::StmtList::cast);
    let statements = body.into_iter().flat_map(|body| body.statements());
    let patterns = statements.filter_map(|statement| match statement {
        ast::Stmt::LetStmt(statement) => statement.pat(),
        _ => None,
    });
    let bindings = patterns.flat_map(|pattern| pattern.syntax().descendants().filter_map(ast::IdentPat::cast));
    bindings.filter_map(|binding| Some(binding.name()?.text().to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Gone, defined};

    #[test]
    fn a_variable_that_is_gone_is_explained_until_there_is_one_again() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let mut gone = Gone::default();
        let not_kept = [("f".to_string(), "it borrows".to_string())];
        gone.record(&names(&["x", "y"]), &names(&["y"]), &not_kept, "let a = 1;\nlet z = x;", "Cell [3]");
        let message = "cannot find value `x` in this scope";
        assert!(gone.of("E0425", message).unwrap().starts_with("Cell [3] moved `x`, in `let z = x;`"));
        assert_eq!(gone.of("E0425", "cannot find value `f`"), Some("Cell [3] did not keep `f`: it borrows."));
        assert_eq!(gone.of("E0308", message), None);
        let code = "let (own, kept) = (vec![1], 2);\nif kept > 1 { let inner = 3; }\ntake(own);";
        gone.record(&defined(code), &names(&["y", "kept"]), &[], code, "Cell [4]");
        assert!(
            gone.of("E0425", "cannot find value `own`").unwrap().starts_with("Cell [4] moved `own`, in `take(own);`")
        );
        assert_eq!(gone.of("E0425", "cannot find value `inner`"), None);
        gone.all_lost(&names(&["kept"]), "Cell [5]");
        assert!(gone.of("E0425", "cannot find value `kept`").unwrap().contains("`kept` was lost"));
        gone.record(&names(&["y"]), &names(&["x", "y"]), &[], "let x = 1;", "Cell [5]");
        assert_eq!(gone.of("E0425", message), None);
    }
}
