//! ARCHITECTURE.md against the code: the table of crates against the manifests, and the rooms of the magics against
//! their imports.
//!
//! A *room* is a top-level module of `magics/commands`, or a magic in its folder `commands`. Between rooms imports
//! make no circle; inside a room they may.

mod circles;
mod imports;
mod manifests;
mod table;

use circles::circles;
use imports::{Import, Sources, imports};
use manifests::{Package, packages};
use std::collections::BTreeSet;
use std::path::PathBuf;
use table::{Row, rows};

/// Crates that only the rows of the table which name them may depend on.
const RESTRICTED: [&str; 5] = ["evcxr", "jupyter-protocol", "plotly", "tch", "zeromq"];

fn root() -> PathBuf {
    tunebook_tests::repository()
}

fn document() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    rows(&text)
}

/// Fails with a list of mistakes, if there are any.
fn must_be_none(what: &str, mistakes: &[String]) {
    assert!(mistakes.is_empty(), "{what}:\n{}", mistakes.join("\n"));
}

#[test]
fn the_table_has_one_row_for_each_crate_of_the_workspace() {
    let rows: BTreeSet<(String, String)> = document().into_iter().map(|row| (row.folder, row.package)).collect();
    let packages: BTreeSet<(String, String)> =
        packages(&root()).into_iter().map(|package| (package.folder, package.name)).collect();
    let mut mistakes = vec![];
    for (folder, name) in packages.difference(&rows) {
        mistakes.push(format!("`{folder}` with the crate `{name}` has no row"));
    }
    for (folder, name) in rows.difference(&packages) {
        mistakes.push(format!("the row of `{folder}` and `{name}` has no such crate in the workspace"));
    }
    must_be_none("ARCHITECTURE.md's table of crates is not up to date", &mistakes);
}

#[test]
fn crates_depend_on_nothing_that_the_table_does_not_allow() {
    let rows = document();
    let mistakes = forbidden_dependencies(&rows, &packages(&root()));
    must_be_none("ARCHITECTURE.md's column `may depend on` does not allow these dependencies", &mistakes);
}

/// The dependencies that a row of the table would have to name and does not, and the names in the table that stand for
/// nothing.
fn forbidden_dependencies(rows: &[Row], packages: &[Package]) -> Vec<String> {
    let mut mistakes = vec![];
    for row in rows {
        for word in &row.may_depend_on {
            if !RESTRICTED.contains(&word.as_str()) && !rows.iter().any(|row| row.short_name() == word) {
                mistakes.push(format!("{}: the table names `{word}`, which is no crate of it", row.folder));
            }
        }
        let package = packages.iter().find(|package| package.name == row.package);
        for dependency in package.iter().flat_map(|package| &package.dependencies) {
            // A crate is named by the last part of its folder, a crate from the registry by its own name.
            let of_workspace = rows.iter().find(|row| row.package == *dependency);
            let needed = match of_workspace {
                Some(other) => other.short_name(),
                None if RESTRICTED.contains(&dependency.as_str()) => dependency,
                None => continue,
            };
            if dependency != &row.package && !row.may_depend_on.iter().any(|word| word == needed) {
                mistakes
                    .push(format!("{}: depends on `{dependency}`; its row would have to name `{needed}`", row.folder));
            }
        }
    }
    mistakes
}

#[test]
fn the_kernel_reaches_no_crate_that_links_libtorch() {
    let packages = packages(&root());
    let (mut reached, mut next) = (vec!["tunebook-kernel"], 0);
    while let Some(name) = reached.get(next) {
        let package = packages.iter().find(|package| package.name == *name).expect("a crate of the workspace");
        assert!(!package.links("tch"), "the kernel depends on `tch` through {}", reached[..=next].join(", "));
        let further = packages.iter().map(|package| package.name.as_str()).filter(|name| package.links(name));
        let new: Vec<&str> = further.filter(|name| !reached.contains(name)).collect();
        reached.extend(new);
        next += 1;
    }
    assert!(reached.contains(&"tunebook-study"), "the walk does not follow dependencies: {reached:?}");
}

/// The imports between the rooms of the magics.
fn imports_of_the_magics() -> Vec<Import> {
    let found = imports(&Sources::read(&root().join("magics/commands/src")), &["commands"]);
    assert!(found.len() > 20, "the imports of the magics are not found: {found:?}");
    found
}

#[test]
fn imports_between_the_rooms_of_the_magics_make_no_circle() {
    let mistakes: Vec<String> = circles(&imports_of_the_magics()).iter().map(ToString::to_string).collect();
    must_be_none("rooms of magics/commands/src import each other", &mistakes);
}

#[test]
fn only_lib_imports_the_registry() {
    let imports = imports_of_the_magics();
    let wrong = imports.iter().filter(|import| import.to == "commands" && import.from != imports::LIB);
    let mistakes: Vec<String> = wrong.map(|import| format!("{} in {}", import.place, import.from)).collect();
    must_be_none("the registry knows all magics, so nothing but lib.rs may import it", &mistakes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_the_row_does_not_name_is_found() {
        let table = "| folder | crate | holds | may depend on |\n| --- | --- | --- | --- |\n\
                     | `magics/study` | `tunebook-study` | | – |\n| `magics/pool` | `tunebook-pool` | | study, tch, stduy |\n";
        let package = |name: &str, dependencies: &[&str]| Package {
            name: name.into(),
            folder: String::new(),
            dependencies: dependencies.iter().map(ToString::to_string).collect(),
            linked: vec![],
        };
        let packages = [
            package("tunebook-study", &["serde", "tch", "tunebook-pool"]),
            package("tunebook-pool", &["tunebook-study", "tunebook-pool", "tch", "plotly"]),
        ];
        assert_eq!(
            forbidden_dependencies(&rows(table), &packages),
            [
                "magics/study: depends on `tch`; its row would have to name `tch`",
                "magics/study: depends on `tunebook-pool`; its row would have to name `pool`",
                "magics/pool: the table names `stduy`, which is no crate of it",
                "magics/pool: depends on `plotly`; its row would have to name `plotly`",
            ]
        );
    }
}
