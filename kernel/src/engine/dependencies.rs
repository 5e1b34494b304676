//! The dependencies of the crate that evcxr makes of cells: those that a user adds by `:dep`, and those that the kernel
//! adds because a cell names them.
//!
//! evcxr tries each `:dep` with a manifest of its own, in which other crates are missing; cargo then removes these from
//! `Cargo.lock`. So the lock file of what is built is kept here, and written back before anything is compiled.

use super::errors::CellError;
use evcxr::CommandContext;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tunebook_magics::ErrorName;
use tunebook_prebuilt::{BUILD_FOLDER, CellCrate, IMAGE_ITEM, Prebuilt, Sharing, lock_file};

/// The lock file of the crate that evcxr makes of cells.
const LOCK: &str = "Cargo.lock";
/// A copy of the lock file of what is built, beside it.
const KEPT_LOCK: &str = "Cargo.lock.kept";
/// The runtime that evcxr uses for `.await` at the top level of a cell.
const TOKIO: &str = ":dep tokio = { version = \"1.34.0\", features = [\"rt\", \"rt-multi-thread\"] }\n";
/// Imports that every cell has once a cell has used tensors.
const IN_SCOPE: &str = "use tunebook::prelude::*;\nuse tunebook::{tch, tunebook_training};";

/// The dependencies that were added so far.
pub struct Dependencies {
    prebuilt: Option<Prebuilt>,
    /// The crates that the kernel has added, by name.
    added: BTreeMap<String, CellCrate>,
    /// Whether a `:dep` has built crates that the user's other kernels do not have yet.
    has_news: bool,
    /// Whether the item that shows pictures of the crate `image` was added.
    shows_images: bool,
}

impl Dependencies {
    /// No dependencies yet; crates that are prebuilt will be used.
    pub fn new(prebuilt: Option<Prebuilt>) -> Self {
        Self { prebuilt, added: BTreeMap::new(), has_news: false, shows_images: false }
    }

    /// Adds the crates that a cell names and those that its `:dep` lines ask for. Returns the code without these lines.
    pub fn add(
        &mut self,
        context: &mut CommandContext,
        code: &str,
        named: Vec<CellCrate>,
    ) -> Result<String, CellError> {
        // `:clear` and `%reset` remove all dependencies.
        let present: Vec<String> = context.eval_context().dependencies().map(|(name, _)| name.to_string()).collect();
        self.added.retain(|name, _| present.contains(name));
        self.shows_images &= present.iter().any(|name| name == "image");
        let new = self.missing(named);
        let (mut asked, rest) = take_dependencies(code);
        if awaits(code) && !present.iter().any(|name| name == "tokio") && !asked.contains(":dep tokio") {
            asked += TOKIO;
        }
        if new.is_empty() && asked.is_empty() {
            return Ok(code.into());
        }
        let tensors = |krate: &CellCrate| !krate.features.is_empty();
        let brings_tensors = new.iter().any(tensors) && !self.added.values().any(tensors);
        let libtorch = self.prebuilt.as_ref().and_then(|prebuilt| prebuilt.libtorch.as_ref());
        let mut commands = String::new();
        match libtorch {
            None if brings_tensors => return Err(not_built()),
            Some(libtorch) if self.added.is_empty() => {
                commands += &format!(":build_env LIBTORCH={}\n:build_env LIBTORCH_CXX11_ABI=1\n", libtorch.display());
            }
            _ => {}
        }
        for CellCrate { name, path, features } in &new {
            commands +=
                &format!(":dep {name} = {{ path = {:?}, features = {features:?} }}\n", path.display().to_string());
        }
        commands += &asked;
        if let Some(prebuilt) = self.prebuilt.as_ref().filter(|prebuilt| !prebuilt.lock.is_empty()) {
            // Written back after cargo has tried the `:dep`s, and before anything is compiled.
            commands += &format!("!cp {} {}\n", quoted(KEPT_LOCK), quoted(LOCK));
            for file in [KEPT_LOCK, LOCK] {
                let path = build_folder().join(file);
                let failed =
                    |error| CellError::new(ErrorName::Error, format!("{} cannot be written: {error}", path.display()));
                std::fs::write(&path, &prebuilt.lock).map_err(failed)?;
            }
        }
        if brings_tensors {
            commands += IN_SCOPE;
        }
        if let (false, Some(sharing)) = (asked.is_empty(), self.sharing()) {
            // Another kernel may have built the crate meanwhile. If this fails, it is built again.
            let _ = sharing.receive();
            self.has_news = true;
        }
        execute(context, &commands)?;
        self.added.extend(new.into_iter().map(|c| (c.name.clone(), c)));
        self.show_images(context);
        Ok(rest)
    }

    /// Adds the item that shows pictures, once the crate `image` is a dependency.
    fn show_images(&mut self, context: &mut CommandContext) {
        let has_images = context.eval_context().dependencies().any(|(name, _)| name == "image");
        if has_images && !self.shows_images {
            // The item does not compile with other versions of the crate. Their pictures are then shown as text.
            let _ = execute(context, IMAGE_ITEM);
            self.shows_images = true;
        }
    }

