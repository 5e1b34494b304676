//! A crate of the user's own, on which a cell depends by its path.

use std::path::Path;

/// Writes a crate into a folder and returns the value of a dependency on it, `{ path = "…" }`, as it stands in
/// Cargo.toml and behind `:dep`.
///
/// `library` is its `src/lib.rs`, `build` its build script.
pub fn own_crate(folder: &Path, name: &str, library: &str, build: Option<&str>) -> String {
    let path = folder.join(name);
    let write = |file: &str, text: &str| std::fs::write(path.join(file), text).expect("a file of the crate");
    std::fs::create_dir_all(path.join("src")).expect("the folder of the crate");
    write("Cargo.toml", &format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"));
    write("src/lib.rs", library);
    if let Some(build) = build {
        write("build.rs", build);
    }
    format!("{{ path = {path:?} }}")
}
