//! Embeds the sources of the crates that Rust cells and `%%workload`s are built with, so that an installed kernel can
//! build them without a checkout of Tunebook; and lists the names that the crate `tunebook` exports only with tensors.
//!
//! Checkouts may share a target folder, and cargo then reuses the results of one for the other. So nothing in `OUT_DIR`
//! may refer to the checkout that was built: the files are copied to `OUT_DIR`, and cargo watches them by relative
//! paths, which it resolves in the checkout at hand.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files of the repository that such a build needs.
const NEEDED: [&str; 5] = ["Cargo.toml", "Cargo.lock", "kernel/library", "magics/study", "magics/training"];
/// The root of the crate `tunebook`.
const LIBRARY: &str = "kernel/library/src/lib.rs";

fn main() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).expect("cargo sets it"));
    let (here, out) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR"));
    let root = here.join("../..").canonicalize().expect("the repository's root");
    embed_sources(&root, &out);
    let library = fs::read_to_string(root.join(LIBRARY)).expect("the source of the crate `tunebook`");
    let items = items_with_tensors(&syn::parse_file(&library).expect("Rust code"));
    fs::write(out.join("tensor_items.rs"), format!("&{items:?}")).expect("OUT_DIR is writable");
}

/// Writes `sources.rs`: an array of (path in the repository, bytes).
fn embed_sources(root: &Path, out: &Path) {
    let mut files = vec![];
    for needed in NEEDED {
        println!("cargo:rerun-if-changed=../../{needed}");
        collect(&root.join(needed), &mut files);
    }
    files.sort();
    let copies = out.join("sources");
    let _ = fs::remove_dir_all(&copies);
    let mut text = String::from("[\n");
    for file in &files {
        let name = file.strip_prefix(root).expect("a file below the root");
        let copy = copies.join(name);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("OUT_DIR is writable");
        fs::copy(file, &copy).expect("a source that can be read");
        writeln!(text, "    ({:?}, include_bytes!({copy:?}).as_slice()),", name.display().to_string()).expect("memory");
    }
    text += "]\n";
    fs::write(out.join("sources.rs"), text).expect("OUT_DIR is writable");
}

/// The files below a path. Tests and examples are left out: a build does not need them.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.into());
        return;
    }
    for entry in path.read_dir().expect("a folder of the repository").flatten() {
        let name = entry.file_name();
        if name != "tests" && name != "examples" && name != "target" {
            collect(&entry.path(), files);
        }
    }
}

/// The public names of a crate that are declared behind `#[cfg(feature = "tensors")]`, sorted.
fn items_with_tensors(file: &syn::File) -> Vec<String> {
    let mut names = vec![];
    for item in &file.items {
        let (visibility, attributes, declared) = match item {
            syn::Item::Use(item) => (&item.vis, &item.attrs, names_of_use(&item.tree)),
            syn::Item::Mod(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            syn::Item::Fn(item) => (&item.vis, &item.attrs, vec![item.sig.ident.to_string()]),
            syn::Item::Struct(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            syn::Item::Enum(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            syn::Item::Trait(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            syn::Item::Type(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            syn::Item::Const(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            _ => continue,
        };
        if matches!(visibility, syn::Visibility::Public(_)) && needs_tensors(attributes) {
            names.extend(declared);
        }
    }
    names.sort();
    names
}

/// The names that a `use` brings into scope.
fn names_of_use(tree: &syn::UseTree) -> Vec<String> {
    match tree {
        syn::UseTree::Path(path) => names_of_use(&path.tree),
        syn::UseTree::Name(name) => vec![name.ident.to_string()],
        syn::UseTree::Rename(renamed) => vec![renamed.rename.to_string()],
        syn::UseTree::Group(group) => group.items.iter().flat_map(names_of_use).collect(),
        syn::UseTree::Glob(_) => vec!["*".into()],
    }
}

fn needs_tensors(attributes: &[syn::Attribute]) -> bool {
    let is_feature = |attribute: &syn::Attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let Ok(condition) = list.parse_args::<syn::MetaNameValue>() else { return false };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(name), .. }) = &condition.value else { return false };
        list.path.is_ident("cfg") && condition.path.is_ident("feature") && name.value() == "tensors"
    };
    attributes.iter().any(is_feature)
}
