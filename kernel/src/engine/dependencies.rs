//! The crates that cells depend on: those that the kernel adds by itself, and those that the user asks for with
//! `:dep`.

use super::errors::CellError;
use super::versions::{Versions, of_cargo};
use evcxr::{CommandContext, ContextState, Dependency};
use std::collections::BTreeMap;
use std::sync::Arc;
use tunebook_magics::ErrorName;
use tunebook_prebuilt::{CellCrate, IMAGE_ITEM, Prebuilt, Sharing};
use tunebook_split::command_lines;

/// The crate that runs the futures which cells wait for, and its line in `Cargo.toml`.
const TOKIO: (&str, &str) = ("tokio", "{ version = \"1.34.0\", features = [\"rt\", \"rt-multi-thread\"] }");
/// What is said when the kernel adds that crate.
const NOTE_OF_TOKIO: &str = "note: `.await` brought the crate tokio with its features \"rt\" and \"rt-multi-thread\". \
    For others, such as \"time\" or \"net\", run `:dep tokio = { version = \"1\", features = [\"full\"] }`.\n";
/// The names that every cell can use once there are tensors.
const IN_SCOPE: &str = "use tunebook::prelude::*;\nuse tunebook::{tch, tunebook_training};";

/// The dependencies that were added so far.
pub struct Dependencies {
    prebuilt: Option<Prebuilt>,
    versions: Versions,
    /// The crates that the kernel has added, by name.
    added: BTreeMap<String, CellCrate>,
    /// Whether a `:dep` has built crates that the user's other kernels do not have yet.
    has_news: bool,
    /// What the user is told with the cell for which crates were added.
    notes: Vec<String>,
    /// Whether the item that shows pictures of the crate `image` was added.
    shows_images: bool,
}

impl Dependencies {
    /// No dependencies yet; crates that are prebuilt will be used.
    pub fn new(prebuilt: Option<Prebuilt>) -> Self {
        let versions = Versions::new(prebuilt.as_ref().map(|prebuilt| prebuilt.lock.clone()).unwrap_or_default());
        Self { prebuilt, versions, added: BTreeMap::new(), has_news: false, notes: vec![], shows_images: false }
    }

