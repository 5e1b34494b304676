//! The crates that a Rust cell can use without asking for them: `tunebook`, with tensors where it names them, and each
//! `%%workload`.

use super::source::Body;
use super::sources::Sources;
use super::workshop::Workshop;
use crate::context::Context;
use crate::error::Result;
use crate::syntax::Source;
use std::path::PathBuf;
use tunebook_study::store::Store;

/// The folder of the crate for cells.
const FOLDER: &str = "kernel/library";
/// Crates that are there with tensors.
const TENSOR_CRATES: [&str; 2] = ["tch", "tunebook_training"];
/// What `tunebook` has only with tensors.
const TENSOR_ITEMS: [&str; 11] = [
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

/// A crate for cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellCrate {
    /// What cells call it.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Its features beside the default ones. Once they are there they stay: a cell that names fewer takes none away.
    pub features: Vec<String>,
}

/// The crates that a cell names; `tunebook` is the first if there is any.
pub fn crates_for(context: &Context, code: &str) -> Result<Vec<CellCrate>> {
    let defined = match Store::open_to_read(&context.settings.store)? {
        Some(store) => store.workloads()?,
        None => vec![],
    };
    let named: Vec<_> = defined.into_iter().filter(|record| names(code, &record.name)).collect();
    if named.is_empty() && !needs_tensors(code) {
        return match names(code, "tunebook") {
            true => Ok(vec![light(&Sources::open(&context.settings.cache)?)]),
            false => Ok(vec![]),
        };
    }
    let mut crates = vec![tensors(&Sources::open(&context.settings.cache)?)];
    if !named.is_empty() {
        let workshop = Workshop::open(context)?;
        for record in named {
            let body = Body::new(&record.name, &record.body, &Source::new(&record.body, 0), 0)?;
            crates.push(CellCrate { path: workshop.crate_for_cells(&body)?, name: record.name, features: vec![] });
        }
    }
    Ok(crates)
}

/// The crate for cells without tensors: it needs no libtorch.
pub fn light(sources: &Sources) -> CellCrate {
    CellCrate { name: "tunebook".into(), path: sources.folder(FOLDER), features: vec![] }
}

/// The crate for cells with tensors.
pub fn tensors(sources: &Sources) -> CellCrate {
    CellCrate { features: vec!["tensors".into()], ..light(sources) }
}

/// Whether code names something that is there with tensors alone.
fn needs_tensors(code: &str) -> bool {
    if TENSOR_CRATES.iter().any(|name| names(code, name)) {
        return true;
    }
    let items: Vec<&str> = entered(code, "tunebook").flat_map(items).collect();
    // Behind `*` and another name anything can be meant: what looks like it is taken for it.
    let all = items.iter().any(|item| ["*", "self"].contains(item)) || renamed(code, "tunebook");
    TENSOR_ITEMS.iter().any(|item| items.contains(item) || all && words(code).any(|word| word == *item))
}

/// Whether code goes into a crate: `name::` or `use name`.
fn names(code: &str, name: &str) -> bool {
    entered(code, name).next().is_some() || after_each(code, name).any(|(before, _)| before.trim_end().ends_with("use"))
}

/// Whether `use name as other` stands somewhere.
fn renamed(code: &str, name: &str) -> bool {
    after_each(code, name).any(|(_, after)| words(after).next() == Some("as") && after.starts_with(char::is_whitespace))
}

/// What stands behind each `name::`.
fn entered<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    after_each(code, name).filter_map(|(_, after)| after.trim_start().strip_prefix("::"))
}

/// What stands before and behind each whole word that is the name.
fn after_each<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    code.match_indices(name).filter_map(move |(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        (!before.ends_with(inside) && !after.starts_with(inside)).then_some((before, after))
    })
}

/// The items at the beginning of a path: one, or those of a group `{a, b::c}`.
fn items(path: &str) -> Vec<&str> {
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
    text.split(|c| !inside(c)).filter(|word| !word.is_empty())
}

/// Whether a character is one of a name.
fn inside(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Settings;

    #[test]
    fn a_crate_is_named_where_its_path_is_entered() {
        for code in ["tch::Tensor::zeros()", "use tch;", "use  tch ::nn;", "let t = tch\n    ::Tensor::new();"] {
            assert!(names(code, "tch"), "{code}");
        }
        for code in ["let tch = 1;", "my_tch::f()", "tchx::f()", "// tch", "sketch::x()"] {
            assert!(!names(code, "tch"), "{code}");
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
    fn a_cell_without_tensors_needs_no_libtorch() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("none");
        let context = Context::new(Settings {
            store: folder.path().join("studies.db"),
            slot: vec![],
            worker: nowhere,
            cache: folder.path().join("cache"),
        });
        assert_eq!(crates_for(&context, "let model = 1;").unwrap(), []);
        let crates = crates_for(&context, "tunebook::display(&1)").unwrap();
        let [CellCrate { name, path, features }] = &crates[..] else { panic!("{crates:?}") };
        assert!(name == "tunebook" && features.is_empty() && path.join("Cargo.toml").is_file(), "{crates:?}");
        let crates = crates_for(&context, "use tch::Tensor;").unwrap();
        assert_eq!((&crates[0].path, &crates[0].features), (path, &vec!["tensors".to_string()]));
    }
}
