//! Published releases of crates: cargo's unpacked copy, or a folder that the user names.

use crate::steps::output_of;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder where cargo has unpacked a release, or None if it has not fetched it.
pub fn in_registry(name: &str, version: &str) -> Option<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => dirs::home_dir()?.join(".cargo"),
    };
    // One folder for each registry and each mirror of it.
    let registries = fs::read_dir(home.join("registry/src")).ok()?.flatten();
    let copies = registries.map(|registry| registry.path().join(format!("{name}-{version}")));
    // Cargo writes this file once it has unpacked the whole release.
    copies.into_iter().find(|copy| copy.join(".cargo-ok").exists())
}

/// Returns the folder of a release, which cargo fetches if it has not yet.
pub fn fetched(name: &str, version: &str) -> Result<PathBuf> {
    if let Some(copy) = in_registry(name, version) {
        return Ok(copy);
    }
    // Outside of the repository, so that cargo takes the published crate and not the carried one.
    let elsewhere = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["info", "--registry", "crates-io", &format!("{name}@{version}")]).current_dir(elsewhere.path());
    output_of(&mut cargo).context("cargo cannot fetch the release; this needs a network, once")?;
    in_registry(name, version).with_context(|| {
        format!(
            "cargo has fetched no `{name}-{version}`; name the version in full, or a folder with `--release FOLDER`"
        )
    })
}

/// Returns the folder of a release that the user names.
pub fn in_folder(name: &str, folder: &Path) -> Result<PathBuf> {
    let found = field(folder, "name").with_context(|| format!("{} is no release of `{name}`", folder.display()))?;
    if found != name {
        bail!("{} is a release of `{found}`, not of `{name}`", folder.display());
    }
    Ok(std::path::absolute(folder)?)
}

/// Returns a field of the package in a published manifest. Cargo writes such manifests itself: the package comes
/// first, and each field is a line.
pub fn field(folder: &Path, field: &str) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("{} cannot be read", manifest.display()))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(" = \"")?.strip_suffix('"'));
    let missing = || format!("{} has no `{field}`, so it is not the manifest of a published crate", manifest.display());
    Ok(value.with_context(missing)?.into())
}