    /// Adds the crates that a cell names, and those that its `:dep` lines ask for. Returns the code that is left.
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
        let (mut asked, rest) = take_dependencies(code)?;
        let (tokio, tokio_config) = TOKIO;
        let has_tokio = present.iter().chain(asked.iter().map(|asked| &asked.name)).any(|name| name == tokio);
        if awaits(code) && !has_tokio {
            asked.push(Dependency { name: tokio.into(), config: tokio_config.into() });
            self.notes.push(NOTE_OF_TOKIO.into());
        }
        if new.is_empty() && asked.is_empty() {
            return Ok(code.into());
        }
        let tensors = |krate: &CellCrate| !krate.features.is_empty();
        let brings_tensors = new.iter().any(tensors) && !self.added.values().any(tensors);
        // The state takes effect when the evaluation below succeeds.
        let mut state = context.eval_context().state();
        match self.prebuilt.as_ref().and_then(|prebuilt| prebuilt.libtorch.as_ref()) {
            None if brings_tensors => return Err(not_built()),
            Some(libtorch) if self.added.is_empty() => {
                state.set_build_env("LIBTORCH", &libtorch.display().to_string());
                state.set_build_env("LIBTORCH_CXX11_ABI", "1");
            }
            _ => {}
        }
        if let (false, Some(sharing)) = (asked.is_empty(), self.sharing()) {
            // Another kernel may have built the dependency meanwhile. If that cannot be used, it is built again.
            let _ = sharing.receive();
            self.has_news = true;
        }
        let names: Vec<String> = asked.iter().map(|asked| asked.name.clone()).collect();
        let dependencies = new.iter().map(as_dependency).chain(asked);
        let before = self.versions.clone();
        if let Err(error) = self.build(context, state, dependencies, brings_tensors) {
            self.versions = before;
            self.versions.restore()?;
            return Err(error);
        }
        if self.prebuilt.is_some() {
            self.notes.extend(Versions::changes(&before, &names));
        }
        self.added.extend(new.into_iter().map(|krate| (krate.name.clone(), krate)));
        self.show_images(context);
        Ok(rest)
    }

    /// Takes what the user is to be told about the crates that were added.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Adds dependencies to a state and builds them, also where there is no code.
    fn build(
        &mut self,
        context: &mut CommandContext,
        mut state: ContextState,
        dependencies: impl Iterator<Item = Dependency>,
        brings_tensors: bool,
    ) -> Result<(), CellError> {
        for dependency in dependencies {
            self.notes.extend(self.versions.add(&mut state, &dependency)?);
        }
        self.versions.restore()?;
        let code = if brings_tensors { IN_SCOPE } else { "" };
        context.eval_context().eval_with_state(code, state).map(drop).map_err(of_cargo)
    }

    /// Keeps the versions with which a cell was built. To be called after each cell.
    pub fn remember_versions(&mut self) {
        if self.prebuilt.is_some() && (self.has_news || !self.added.is_empty()) {
            self.versions.remember();
        }
    }

    /// Once there is the crate `image`, its images are shown as pictures. The crate itself knows nothing of notebooks.
    fn show_images(&mut self, context: &mut CommandContext) {
        let has_images = context.eval_context().dependencies().any(|(name, _)| name == "image");
        if has_images && !self.shows_images {
            // If the version of the crate does not fit, images are shown as text.
            let _ = context.eval_context().eval(IMAGE_ITEM);
            self.shows_images = true;
        }
    }

    fn sharing(&self) -> Option<&Sharing> {
        self.prebuilt.as_ref()?.sharing.as_ref()
    }

    /// Lets the user's other kernels use what was built for a `:dep`.
    pub fn share(&mut self) {
        if let (true, Some(sharing)) = (self.has_news, self.sharing()) {
            // If this fails, the other kernels build it again.
            let _ = sharing.publish();
            self.has_news = false;
        }
    }

    /// Adds crates that cells are likely to name.
    pub fn preload(&mut self, context: &mut CommandContext, likely: Vec<CellCrate>) {
        // Nobody is told what cargo does, because no cell runs.
        context.eval_context().set_progress(Arc::new(|_| {}));
        // If this fails, a cell that names the crates tells the error.
        if self.prebuilt.as_ref().is_some_and(|prebuilt| prebuilt.libtorch.is_some()) {
            let _ = self.add(context, "", likely);
        }
    }

    /// Returns the crates that were not added yet, or were added without a feature that is asked for. A crate that has
    /// more features than are asked for keeps them.
    fn missing(&self, named: Vec<CellCrate>) -> Vec<CellCrate> {
        let is_added = |krate: &CellCrate| {
            let added = self.added.get(&krate.name).filter(|added| added.path == krate.path);
            added.is_some_and(|added| krate.features.iter().all(|feature| added.features.contains(feature)))
        };
        named.into_iter().filter(|krate| !is_added(krate)).collect()
    }
}

fn as_dependency(krate: &CellCrate) -> Dependency {
    let config = format!("{{ path = {:?}, features = {:?} }}", krate.path.display().to_string(), krate.features);
    Dependency { name: krate.name.clone(), config }
}

fn not_built() -> CellError {
    let executable = std::env::current_exe().map_or("tunebook".into(), |path| path.display().to_string());
    let message = format!(
        "tensors in cells must be built once in advance, and that was not done for this version of Tunebook: run \
         `{executable} prepare` in a terminal (some minutes, once) and restart the kernel"
    );
    CellError::new(ErrorName::NotPrepared, message)
}

