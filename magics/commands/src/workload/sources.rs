//! The sources of Tunebook's own crates that others are built with, in the user's cache: `sources/HASH/tunebook`. The kernel
//! carries them inside itself.

use crate::error::{MagicError, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Paths in the repository, and what is in them.
const SOURCES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The folder with them.
pub struct Sources {
    folder: PathBuf,
}

impl Sources {
    /// Those of this build of Tunebook, unpacked if they are not there yet.
    pub fn open(cache: &Path) -> Result<Self> {
        let folder = cache.join("sources").join(hash()).join("tunebook");
        unpack(&folder).map_err(|error| {
            let message = format!("Tunebook's sources cannot be unpacked to {}: {error}", folder.display());
            MagicError::new("BuildError", message, Some("TUNEBOOK_CACHE names another folder".into()))
        })?;
        Ok(Self { folder })
    }

    /// A folder of the repository.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The versions of all crates that they are built with.
    pub fn lock_file(&self) -> PathBuf {
        self.folder("Cargo.lock")
    }
}

/// What stands for the sources of this build of Tunebook.
pub fn hash() -> String {
    short_hash(SOURCES.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]))
}

/// Sixteen digits that stand for some bytes.
pub fn short_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes them to a folder, whole or not at all.
fn unpack(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(folder);
    fs::create_dir_all(above)?;
    let unpacked = tempfile::tempdir_in(above)?;
    for (name, bytes) in SOURCES {
        let path = unpacked.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(unpacked.path()))?;
        match *name {
            "Cargo.toml" => fs::write(path, trimmed(bytes)?)?,
            _ => fs::write(path, bytes)?,
        }
    }
    match fs::rename(unpacked.path(), folder) {
        // Another kernel was faster.
        Err(_) if folder.exists() => Ok(()),
        moved => moved,
    }
}

/// The manifest of the repository with the crates that are there.
fn trimmed(manifest: &[u8]) -> std::io::Result<String> {
    let text = String::from_utf8_lossy(manifest);
    let mut manifest: toml::Table = text.parse().map_err(std::io::Error::other)?;
    if let Some(toml::Value::Table(workspace)) = manifest.get_mut("workspace") {
        let is_there = |member: &toml::Value| {
            let manifest = format!("{}/Cargo.toml", member.as_str().unwrap_or_default());
            SOURCES.iter().any(|(name, _)| *name == manifest)
        };
        if let Some(toml::Value::Array(members)) = workspace.get_mut("members") {
            members.retain(is_there);
        }
        workspace.remove("default-members");
    }
    Ok(manifest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_is_a_workspace_of_the_crates_that_are_there() {
        let cache = tempfile::tempdir().unwrap();
        let sources = Sources::open(cache.path()).unwrap();
        let manifest: toml::Table = fs::read_to_string(sources.folder("Cargo.toml")).unwrap().parse().unwrap();
        let members: Vec<&str> =
            manifest["workspace"]["members"].as_array().unwrap().iter().filter_map(|member| member.as_str()).collect();
        assert_eq!(members, ["kernel/library", "kernel/library/cell", "magics/study", "magics/training"]);
        for member in members {
            assert!(sources.folder(member).join("src/lib.rs").is_file(), "{member}");
        }
        assert!(sources.lock_file().is_file());
        assert!(!sources.folder("kernel/library/cell/tests").exists());
        // Once more is nothing more.
        let before = fs::metadata(sources.lock_file()).unwrap().modified().unwrap();
        Sources::open(cache.path()).unwrap();
        assert_eq!(fs::metadata(sources.lock_file()).unwrap().modified().unwrap(), before);
    }
}
