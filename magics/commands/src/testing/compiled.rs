//! Compiles and runs generated code in tests, like the engine of Rust cells does.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::plain;
use crate::host::session::Ran;
use crate::rust::Statements;
use std::process::Command;
use syn::Stmt;

/// The code of other cells, around the generated code.
#[derive(Clone, Copy)]
pub struct Cells {
    pub items: &'static str,
    /// Statements before the generated code.
    pub before: &'static str,
    /// Statements after it, which check that the variables still exist.
    pub after: &'static str,
}

/// Compiles and runs a cell with the flags of evcxr. Like evcxr, it puts items at the root of the crate and shows the
/// last expression.
pub fn compiled(cells: Cells, code: &str) -> Result<Ran> {
    let statements = Statements::of(code).unwrap_or_else(|| panic!("generated code does not parse:\n{code}"));
    let (mut items, mut body) = (cells.items.to_string(), String::new());
    for (i, statement) in statements.list.iter().enumerate() {
        let text = &code[statement.span.clone()];
        match &statement.parsed {
            Stmt::Item(_) => items += &format!("{text}\n"),
            _ if i + 1 == statements.list.len() && statement.is_value() => {
                body += &format!("({text}\n).evcxr_display();\n");
            }
            _ => body += &format!("{text}\n"),
        }
    }
    let (before, after) = (cells.before, cells.after);
    let source = format!("#![allow(dead_code)]\n{items}\nfn main() {{ {before}\n{body}\n{after} }}\n");
    let folder = tempfile::tempdir().unwrap();
    // The generated code of tests reads its own source from this file.
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/lib.rs"), source).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "bin", "-o", "cell", "src/lib.rs"]);
    rustc.args(["-C", "opt-level=2", "-C", "overflow-checks=on", "-C", "debug-assertions=on"]);
    let built = rustc.env("CARGO_MANIFEST_DIR", folder.path()).current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() {
        let first = said.lines().find(|line| line.starts_with("error[")).unwrap_or_default();
        return Err(MagicError::new(
            ErrorName::CompilationError,
            first.trim_start_matches("error["),
            Some(said.clone()),
        ));
    }
    assert!(!said.contains("warning"), "generated code has warnings:\n{said}");
    let ended = Command::new(folder.path().join("cell")).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    if !ended.status.success() {
        return Err(MagicError::new(ErrorName::Panic, stderr.clone(), Some(stderr)));
    }
    let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
    let shown = stdout.split_once("EVCXR_BEGIN_CONTENT text/plain\n");
    let (printed, value) = shown.map_or((stdout.as_str(), None), |(printed, rest)| {
        (printed, rest.split_once("\nEVCXR_END_CONTENT").map(|(value, _)| value))
    });
    Ok(Ran { value: value.map(plain), stdout: printed.into(), stderr, ..Ran::default() })
}
