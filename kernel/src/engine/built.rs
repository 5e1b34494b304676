//! What cargo has built, handed from folder to folder as links: a kernel begins with what was built ahead, and what it builds
//! for a `:dep` is there for the user's other kernels.

use super::locks;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder in which cells are built, or in which something was built for them: `Cargo.lock` and `target`.
#[derive(Clone, Debug)]
pub struct Built {
    folder: PathBuf,
}

impl Built {
    /// The one in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The versions of what is built; empty where nothing is.
    pub fn lock(&self) -> String {
        fs::read_to_string(self.lock_file()).unwrap_or_default()
    }

    fn lock_file(&self) -> PathBuf {
        self.folder.join("Cargo.lock")
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Links what another folder has and this one lacks.
    pub fn take_from(&self, other: &Built) -> Result<()> {
        let _others_wait = other.alone()?;
        match other.target().exists() && self.agrees_with(other) {
            true => link_tree(&other.target(), &self.target(), &|_| false),
            false => Ok(()),
        }
    }

    /// Links what this folder has and another lacks: of crates that anybody would build the same, which those in a folder of
    /// the user's, and cells, are not. Versions that the other has stay.
    pub fn give_to(&self, other: &Built) -> Result<()> {
        let _others_wait = other.alone()?;
        if !self.agrees_with(other) {
            return Ok(());
        }
        let lock = self.lock();
        let own = locks::without_source(&lock);
        link_tree(&self.target(), &other.target(), &|name| is_of(name, &own))?;
        let known = other.lock();
        let merged = if known.is_empty() { lock } else { locks::merged(&known, &locks::with_source(&lock)) };
        // As a whole, for those who read it meanwhile.
        let new = other.folder.join("Cargo.lock.new");
        fs::write(&new, merged)?;
        Ok(fs::rename(new, other.lock_file())?)
    }

    /// Keeps other processes out while the result lives.
    fn alone(&self) -> Result<File> {
        fs::create_dir_all(&self.folder)?;
        let file = File::options().create(true).append(true).open(self.folder.join("in-use"))?;
        file.lock()?;
        Ok(file)
    }

    /// Whether what both have is one and the same. Two kernels that built a crate at the same time have two results of it, and
    /// what was built upon one cannot be used with the other.
    fn agrees_with(&self, other: &Built) -> bool {
        let own = locks::without_source(&self.lock());
        let (here, there) = (self.target(), other.target());
        let agrees = |folder: PathBuf| {
            let theirs = there.join(folder.strip_prefix(&here).unwrap_or(&folder));
            let is_shared = |name: &str| is_result(name) && !is_of_cells(name) && !is_of(name, &own);
            entries(&folder).filter(|entry| is_shared(&name_of(entry))).all(|entry| {
                let other = fs::metadata(theirs.join(entry.file_name()));
                other.is_err() || entry.metadata().ok().map(|here| here.ino()) == other.ok().map(|there| there.ino())
            })
        };
        // `target/debug` for what runs while compiling, `target/TRIPLE/debug` for what cells link.
        let folders = entries(&here).map(|entry| entry.path());
        let profiles = folders.chain([here.clone()]).map(|folder| folder.join("debug/deps"));
        profiles.filter(|folder| folder.is_dir()).all(agrees)
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

fn name_of(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

/// What the compiler wrote: it replaces such files whole.
fn is_result(name: &str) -> bool {
    [".rlib", ".rmeta", ".so", ".dylib", ".a", ".o"].iter().any(|end| name.ends_with(end))
}

/// What cells themselves left.
fn is_of_cells(name: &str) -> bool {
    name == "incremental" || ["libcode_", "libctx", "ctx-"].iter().any(|start| name.starts_with(start))
}

/// By which cargo keeps a second one out of a folder: as a link it would keep all kernels out.
fn is_lock(name: &str) -> bool {
    name.starts_with(".cargo") && name.ends_with("lock")
}

/// Whether a file of cargo's, `[lib]NAME-HASH[.…]`, is of one of these crates.
fn is_of(file: &str, crates: &BTreeSet<String>) -> bool {
    let Some((name, _)) = file.rsplit_once('-') else { return false };
    let name = name.replace('-', "_");
    crates.contains(&name) || name.strip_prefix("lib").is_some_and(|name| crates.contains(name))
}

/// Copies a folder of cargo's: what the compiler wrote as links; what cargo notes about it as copies, since it rewrites those in
/// place. What is there already stays.
pub fn link_tree(from: &Path, to: &Path, is_left_out: &dyn Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let (source, place, name) = (entry.path(), to.join(entry.file_name()), name_of(&entry));
        if is_of_cells(&name) || is_lock(&name) || is_left_out(&name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            link_tree(&source, &place, is_left_out)?;
            continue;
        }
        if place.exists() {
            continue;
        }
        if !is_result(&name) || fs::hard_link(&source, &place).is_err() {
            fs::copy(&source, &place)?;
            // Cargo tells by these times what is older than what it was made from.
            File::options().write(true).open(&place)?.set_modified(entry.metadata()?.modified()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry\"\n\n[[package]]\n\
                        name = \"my-own\"\nversion = \"0.1.0\"\n";

    fn built(folder: &Path, files: &[&str]) -> Built {
        for file in files {
            let path = folder.join("target").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        fs::write(folder.join("Cargo.lock"), LOCK).unwrap();
        Built::new(folder.into())
    }

    fn links(path: &Path) -> u64 {
        fs::metadata(path).unwrap().nlink()
    }

    #[test]
    fn results_are_linked_notes_are_copied_and_cells_and_own_crates_are_left_out() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = [
            "x86/debug/deps/libserde-1.rlib",
            "x86/debug/deps/libmy_own-1.rlib",
            "x86/debug/deps/libcode_1.so",
            "x86/debug/.fingerprint/serde-1/lib.json",
            "x86/debug/.fingerprint/my-own-1/lib.json",
            "x86/debug/.cargo-lock",
        ];
        let kernel = built(here.path(), &files);
        let shared = Built::new(there.path().join("shared"));
        kernel.give_to(&shared).unwrap();
        let target = there.path().join("shared/target/x86/debug");
        assert_eq!(links(&target.join("deps/libserde-1.rlib")), 2);
        assert_eq!(links(&target.join(".fingerprint/serde-1/lib.json")), 1);
        for file in ["deps/libmy_own-1.rlib", "deps/libcode_1.so", ".fingerprint/my-own-1", ".cargo-lock"] {
            assert!(!target.join(file).exists(), "{file}");
        }
        assert!(shared.lock().contains("serde"));
        // Another kernel finds it.
        let other = Built::new(there.path().join("other"));
        other.take_from(&shared).unwrap();
        assert_eq!(links(&target.join("deps/libserde-1.rlib")), 3);
    }

    #[test]
    fn what_was_built_upon_another_result_of_the_same_crate_is_not_mixed() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shared = built(there.path(), &["debug/deps/libserde-1.rlib", "debug/deps/libjson-1.rlib"]);
        let kernel = built(here.path(), &["debug/deps/libserde-1.rlib", "debug/deps/libtoml-1.rlib"]);
        kernel.take_from(&shared).unwrap();
        kernel.give_to(&shared).unwrap();
        assert!(!here.path().join("target/debug/deps/libjson-1.rlib").exists());
        assert!(!there.path().join("target/debug/deps/libtoml-1.rlib").exists());
    }
}
