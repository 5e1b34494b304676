//! Statics of cells. Each cell is linked with the items of earlier ones, so each has a copy of every static: what one
//! cell changes in it, another does not see.

use ra_ap_syntax::ast::{self, AstNode, HasName};
use ra_ap_syntax::{Edition, SourceFile};
use std::collections::HashSet;

/// The statics of which the user was told.
#[derive(Default)]
pub struct Statics(HashSet<String>);

impl Statics {
    /// What is said, once for each name, about the statics of a cell that can be changed.
    pub fn note(&mut self, code: &str) -> Option<String> {
        let mut new = changeable(code);
        new.retain(|name| self.0.insert(name.clone()));
        let names: Vec<String> = new.iter().map(|name| format!("`{name}`")).collect();
        (!names.is_empty()).then(|| {
            format!(
                "note: each cell has its own copy of {}: what one cell changes in it, another cell does not see. Keep \
                 such a value in a variable: `let counter = std::sync::atomic::AtomicU32::new(0);`\n",
                names.join(" and ")
            )
        })
    }
}

/// The names of the statics that a cell defines and that code can change.
fn changeable(code: &str) -> Vec<String> {
    if !code.contains("static") {
        return vec![];
    }
    let file = SourceFile::parse(&format!("fn cell() {{{code}\n}}"), Edition::Edition2024).tree();
    let Some(body) = file.syntax().children().find_map(ast::Fn::cast).and_then(|cell| cell.body()?.stmt_list()) else {
        return vec![];
    };
    let mut names = vec![];
    for node in body.syntax().children() {
        if let Some(item) = ast::Static::cast(node.clone()) {
            let ty = item.ty().map(|ty| ty.syntax().text().to_string()).unwrap_or_default();
            if item.mut_token().is_some() || changes_inside(&ty) {
                names.extend(item.name().map(|name| name.to_string()));
            }
        } else if let Some(call) = node.descendants().find_map(ast::MacroCall::cast)
            && call.path().and_then(|path| path.segment()).is_some_and(|last| last.to_string() == "thread_local")
        {
            names.extend(names_after_static(&call.syntax().text().to_string()));
        }
    }
    names
}

/// Whether the value of a static of this type can be changed through a shared reference.
fn changes_inside(ty: &str) -> bool {
    let words = ty.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let mut words = words.filter(|word| !word.is_empty());
    words.any(|word| word.starts_with("Atomic") || ["Mutex", "RwLock", "OnceLock", "OnceCell"].contains(&word))
}

fn names_after_static(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
    words.windows(2).filter(|pair| pair[0] == "static").map(|pair| pair[1].to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::Statics;

    #[test]
    fn a_static_that_can_be_changed_is_told_of_once() {
        let mut statics = Statics::default();
        for (code, name) in [
            ("static N: AtomicU32 = AtomicU32::new(0);", "`N`"),
            ("static mut M: i32 = 1;", "`M`"),
            ("static S: std::sync::Mutex<Vec<i32>> = f();\nlet x = 1;", "`S`"),
            ("thread_local! { static T: Cell<i32> = Cell::new(1); }", "`T`"),
        ] {
            assert!(statics.note(code).is_some_and(|note| note.contains(name)), "{code}");
            assert_eq!(statics.note(code), None, "{code}");
        }
        for code in
            ["static A: &str = \"x\";", "let s: &'static str = \"static mut\";", "fn f() { static mut X: i32 = 1; }"]
        {
            assert_eq!(statics.note(code), None, "{code}");
        }
    }
}
