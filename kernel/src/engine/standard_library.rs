//! The sources of Rust's standard library. rust-analyzer reads them to infer the types of variables; where it finds none
//! it would download them without asking, which a kernel must not do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// What the environment must hold for rust-analyzer: where the sources are, or that nothing is to be downloaded.
pub fn environment() -> Option<(&'static str, OsString)> {
    match find() {
        Some(Sources::OfTheToolchain) => None,
        Some(Sources::Elsewhere(path)) => Some(("RUST_SRC_PATH", path.into())),
        // An address that answers nothing makes rustup give up at once.
        None => Some(("RUSTUP_DIST_SERVER", "file:///nonexistent".into())),
    }
}

/// Where the sources are.
#[derive(Debug, PartialEq, Eq)]
pub enum Sources {
    /// Where rust-analyzer looks by itself.
    OfTheToolchain,
    /// Somewhere else: it must be told.
    Elsewhere(PathBuf),
}

/// Looks where toolchains and distributions put them, without starting any program.
pub fn find() -> Option<Sources> {
    let is_library = |path: &PathBuf| path.join("core/src/lib.rs").exists();
    if std::env::var_os("RUST_SRC_PATH").is_some_and(|path| is_library(&path.into())) {
        return Some(Sources::OfTheToolchain);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let rustup = std::env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let in_toolchain = |toolchain: PathBuf| toolchain.join("lib/rustlib/src/rust/library");
    let toolchains = rustup.join("toolchains");
    let installed = entries(&toolchains).chain(["/usr".into(), "/usr/local".into()]);
    if installed.map(in_toolchain).any(|path| is_library(&path)) {
        return Some(Sources::OfTheToolchain);
    }
    let mut packaged: Vec<PathBuf> = entries(Path::new("/usr/src"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rustc-")))
        .map(|path| path.join("library"))
        .filter(is_library)
        .collect();
    packaged.sort();
    packaged.pop().map(Sources::Elsewhere)
}

/// What is missing and what still works, the first time that it is asked for.
pub fn note_once() -> Option<String> {
    static ONCE: Once = Once::new();
    let mut note = None;
    ONCE.call_once(|| {
        if find().is_none() {
            let text = "The sources of Rust's standard library are not installed, so some types cannot be inferred: where a \
                        `let` fails with E0282 write its type. Everything else works. `rustup component add rust-src` (or \
                        Debian's package rust-web-src) and a restart of the kernel bring them.\n";
            note = Some(text.to_string());
        }
    });
    note
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
