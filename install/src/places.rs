//! Where things are.

use crate::steps::output_of;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// What is fetched once for all checkouts of a user: libtorch, Python environments. `TUNEBOOK_CACHE` names another place.
pub fn cache() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TUNEBOOK_CACHE") {
        return Ok(path.into());
    }
    Ok(dirs::cache_dir().context("this user has no cache folder; set TUNEBOOK_CACHE")?.join("tunebook"))
}

/// Cargo's target folder.
pub fn target() -> Result<PathBuf> {
    let mut cargo = cargo();
    let metadata = output_of(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into())
}

/// Cargo, in the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    command
}
