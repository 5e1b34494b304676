//! Finds the source code of Rust's standard library. rust-analyzer reads it to infer the types of variables. If it
//! finds none it downloads it without asking, which a kernel must not do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable that rust-analyzer needs: it tells where the source code is, or prevents a download. None
/// if rust-analyzer finds the source code by itself.
pub fn environment() -> Option<(&'static str, OsString)> {
    match find() {
        Some(SourceLocation::Toolchain) => None,
        Some(SourceLocation::Other(path)) => Some(("RUST_SRC_PATH", path.into())),
        // With an address that does not exist rustup gives up at once.
        None => Some(("RUSTUP_DIST_SERVER", "file:///nonexistent".into())),
    }
}

/// Where the source code is.
#[derive(Debug, PartialEq, Eq)]
enum SourceLocation {
    /// In the toolchain, where rust-analyzer looks by itself.
    Toolchain,
    /// In another folder, which rust-analyzer must be told.
    Other(PathBuf),
}

/// Looks in the folders of toolchains and of Linux distributions. Starts no program.
fn find() -> Option<SourceLocation> {
    let is_library = |path: &PathBuf| path.join("core/src/lib.rs").exists();
    if std::env::var_os("RUST_SRC_PATH").is_some_and(|path| is_library(&path.into())) {
        return Some(SourceLocation::Toolchain);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let rustup = std::env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let in_toolchain = |toolchain: PathBuf| toolchain.join("lib/rustlib/src/rust/library");
    let toolchains = rustup.join("toolchains");
    let installed = entries(&toolchains).chain(["/usr".into(), "/usr/local".into()]);
    if installed.map(in_toolchain).any(|path| is_library(&path)) {
        return Some(SourceLocation::Toolchain);
    }
    let mut packaged: Vec<PathBuf> = entries(Path::new("/usr/src"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rustc-")))
        .map(|path| path.join("library"))
        .filter(is_library)
        .collect();
    packaged.sort();
    packaged.pop().map(SourceLocation::Other)
}

/// A note for the user if the source code is missing. The first cell of a session shows it.
pub fn note() -> Option<String> {
    let text = "The source code of Rust's standard library is not installed, so some types cannot be inferred: if a \
                `let` fails with E0282, write its type. Everything else works. `rustup component add rust-src` (or \
                Debian's package rust-web-src) installs it; then restart the kernel.\n";
    find().is_none().then(|| text.to_string())
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
