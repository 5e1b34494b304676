//! The crates that a Rust cell can use without asking for them: `tunebook` with tensors, and each `%%workload`.

use super::source::Body;
use super::workshop::{CELLS, Workshop};
use crate::context::Context;
use crate::error::Result;
use crate::syntax::Source;
use tunebook_study::store::Store;

/// A crate for cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellCrate {
    /// What cells call it.
    pub name: String,
    /// Its folder.
    pub path: std::path::PathBuf,
}

/// The crates that a cell names; `tunebook` is the first if there is any.
pub fn crates_for(context: &Context, code: &str) -> Result<Vec<CellCrate>> {
    let defined = match Store::open_to_read(&context.settings.store)? {
        Some(store) => store.workloads()?,
        None => vec![],
    };
    let named: Vec<_> = defined.into_iter().filter(|record| names(code, &record.name)).collect();
    if named.is_empty() && !["tch", "tunebook", "tunebook_training"].iter().any(|name| names(code, name)) {
        return Ok(vec![]);
    }
    let workshop = Workshop::open(context)?;
    let mut crates = vec![tunebook(&workshop)];
    for record in named {
        let body = Body::new(&record.name, &record.body, &Source::new(&record.body, 0), 0)?;
        crates.push(CellCrate { path: workshop.crate_for_cells(&body)?, name: record.name });
    }
    Ok(crates)
}

/// The crate that brings tensors.
pub fn tunebook(workshop: &Workshop) -> CellCrate {
    CellCrate { name: "tunebook".into(), path: workshop.source(CELLS) }
}

/// Whether code goes into a crate: `name::` or `use name`.
fn names(code: &str, name: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let whole = !before.ends_with(inside) && !after.starts_with(inside);
        whole && (after.trim_start().starts_with("::") || before.trim_end().ends_with("use"))
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_crate_is_named_where_its_path_is_entered() {
        for code in ["tch::Tensor::zeros()", "use tch;", "use  tch ::nn;", "let t = tch\n    ::Tensor::new();"] {
            assert!(names(code, "tch"), "{code}");
        }
        for code in ["let tch = 1;", "my_tch::f()", "tchx::f()", "// tch", "sketch::x()"] {
            assert!(!names(code, "tch"), "{code}");
        }
    }
}
