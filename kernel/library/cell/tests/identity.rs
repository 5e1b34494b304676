//! A variable of a cell keeps its type when tensors are turned on, because this crate and its dependencies are built
//! with the same features with and without them.

use std::collections::BTreeSet;
use std::process::Command;

/// The dependencies of a package with their features, or `only` those that another package has as well.
fn crates(package: &[&str], only: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "tree",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p} [{f}]",
    ]);
    let output = command.args(package).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let wanted: Option<BTreeSet<String>> =
        only.map(|crates| crates.iter().map(|line| name_and_version(line)).collect());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.filter(|line| wanted.as_ref().is_none_or(|w| w.contains(&name_and_version(line)))).map(String::from).collect()
}

#[test]
fn tensors_change_no_feature_of_the_crates_that_are_used_without_them() {
    let alone = crates(&["--package", "tunebook-cell"], None);
    assert!(alone.len() > 5 && alone.iter().any(|line| line.starts_with("serde_json v1")), "{alone:?}");
    let beside = crates(&["--package", "tunebook", "--features", "tensors"], Some(&alone));
    assert_eq!(alone, beside);
}

#[test]
fn without_tensors_libtorch_is_no_dependency() {
    let light = crates(&["--package", "tunebook"], None);
    let heavy: Vec<&String> =
        light.iter().filter(|line| line.starts_with("tch ") || line.starts_with("tunebook-training ")).collect();
    assert!(heavy.is_empty() && light.iter().any(|line| line.starts_with("tunebook-cell ")), "{light:?}");
}
