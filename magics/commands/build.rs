//! Embeds the sources of the crates that a `%%workload` is built with, so that an installed kernel can build one without
//! a checkout of Tunebook.
//!
//! Checkouts may share a target folder, and cargo then takes them for one: so nothing that is kept there may lead back to
//! the checkout that happened to be built. Files are copied, and watched by paths that cargo reads in the checkout at hand.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files of the repository that such a build needs.
const NEEDED: [&str; 5] = ["Cargo.toml", "Cargo.lock", "kernel/library", "magics/study", "magics/training"];

fn main() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).expect("cargo sets it"));
    let (here, out) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR"));
    let root = here.join("../..").canonicalize().expect("the repository's root");
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
        let name = file.strip_prefix(&root).expect("a file below the root");
        let copy = copies.join(name);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("OUT_DIR is writable");
        fs::copy(file, &copy).expect("a source that can be read");
        writeln!(text, "    ({:?}, include_bytes!({copy:?}).as_slice()),", name.display().to_string()).expect("memory");
    }
    text += "]\n";
    fs::write(out.join("sources.rs"), text).expect("OUT_DIR is writable");
}

/// The files below a path; tests and examples are not needed to build.
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
