//! The crates of cells: those that the kernel adds by itself, and what `:dep` must not do to them.
//!
//! evcxr tries each `:dep` in a manifest of its own, and cargo then forgets the versions of everything else; so the
//! `Cargo.lock` with which things are built is kept here and put back.

use super::errors::{CellError, compilation};
use super::locks;
use super::tensors::Ahead;
use evcxr::CommandContext;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tunebook_magics::CellCrate;

/// The versions of the crate that evcxr makes of cells, and those with which things were built.
const LOCK: &str = "Cargo.lock";
const KEPT_LOCK: &str = "Cargo.lock.kept";
/// In scope of every cell once tensors are.
const IN_SCOPE: &str = "use tunebook::prelude::*;\nuse tunebook::{tch, tunebook_training};";

/// See the module.
pub struct Crates {
    ahead: Option<Ahead>,
    added: BTreeMap<String, CellCrate>,
}

impl Crates {
    /// Over what was built ahead, if anything was.
    pub fn new(ahead: Option<Ahead>) -> Self {
        Self { ahead, added: BTreeMap::new() }
    }

    /// Adds what a cell names, and what its `:dep` lines ask for; gives the code that is left.
    pub fn add(
        &mut self,
        context: &mut CommandContext,
        code: &str,
        named: Vec<CellCrate>,
    ) -> Result<String, CellError> {
        // `:clear` and `%reset` take all crates away.
        let there: Vec<String> = context.eval_context().dependencies().map(|(name, _)| name.to_string()).collect();
        self.added.retain(|name, _| there.contains(name));
        let new = self.missing(named);
        if self.ahead.is_none() && !new.is_empty() {
            return Err(not_built());
        }
        let Some(ahead) = &self.ahead else { return Ok(code.into()) };
        let (asked, rest) = take_dependencies(code);
        if new.is_empty() && (asked.is_empty() || self.added.is_empty()) {
            return Ok(code.into());
        }
        let first = self.added.is_empty();
        let mut commands = String::new();
        if first {
            let libtorch = ahead.libtorch.display();
            commands += &format!(":build_env LIBTORCH={libtorch}\n:build_env LIBTORCH_CXX11_ABI=1\n");
        }
        for CellCrate { name, path, features } in &new {
            commands +=
                &format!(":dep {name} = {{ path = {:?}, features = {features:?} }}\n", path.display().to_string());
        }
        commands += &asked;
        // Put back before anything is compiled.
        commands += &format!("!cp {KEPT_LOCK} {LOCK}\n", KEPT_LOCK = quoted(KEPT_LOCK), LOCK = quoted(LOCK));
        let tensors = |krate: &CellCrate| !krate.features.is_empty();
        if new.iter().any(tensors) && !self.added.values().any(tensors) {
            commands += IN_SCOPE;
        }
        for file in [KEPT_LOCK, LOCK] {
            let path = build_folder().join(file);
            let written = std::fs::write(&path, &ahead.lock);
            written
                .map_err(|error| CellError::new("Error", format!("{} cannot be written: {error}", path.display())))?;
        }
        execute(context, &commands)?;
        self.added.extend(new.into_iter().map(|c| (c.name.clone(), c)));
        Ok(rest)
    }

    /// Adds crates that cells are likely to name.
    pub fn preload(&mut self, context: &mut CommandContext, likely: Vec<CellCrate>) {
        // A cell that names them will say what is wrong.
        if self.ahead.is_some() {
            let _ = self.add(context, "", likely);
        }
    }

    /// Those that are not there yet, or without a feature that is asked for; features that are there stay.
    fn missing(&self, named: Vec<CellCrate>) -> Vec<CellCrate> {
        let there = |c: &CellCrate| {
            let added = self.added.get(&c.name).filter(|added| added.path == c.path);
            added.is_some_and(|added| c.features.iter().all(|feature| added.features.contains(feature)))
        };
        named.into_iter().filter(|c| !there(c)).collect()
    }

    /// Keeps the versions with which a cell was built.
    pub fn note(&mut self) {
        if let (Some(ahead), false) = (&mut self.ahead, self.added.is_empty())
            && let Ok(text) = std::fs::read_to_string(build_folder().join(LOCK))
        {
            // Tensors may come later, and are to be those that were built.
            ahead.lock = locks::merged(&text, &ahead.lock);
        }
    }
}

/// The folder of the crate that evcxr makes of cells.
fn build_folder() -> PathBuf {
    std::env::var_os("EVCXR_TMPDIR").map(PathBuf::from).unwrap_or_default()
}

/// A file of that folder for a shell.
fn quoted(file: &str) -> String {
    format!("'{}'", build_folder().join(file).display().to_string().replace('\'', "'\\''"))
}

fn execute(context: &mut CommandContext, code: &str) -> Result<(), CellError> {
    match context.execute(code) {
        Ok(_) => Ok(()),
        Err(evcxr::Error::CompilationErrors(errors)) => Err(compilation(&errors, code)),
        Err(error) => Err(CellError::new("Error", error.to_string())),
    }
}

fn not_built() -> CellError {
    let executable = std::env::current_exe().map_or("tunebook".into(), |path| path.display().to_string());
    let message = format!(
        "tensors in cells are built ahead, and that was not done for this version of Tunebook: run `{executable} prepare` in a \
         terminal (some minutes, once) and restart the kernel"
    );
    CellError::new("NotPrepared", message)
}

/// The `:dep` lines of a cell, and the cell with empty lines in their place.
fn take_dependencies(code: &str) -> (String, String) {
    let (mut asked, mut rest) = (String::new(), String::new());
    for line in code.split_inclusive('\n') {
        if line.trim_start().starts_with(":dep ") {
            asked += line.trim();
            asked.push('\n');
            rest.extend(line.ends_with('\n').then_some('\n'));
        } else {
            rest += line;
        }
    }
    (asked, rest)
}

#[cfg(test)]
mod tests {
    use super::take_dependencies;

    #[test]
    fn dependencies_are_taken_out_and_lines_stay_where_they_were() {
        let (asked, rest) =
            take_dependencies("let a = 1;\n  :dep rand = \"0.9\"\nlet b = 2;\n:dep x = { path = \"p\" }");
        assert_eq!(asked, ":dep rand = \"0.9\"\n:dep x = { path = \"p\" }\n");
        assert_eq!(rest, "let a = 1;\n\nlet b = 2;\n");
    }
}
