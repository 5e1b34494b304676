//! The sources of Tunebook's crates that Rust cells and `%%workload`s are built with. The kernel carries them inside
//! its executable and unpacks them to the user's cache, in `sources/HASH/tunebook`.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The embedded files: the path in the repository and the content of each.
const SOURCES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The folder to which the embedded sources were unpacked.
pub struct Sources {
    folder: PathBuf,
}

/// The sources could not be written to the user's cache.
#[derive(Debug, thiserror::Error)]
#[error("Tunebook's sources cannot be unpacked to {}: {error}", folder.display())]
pub struct UnpackError {
    folder: PathBuf,
    #[source]
    error: std::io::Error,
}

impl Sources {
    /// Returns the folder of this build's sources below a cache. Unpacks them if they are not there yet.
    pub fn open(cache: &Path) -> Result<Self, UnpackError> {
        let folder = cache.join("sources").join(sources_hash()).join("tunebook");
        match unpack(&folder) {
            Ok(()) => Ok(Self { folder }),
            Err(error) => Err(UnpackError { folder, error }),
        }
    }

    /// The unpacked copy of a folder of the repository, such as `magics/study`.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The `Cargo.lock` of the repository: the versions that the embedded crates were tested with.
    pub fn lock_file(&self) -> PathBuf {
        self.folder("Cargo.lock")
    }
}

/// Identifies the embedded sources: other sources have another hash.
pub fn sources_hash() -> String {
    short_hash(SOURCES.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]))
}

/// The first 64 bits of the SHA-256 of some byte strings, as 16 hexadecimal digits.
///
/// The length of each byte string goes into the hash, so that `["ab", "c"]` and `["a", "bc"]` differ.
pub fn short_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the sources to a folder, unless it exists. It appears under its name only when it is complete.
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
            "Cargo.toml" => fs::write(path, without_missing_members(bytes)?)?,
            _ => fs::write(path, bytes)?,
        }
    }
    match fs::rename(unpacked.path(), folder) {
        // Another kernel has unpacked them meanwhile.
        Err(_) if folder.exists() => Ok(()),
        moved => moved,
    }
}

/// The manifest of the workspace, with those members only that are embedded: cargo refuses a workspace whose members
/// are missing.
fn without_missing_members(manifest: &[u8]) -> std::io::Result<String> {
    let text = String::from_utf8_lossy(manifest);
    let mut manifest: toml::Table = text.parse().map_err(std::io::Error::other)?;
    if let Some(toml::Value::Table(workspace)) = manifest.get_mut("workspace") {
        let is_embedded = |member: &toml::Value| {
            let manifest = format!("{}/Cargo.toml", member.as_str().unwrap_or_default());
            SOURCES.iter().any(|(name, _)| *name == manifest)
        };
        if let Some(toml::Value::Array(members)) = workspace.get_mut("members") {
            members.retain(is_embedded);
        }
        workspace.remove("default-members");
    }
    Ok(manifest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacked_sources_are_a_workspace_of_the_embedded_crates() {
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
        // The second call writes nothing.
        let before = fs::metadata(sources.lock_file()).unwrap().modified().unwrap();
        Sources::open(cache.path()).unwrap();
        assert_eq!(fs::metadata(sources.lock_file()).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_named_in_the_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Err(error) = Sources::open(file.path()) else { panic!("a file is no folder") };
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