/// Returns whether a cell has an `.await` outside of `async` functions, closures and blocks.
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
    // The arguments of a macro are not parsed, and may be code.
    let in_macro = |node: &ra_ap_syntax::SyntaxNode| {
        ast::MacroCall::can_cast(node.kind()) && node.text().to_string().contains(".await")
    };
    let waits = |node: &ra_ap_syntax::SyntaxNode| ast::AwaitExpr::can_cast(node.kind()) || in_macro(node);
    let mut waiting = file.syntax().descendants().filter(waits);
    waiting.any(|node| !node.ancestors().any(is_async))
}

/// Returns the dependencies that the `:dep` lines of a cell ask for, and the cell with empty lines in their place.
fn take_dependencies(code: &str) -> Result<(Vec<Dependency>, String), CellError> {
    let (mut asked, mut rest) = (Vec::new(), String::new());
    let commands = command_lines(code);
    for (number, line) in code.split_inclusive('\n').enumerate() {
        if commands.contains(&number) && line.trim_start().starts_with(":dep ") {
            let mut dependency = Dependency::parse(line.trim()[":dep".len()..].trim_start()).map_err(of_cargo)?;
            dependency.config = with_dashes(&dependency.config);
            asked.push(dependency);
            rest.extend(line.ends_with('\n').then_some('\n'));
        } else {
            rest += line;
        }
    }
    Ok((asked, rest))
}

/// Writes the key `default_features` as cargo knows it. Many notebooks have the older name, which the edition of cells
/// does not accept.
fn with_dashes(config: &str) -> String {
    let mut parts: Vec<String> = config.split("default_features").map(String::from).collect();
    for next in parts.iter_mut().skip(1) {
        let is_key = next.trim_start().starts_with('=');
        next.insert_str(0, if is_key { "default-features" } else { "default_features" });
    }
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_await_within_something_async_is_not_of_the_cell() {
        assert!(
            awaits("let x = f().await;") && awaits("for x in y { x.await?; }") && awaits("print!(\"{}\", f().await)")
        );
        for code in ["async fn f() { g().await }", "let f = async { g().await };", "\".await\"", "1"] {
            assert!(!awaits(code), "{code}");
        }
    }

    #[test]
    fn dependencies_are_taken_out_and_other_lines_keep_their_numbers() {
        let code = "let a = 1;\n  :dep rand = \"0.9\"\nlet b = 2;\n:dep x = { path = \"p\" }\n:dep any";
        let (asked, rest) = take_dependencies(code).unwrap();
        let asked: Vec<(&str, &str)> = asked.iter().map(|d| (d.name.as_str(), d.config.as_str())).collect();
        assert_eq!(asked, [("rand", "\"0.9\""), ("x", "{ path = \"p\" }"), ("any", "\"*\"")]);
        assert_eq!(rest, "let a = 1;\n\nlet b = 2;\n\n");
    }

    #[test]
    fn a_dep_in_a_string_or_a_comment_is_none() {
        for code in ["let s = \"\n:dep rand\n\";", "/*\n:dep rand\n*/", "r#\"\n  :dep rand = \"1\"\n\"#"] {
            let (asked, rest) = take_dependencies(code).unwrap();
            assert_eq!((asked.len(), rest.as_str()), (0, code));
        }
    }

    #[test]
    fn the_older_name_of_a_key_is_understood() {
        let config = "{ version = \"1\", default_features = false, features = [\"default_features\"] }";
        let expected = "{ version = \"1\", default-features = false, features = [\"default_features\"] }";
        assert_eq!(with_dashes(config), expected);
    }

    #[test]
    fn a_dependency_that_cannot_be_parsed_is_an_error() {
        for (line, said) in [(":dep ", "requires arguments"), (":dep a b", "Invalid :dep command")] {
            let error = take_dependencies(line).unwrap_err();
            assert!(error.message.contains(said), "{line}: {}", error.message);
        }
    }
}
