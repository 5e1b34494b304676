//! Looks for the sources of Rust's standard library, an optional part of a Rust installation. rust-analyzer reads them.

use crate::steps::output_of;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is missing without them, and how to get them.
pub const NOTE: &str = "The sources of Rust's standard library are not installed. Rust cells run without them, but completion and \
                        hover do not know the methods of standard types. `rustup component add rust-src` (or Debian's \
                        package rust-web-src) installs them.";

/// Whether the sources are where rustup or Debian's packages install them, or where `RUST_SRC_PATH` says. The kernel looks
/// in the same places.
pub fn are_installed() -> bool {
    let sysroot = output_of(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    let of_toolchain = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    let named = std::env::var_os("RUST_SRC_PATH").map(PathBuf::from);
    let packages = fs::read_dir("/usr/src").into_iter().flatten().flatten();
    let packages = packages.filter(|entry| entry.file_name().to_string_lossy().starts_with("rustc-"));
    let mut places = packages.map(|entry| entry.path().join("library")).chain([of_toolchain]).chain(named);
    places.any(|path| path.join("core/src/lib.rs").exists())
}
