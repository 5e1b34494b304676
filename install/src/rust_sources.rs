//! Looks for the sources of Rust's standard library, an optional part of a Rust installation. rust-analyzer reads them.

use crate::debian;
use crate::places::cache;
use crate::steps::output_of;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is missing without them, and how to get them.
const NOTE: &str = "The sources of Rust's standard library are not installed. Rust cells run without them, but \
                        completion and hover do not know the methods of standard types. `rustup component add \
                        rust-src` (or Debian's package rust-web-src) installs them.";

/// Whether the sources are where the kernel looks: where rustup or Debian's packages install them, or where
/// `RUST_SRC_PATH` says.
fn are_installed() -> bool {
    let sysroot = output_of(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    let of_toolchain = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    let named = std::env::var_os("RUST_SRC_PATH").map(PathBuf::from);
    let mut places = [Some(of_toolchain), named].into_iter().flatten();
    places.any(|library| is_library(&library)) || packaged(Path::new("/")).is_some()
}

/// Says what is missing, if the sources are not installed.
pub fn note_if_missing() {
    if !are_installed() {
        println!("note: {NOTE}");
    }
}

/// The value of `RUST_SRC_PATH` for the tests, or None if the sources are installed. Otherwise they are downloaded into
/// the cache folder, where the user's own kernels do not look.
pub fn for_tests() -> Result<Option<PathBuf>> {
    if are_installed() {
        return Ok(None);
    }
    let cached = cache()?.join("rust-sources");
    if packaged(&cached).is_none() {
        debian::unpack("rust-web-src", "usr/src/rustc-*/library", &cached).context(
            "The tests need the sources of Rust's standard library: run `rustup component add rust-src`. Debian's \
             package rust-web-src has them too, but could not be downloaded",
        )?;
    }
    Ok(packaged(&cached))
}

/// The sources in a Debian package that is unpacked below `root`.
fn packaged(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join("usr/src")).ok()?.flatten();
    let versions = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("rustc-"));
    versions.map(|entry| entry.path().join("library")).find(|library| is_library(library))
}

fn is_library(path: &Path) -> bool {
    path.join("core/src/lib.rs").exists()
}