    fn sharing(&self) -> Option<&Sharing> {
        self.prebuilt.as_ref()?.sharing.as_ref()
    }

    /// Makes crates that were built for a `:dep` available to the user's other kernels.
    pub fn share(&mut self) {
        if let (true, Some(sharing)) = (self.has_news, self.sharing()) {
            // If this fails, the others build the crate themselves.
            let _ = sharing.publish();
            self.has_news = false;
        }
    }

    /// Adds crates that cells are likely to name, if they are prebuilt.
    pub fn preload(&mut self, context: &mut CommandContext, likely: Vec<CellCrate>) {
        // An error is not reported here: the cell that names the crates has the same error.
        if self.prebuilt.as_ref().is_some_and(|prebuilt| prebuilt.libtorch.is_some()) {
            let _ = self.add(context, "", likely);
        }
    }

    /// The crates of a list that were not added yet, or without a feature that is needed now.
    fn missing(&self, named: Vec<CellCrate>) -> Vec<CellCrate> {
        let is_present = |c: &CellCrate| {
            let added = self.added.get(&c.name).filter(|added| added.path == c.path);
            added.is_some_and(|added| c.features.iter().all(|feature| added.features.contains(feature)))
        };
        named.into_iter().filter(|c| !is_present(c)).collect()
    }

    /// Remembers the versions with which the last cell was built.
    pub fn remember_versions(&mut self) {
        if let (Some(prebuilt), false) = (&mut self.prebuilt, self.added.is_empty() && !self.has_news)
            && let Ok(text) = std::fs::read_to_string(build_folder().join(LOCK))
        {
            // The old versions stay too: a later cell may need tensors, and then those that are prebuilt.
            prebuilt.lock = lock_file::merged(&text, &prebuilt.lock);
        }
    }
}

/// The folder of the crate that evcxr makes of cells.
fn build_folder() -> PathBuf {
    std::env::var_os(BUILD_FOLDER).map(PathBuf::from).unwrap_or_default()
}

/// The path of a file in that folder, quoted for a shell.
fn quoted(file: &str) -> String {
    format!("'{}'", build_folder().join(file).display().to_string().replace('\'', "'\\''"))
}

fn execute(context: &mut CommandContext, code: &str) -> Result<(), CellError> {
    match context.execute(code) {
        Ok(_) => Ok(()),
        // What the user asked for can only fail in cargo: the code that is compiled here is the kernel's own.
        Err(error) => Err(CellError::of_cargo(&error.to_string())),
    }
}

fn not_built() -> CellError {
    let executable = std::env::current_exe().map_or("tunebook".into(), |path| path.display().to_string());
    let message = format!(
        "tensors in cells must be built once in advance, and that was not done for this version of Tunebook: run \
         `{executable} prepare` in a terminal (some minutes, once) and restart the kernel"
    );
    CellError::new(ErrorName::NotPrepared, message)
}

/// Whether a cell contains an `.await` that is in no `async` function, closure or block.
fn awaits(code: &str) -> bool {
    use ra_ap_syntax::ast::{self, AstNode};
    if !code.contains(".await") {
        return false;
    }
    let file =
        ra_ap_syntax::SourceFile::parse(&format!("fn cell() {{{code}\n}}"), ra_ap_syntax::Edition::CURRENT).tree();
    let is_async = |node: ra_ap_syntax::SyntaxNode| {
        ast::Fn::cast(node.clone()).is_some_and(|function| function.async_token().is_some())
            || ast::ClosureExpr::cast(node.clone()).is_some_and(|closure| closure.async_token().is_some())
            || ast::BlockExpr::cast(node).is_some_and(|block| block.async_token().is_some())
    };
    // The parser does not look into macros. An `.await` in one counts, because it may be code.
    let in_macro = |node: &ra_ap_syntax::SyntaxNode| {
        ast::MacroCall::can_cast(node.kind()) && node.text().to_string().contains(".await")
    };
    let waits = |node: &ra_ap_syntax::SyntaxNode| ast::AwaitExpr::can_cast(node.kind()) || in_macro(node);
    let mut waiting = file.syntax().descendants().filter(waits);
    waiting.any(|node| !node.ancestors().any(is_async))
}

/// The `:dep` lines of a cell, and the cell with an empty line in place of each, so that line numbers stay.
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
    use super::*;

    #[test]
    fn an_await_counts_only_at_the_top_level() {
        assert!(
            awaits("let x = f().await;") && awaits("for x in y { x.await?; }") && awaits("print!(\"{}\", f().await)")
        );
        for code in ["async fn f() { g().await }", "let f = async { g().await };", "\".await\"", "1"] {
            assert!(!awaits(code), "{code}");
        }
    }

    #[test]
    fn dep_lines_are_taken_out_and_other_lines_keep_their_numbers() {
        let (asked, rest) =
            take_dependencies("let a = 1;\n  :dep rand = \"0.9\"\nlet b = 2;\n:dep x = { path = \"p\" }");
        assert_eq!(asked, ":dep rand = \"0.9\"\n:dep x = { path = \"p\" }\n");
        assert_eq!(rest, "let a = 1;\n\nlet b = 2;\n");
    }
}
