//! Adds the folder of libtorch to the run path of the tests of this crate.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Some(root) = std::env::var_os("LIBTORCH").and_then(|root| PathBuf::from(root).canonicalize().ok()) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", root.join("lib").display());
    }
}
