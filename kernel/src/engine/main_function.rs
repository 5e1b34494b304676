//! A cell that defines `main` is a program: it is run as one. The name is called in a line that is added to the cell.

use ra_ap_syntax::ast::{self, AstNode, HasName};
use ra_ap_syntax::{Edition, SourceFile};

/// What is said when `main` was called.
pub const NOTE: &str =
    "note: this cell defines `main`, so `main` was called. The code of a cell runs without `main` as well.\n";

/// The cell with a call of its function `main` at the end. None if it defines none, or has statements of its own.
pub fn called(code: &str) -> Option<String> {
    if !code.contains("main") {
        return None;
    }
    let file = SourceFile::parse(&format!("fn cell() {{{code}\n}}"), Edition::Edition2024).tree();
    let body = file.syntax().children().find_map(ast::Fn::cast)?.body()?.stmt_list()?;
    if body.tail_expr().is_some() {
        return None;
    }
    let mut main = None;
    for statement in body.statements() {
        let ast::Stmt::Item(item) = statement else { return None };
        if let ast::Item::Fn(function) = item
            && function.name().is_some_and(|name| name.text() == "main")
        {
            main = Some(function);
        }
    }
    let main = main?;
    if main.param_list().is_some_and(|list| list.params().next().is_some()) {
        return None;
    }
    let returned = main.ret_type().and_then(|returned| returned.ty()).map(|ty| ty.syntax().text().to_string());
    let returns_result = returned.as_deref().is_some_and(|ty| ty.contains("Result"));
    if main.async_token().is_some() && ast::HasAttrs::attrs(&main).next().is_some() {
        // An attribute such as `#[tokio::main]` makes an ordinary function that starts a runtime. The thread of a cell
        // may have one already.
        let (error, unwrapped) = if returns_result { (".map_err(|error| error.to_string())", "?") } else { ("", "") };
        return Some(format!(
            "{code}\nlet _ = ::std::thread::scope(|scope| scope.spawn(|| main(){error}).join())\
             .unwrap_or_else(|panic| ::std::panic::resume_unwind(panic)){unwrapped};"
        ));
    }
    let wait = if main.async_token().is_some() { ".await" } else { "" };
    let call = match returned.as_deref() {
        None | Some("()") => format!("main(){wait};"),
        Some(_) if returns_result => format!("main(){wait}?;"),
        Some(_) => format!("let _ = main(){wait};"),
    };
    Some(format!("{code}\n{call}"))
}

#[cfg(test)]
mod tests {
    use super::called;

    #[test]
    fn a_program_is_called_and_other_cells_are_not() {
        for (code, call) in [
            ("fn main() { println!(\"1\"); }", "main();"),
            ("use std::io;\nfn main() -> io::Result<()> { Ok(()) }", "main()?;"),
            ("async fn main() {}", "main().await;"),
            ("fn main() -> std::process::ExitCode { f() }\nfn f() -> u8 { 1 }", "let _ = main();"),
        ] {
            assert_eq!(called(code), Some(format!("{code}\n{call}")));
        }
        let called_in_a_thread = called("#[tokio::main]\nasync fn main() -> anyhow::Result<()> { f().await }").unwrap();
        assert!(called_in_a_thread.contains("scope.spawn(|| main().map_err(") && called_in_a_thread.ends_with("?;"));
        for code in [
            "fn main() {}\nmain();",
            "fn main() {}\nmain()",
            "let domain = 1;",
            "fn main(x: i32) {}",
            "mod m { fn main() {} }",
            "\"fn main() {}\"",
        ] {
            assert_eq!(called(code), None, "{code}");
        }
    }
}
