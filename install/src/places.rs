//! The folders of the project: the repository, the cache and cargo's target folder.

use crate::steps::output_of;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// The root of the repository.
pub fn repository() -> PathBuf {
    // Cargo says where the package is now. A checkout that was moved is not built again.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().unwrap_or(&here).to_path_buf()
}

/// The folder for what is downloaded once for all checkouts of a user: libtorch, Python environments, data. The
/// environment variable `TUNEBOOK_CACHE` names another folder.
pub fn cache() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TUNEBOOK_CACHE") {
        return Ok(path.into());
    }
    Ok(dirs::cache_dir()
        .context("there is no cache folder of this user; set TUNEBOOK_CACHE to a folder")?
        .join("tunebook"))
}

/// Cargo's target folder, which the user's settings may have moved.
pub fn target() -> Result<PathBuf> {
    let mut cargo = cargo();
    let metadata = output_of(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into())
}

/// A command of cargo that runs in the repository.
///
/// It does not see the variable `CI`, which a crate of rust-analyzer reads at compile time. Otherwise a build with the
/// variable after one without it would compile rust-analyzer again (minutes).
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository()).env_remove("CI");
    command
}
