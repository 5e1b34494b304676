//! The crates of cells: those that the kernel adds by itself, and what `:dep` must not do to them.
//!
//! evcxr tries each `:dep` in a manifest of its own, and cargo then forgets the versions of everything else; so the
//! `Cargo.lock` with which things are built is kept here and put back.

use super::errors::CellError;
use evcxr::CommandContext;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tunebook_prebuilt::{BUILD_FOLDER, CellCrate, IMAGE_ITEM, Prebuilt, Sharing, lock_file};

/// The versions of the crate that evcxr makes of cells, and those with which things were built.
const LOCK: &str = "Cargo.lock";
const KEPT_LOCK: &str = "Cargo.lock.kept";
/// What waits for the futures of cells.
const TOKIO: &str = ":dep tokio = { version = \"1.34.0\", features = [\"rt\", \"rt-multi-thread\"] }\n";
/// In scope of every cell once tensors are.
const IN_SCOPE: &str = "use tunebook::prelude::*;\nuse tunebook::{tch, tunebook_training};";

/// See the module.
pub struct Dependencies {
    prebuilt: Option<Prebuilt>,
    added: BTreeMap<String, CellCrate>,
    /// Whether a cell has asked for crates that others may want.
    to_share: bool,
    shows_images: bool,
}

impl Dependencies {
    /// Over what was built, if there is a place for it.
    pub fn new(prebuilt: Option<Prebuilt>) -> Self {
        Self { prebuilt, added: BTreeMap::new(), to_share: false, shows_images: false }
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
        self.shows_images &= there.iter().any(|name| name == "image");
        let new = self.missing(named);
        let (mut asked, rest) = take_dependencies(code);
        if awaits(code) && !there.iter().any(|name| name == "tokio") && !asked.contains(":dep tokio") {
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
            // Put back before anything is compiled.
            commands += &format!("!cp {} {}\n", quoted(KEPT_LOCK), quoted(LOCK));
            for file in [KEPT_LOCK, LOCK] {
                let path = build_folder().join(file);
                let failed = |error| CellError::new("Error", format!("{} cannot be written: {error}", path.display()));
                std::fs::write(&path, &prebuilt.lock).map_err(failed)?;
            }
        }
        if brings_tensors {
            commands += IN_SCOPE;
        }
        if let (false, Some(sharing)) = (asked.is_empty(), self.sharing()) {
            // Another kernel may have built it meanwhile. If it cannot be had, it is built again.
            let _ = sharing.receive();
            self.to_share = true;
        }
        execute(context, &commands)?;
        self.added.extend(new.into_iter().map(|c| (c.name.clone(), c)));
        self.show_images(context);
        Ok(rest)
    }

    /// Where there is the crate `image`, its images are shown: it knows nothing of notebooks itself.
    fn show_images(&mut self, context: &mut CommandContext) {
        let has_images = context.eval_context().dependencies().any(|(name, _)| name == "image");
        if has_images && !self.shows_images {
            // A version that it does not fit shows its images as text.
            let _ = execute(context, IMAGE_ITEM);
            self.shows_images = true;
        }
    }

    fn sharing(&self) -> Option<&Sharing> {
        self.prebuilt.as_ref()?.sharing.as_ref()
    }

    /// Gives what was built for a `:dep` to the user's other kernels.
    pub fn share(&mut self) {
        if let (true, Some(sharing)) = (self.to_share, self.sharing()) {
            // It is a matter of speed alone.
            let _ = sharing.publish();
            self.to_share = false;
        }
    }

    /// Adds crates that cells are likely to name.
    pub fn preload(&mut self, context: &mut CommandContext, likely: Vec<CellCrate>) {
        // A cell that names them will say what is wrong.
        if self.prebuilt.as_ref().is_some_and(|prebuilt| prebuilt.libtorch.is_some()) {
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
        if let (Some(prebuilt), false) = (&mut self.prebuilt, self.added.is_empty() && !self.to_share)
            && let Ok(text) = std::fs::read_to_string(build_folder().join(LOCK))
        {
            // Tensors may come later, and are to be those that were built.
            prebuilt.lock = lock_file::merged(&text, &prebuilt.lock);
        }
    }
}

/// The folder of the crate that evcxr makes of cells.
fn build_folder() -> PathBuf {
    std::env::var_os(BUILD_FOLDER).map(PathBuf::from).unwrap_or_default()
}

/// A file of that folder for a shell.
fn quoted(file: &str) -> String {
    format!("'{}'", build_folder().join(file).display().to_string().replace('\'', "'\\''"))
}

fn execute(context: &mut CommandContext, code: &str) -> Result<(), CellError> {
    match context.execute(code) {
        Ok(_) => Ok(()),
        // What does not compile was written here; what the user asked for is told by cargo.
        Err(error) => Err(CellError::of_cargo(&error.to_string())),
    }
}

fn not_built() -> CellError {
    let executable = std::env::current_exe().map_or("tunebook".into(), |path| path.display().to_string());
    let message = format!(
        "tensors in cells are built prebuilt, and that was not done for this version of Tunebook: run `{executable} prepare` in a \
         terminal (some minutes, once) and restart the kernel"
    );
    CellError::new("NotPrepared", message)
}

/// Whether a cell waits for something at its top level, outside of what is `async` itself.
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
    // What is in a macro may be code.
    let in_macro = |node: &ra_ap_syntax::SyntaxNode| {
        ast::MacroCall::can_cast(node.kind()) && node.text().to_string().contains(".await")
    };
    let waits = |node: &ra_ap_syntax::SyntaxNode| ast::AwaitExpr::can_cast(node.kind()) || in_macro(node);
    let mut waiting = file.syntax().descendants().filter(waits);
    waiting.any(|node| !node.ancestors().any(is_async))
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
    use super::*;

    #[test]
    fn what_waits_at_the_top_level_is_told_from_what_is_async_itself() {
        assert!(
            awaits("let x = f().await;") && awaits("for x in y { x.await?; }") && awaits("print!(\"{}\", f().await)")
        );
        for code in ["async fn f() { g().await }", "let f = async { g().await };", "\".await\"", "1"] {
            assert!(!awaits(code), "{code}");
        }
    }

    #[test]
    fn dependencies_are_taken_out_and_lines_stay_where_they_were() {
        let (asked, rest) =
            take_dependencies("let a = 1;\n  :dep rand = \"0.9\"\nlet b = 2;\n:dep x = { path = \"p\" }");
        assert_eq!(asked, ":dep rand = \"0.9\"\n:dep x = { path = \"p\" }\n");
        assert_eq!(rest, "let a = 1;\n\nlet b = 2;\n");
    }
}
