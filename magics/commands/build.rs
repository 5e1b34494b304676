//! Embeds the sources of the crates that a `%%workload` is built with, so that an installed kernel can build one without
//! a checkout of Tunebook.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Folders and files of the repository that such a build needs.
const NEEDED: [&str; 5] = ["Cargo.toml", "Cargo.lock", "kernel/cells", "magics/study", "magics/training"];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the repository's root");
    let mut files = vec![];
    for needed in NEEDED {
        let path = root.join(needed);
        println!("cargo:rerun-if-changed={}", path.display());
        collect(&path, &mut files);
    }
    files.sort();
    let mut text = String::from("[\n");
    for file in &files {
        let name = file.strip_prefix(&root).expect("a file below the root");
        writeln!(text, "    ({:?}, include_bytes!({file:?}).as_slice()),", name.display().to_string()).expect("memory");
    }
    text += "]\n";
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("sources.rs");
    std::fs::write(out, text).expect("OUT_DIR is writable");
}

/// The files below a path; tests are not needed to build.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.into());
        return;
    }
    for entry in path.read_dir().expect("a folder of the repository").flatten() {
        let name = entry.file_name();
        if name != "tests" && name != "target" {
            collect(&entry.path(), files);
        }
    }
}
