//! What the tests find on this machine: the executables of the product, and what is optional.

use std::path::PathBuf;

/// Returns the path of `tunebook` or `tunebook-worker`.
///
/// `TUNEBOOK_BIN` and `TUNEBOOK_WORKER`, which `cargo verify` sets, name them. Without these variables they are
/// expected in the folder above the test's own executable (`target/release`).
pub fn executable(name: &str) -> PathBuf {
    let variable = if name == "tunebook" { "TUNEBOOK_BIN" } else { "TUNEBOOK_WORKER" };
    let beside = || {
        let test = std::env::current_exe().expect("the path of the test's own executable");
        test.ancestors().nth(2).expect("a folder such as target/release").join(name)
    };
    let path = std::env::var_os(variable).map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "{} is not built: run `cargo verify`", path.display());
    path
}

/// The root of the repository. Cargo says where it is now: a checkout that was moved is not built again.
pub fn repository() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("the repository has a Cargo.lock").to_path_buf()
}

/// Whether `cargo verify` found that this machine lacks something optional: `chromium`, `fashion-mnist`, `rust-sources`
/// or `slurm`. A test that needs it then prints so and ends; `cargo verify` repeats it at its own end.
pub fn lacks(what: &str) -> bool {
    let lacks = std::env::var("TUNEBOOK_LACKS").unwrap_or_default().split(' ').any(|lack| lack == what);
    if lacks {
        println!("not tested: this machine lacks {what}");
    }
    lacks
}
