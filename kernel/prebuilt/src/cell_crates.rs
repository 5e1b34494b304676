//! The crates that a Rust cell may name without `:dep`: `tunebook`, and `tch` and the like, which come with the feature
//! `tensors` of `tunebook`. Each `%%workload` is one more; the magics add it.

use crate::sources::Sources;
use std::path::PathBuf;

/// The folder of the crate `tunebook` in the repository.
const FOLDER: &str = "kernel/library";
/// The feature of `tunebook` that needs libtorch.
const TENSORS: &str = "tensors";
/// Crates that a cell can name because `tunebook` with tensors re-exports them.
const TENSOR_CRATES: [&str; 2] = ["tch", "tunebook_training"];
/// The names that `tunebook` exports only with tensors. The build script reads them from the source of the crate.
const TENSOR_ITEMS: &[&str] = include!(concat!(env!("OUT_DIR"), "/tensor_items.rs"));

/// A crate that a cell names, as a dependency of the crate that evcxr makes of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellCrate {
    /// The name under which cells use it.
    pub name: String,
    /// The folder of its manifest.
    pub path: PathBuf,
    /// Features beyond the default ones. A feature that one cell needed stays on for the cells after it.
    pub features: Vec<String>,
}

impl CellCrate {
    /// The crate `tunebook` without tensors: it needs no libtorch.
    pub fn tunebook(sources: &Sources) -> Self {
        Self::without_tensors(sources.folder(FOLDER))
    }

    /// The crate `tunebook` with tensors.
    pub fn tunebook_with_tensors(sources: &Sources) -> Self {
        Self::tunebook(sources).with_tensors()
    }

    /// The crate `tunebook` in a folder, without tensors.
    pub fn without_tensors(path: PathBuf) -> Self {
        Self { name: "tunebook".into(), path, features: vec![] }
    }

    /// The same crate with tensors.
    pub fn with_tensors(mut self) -> Self {
        self.features.push(TENSORS.into());
        self
    }
}

/// Whether code names something that `tunebook` has only with tensors.
///
/// This is decided from the text, without resolving names: after `use tunebook::*` or `use tunebook as t`, each word
/// that is the name of such an item counts. An error to this side costs a build with tensors that was not needed; an
/// error to the other side would be a cell that does not compile.
pub fn needs_tensors(code: &str) -> bool {
    if TENSOR_CRATES.iter().any(|name| names_crate(code, name)) {
        return true;
    }
    let items: Vec<&str> = paths_into(code, "tunebook").flat_map(first_items).collect();
    let any_name = items.iter().any(|item| ["*", "self"].contains(item)) || is_renamed(code, "tunebook");
    TENSOR_ITEMS.iter().any(|item| items.contains(item) || any_name && words(code).any(|word| word == *item))
}

/// Whether code contains a path into a crate (`name::…`) or imports the crate (`use name`).
pub fn names_crate(code: &str, name: &str) -> bool {
    let is_imported = || occurrences(code, name).any(|(before, _)| before.trim_end().ends_with("use"));
    paths_into(code, name).next().is_some() || is_imported()
}

/// Whether code contains `use name as other`.
fn is_renamed(code: &str, name: &str) -> bool {
    let is_as = |after: &str| words(after).next() == Some("as") && after.starts_with(char::is_whitespace);
    occurrences(code, name).any(|(_, after)| is_as(after))
}

/// The text that follows each `name::`.
fn paths_into<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    occurrences(code, name).filter_map(|(_, after)| after.trim_start().strip_prefix("::"))
}

/// The text before and the text after each whole word that is this name.
fn occurrences<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    code.match_indices(name).filter_map(move |(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        (!before.ends_with(is_word_character) && !after.starts_with(is_word_character)).then_some((before, after))
    })
}

/// The first segments of a path: one name, or one for each member of a group `{a, b::c}`.
fn first_items(path: &str) -> Vec<&str> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        return if path.starts_with('*') { vec!["*"] } else { words(path).take(1).collect() };
    };
    let (mut items, mut depth, mut start) = (vec![], 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let item = group[start..at].trim();
                items.extend(if item == "*" { Some("*") } else { words(item).next() });
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word_character(c)).filter(|word| !word.is_empty())
}

fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_named_where_its_path_is_entered() {
        for code in ["tch::Tensor::zeros()", "use tch;", "use  tch ::nn;", "let t = tch\n    ::Tensor::new();"] {
            assert!(names_crate(code, "tch"), "{code}");
        }
        for code in ["let tch = 1;", "my_tch::f()", "tchx::f()", "// tch", "sketch::x()"] {
            assert!(!names_crate(code, "tch"), "{code}");
        }
    }

    #[test]
    fn tensors_come_with_what_needs_them_and_with_nothing_else() {
        let with = [
            "tch::Tensor::zeros()",
            "tunebook_training::data::digits::load()",
            "tunebook::model(\"depth\", 1)?",
            "tunebook :: model_of(wine::Wine, \"wines\", 3)?",
            "use tunebook::{display, tch};",
            "use tunebook::{\n    prelude::{ToBundle},\n    checkpoint as c,\n};",
            "use tunebook::{self, display};\ntunebook::picture(&t)",
            "use tunebook::*;\nlet best = model(\"depth\", 1)?;",
            "use tunebook as t;\nt::device()",
            "use tunebook::{self as t};\nt::device()",
            "use tunebook::prelude::*;\nuse tch::Tensor;",
        ];
        for code in with {
            assert!(needs_tensors(code), "{code}");
        }
        let without = [
            "tunebook::display(&model)",
            "use tunebook::{display, progress};\nlet device = 1;",
            "use tunebook::{prelude::{a, model}, display};",
            "for model in tunebook::progress(models) {}",
            "use tunebook::*;\ndisplay(&models);",
            "use tunebook as t;\nt::display(&x)",
            "tunebook::study(\"model\")?.best()",
            "tunebook::input(\"device: \")?",
            "let checkpoint = 1;",
        ];
        for code in without {
            assert!(!needs_tensors(code), "{code}");
        }
    }

    #[test]
    fn the_list_of_names_that_need_tensors_is_read_from_the_library() {
        let with = [
            "Checkpoint",
            "Picture",
            "ShowTensor",
            "Trained",
            "checkpoint",
            "device",
            "model",
            "model_of",
            "picture",
            "tch",
            "tunebook_training",
        ];
        for name in with {
            assert!(TENSOR_ITEMS.contains(&name), "{name}: {TENSOR_ITEMS:?}");
        }
        // Names that are there without tensors, and private modules.
        for name in ["display", "progress", "study", "magic", "Bundle", "prelude", "show", "trained", "*"] {
            assert!(!TENSOR_ITEMS.contains(&name), "{name}: {TENSOR_ITEMS:?}");
        }
    }
}
