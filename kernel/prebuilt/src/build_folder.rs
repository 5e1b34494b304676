//! Shares the results of cargo between folders by hard links: a kernel starts with the crates that were built before,
//! and a crate that it builds for a `:dep` is available to the user's other kernels.

use crate::lock_file;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder in which cargo builds cells: it contains a `Cargo.lock` and a `target` folder.
#[derive(Clone, Debug)]
pub struct BuildFolder {
    folder: PathBuf,
}

impl BuildFolder {
    /// Refers to a folder, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The text of the `Cargo.lock`; empty if there is none.
    pub fn lock(&self) -> String {
        fs::read_to_string(self.lock_file()).unwrap_or_default()
    }

    fn lock_file(&self) -> PathBuf {
        self.folder.join("Cargo.lock")
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Links the results that another folder has and this one lacks, unless the two disagree (see
    /// [`BuildFolder::agrees_with`]).
    pub fn take_from(&self, other: &BuildFolder) -> Result<()> {
        let _exclusive = other.lock_exclusively()?;
        match other.target().exists() && self.agrees_with(other) {
            true => link_tree(&other.target(), &self.target(), &|_| false),
            false => Ok(()),
        }
    }

    /// Links the results that this folder has and another one lacks, unless the two disagree. Results of cells and of
    /// crates in a folder of the user's are left out, since such code can change without a change of its version. The
    /// other folder's `Cargo.lock` stays as it is: which versions one notebook asked for is no matter of another's.
    pub fn give_to(&self, other: &BuildFolder) -> Result<()> {
        let _exclusive = other.lock_exclusively()?;
        if !self.agrees_with(other) {
            return Ok(());
        }
        let local = lock_file::local_crates(&self.lock());
        link_tree(&self.target(), &other.target(), &|name| belongs_to(name, &local))
    }

    /// Excludes other processes from the folder until the returned file is dropped.
    fn lock_exclusively(&self) -> Result<File> {
        fs::create_dir_all(&self.folder)?;
        let file = File::options().create(true).append(true).open(self.folder.join("in-use"))?;
        file.lock()?;
        Ok(file)
    }

    /// Whether each result that both folders have is the same file. Two kernels that build a crate at the same time
    /// have two results for it; a crate that was built against one of them cannot be linked with the other.
    fn agrees_with(&self, other: &BuildFolder) -> bool {
        let local = lock_file::local_crates(&self.lock());
        let (here, there) = (self.target(), other.target());
        let agrees = |folder: PathBuf| {
            let theirs = there.join(folder.strip_prefix(&here).unwrap_or(&folder));
            let is_shared = |name: &str| is_result(name) && !is_of_cell(name) && !belongs_to(name, &local);
            entries(&folder).filter(|entry| is_shared(&name_of(entry))).all(|entry| {
                let other = fs::metadata(theirs.join(entry.file_name()));
                other.is_err() || entry.metadata().ok().map(|here| here.ino()) == other.ok().map(|there| there.ino())
            })
        };
        // `target/debug` holds what runs on the host during a build (build scripts, macros), `target/TRIPLE/debug` what
        // cells are linked with.
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

/// Whether a file was written by the compiler, which replaces such a file instead of changing it; so it can be linked.
fn is_result(name: &str) -> bool {
    [".rlib", ".rmeta", ".so", ".dylib", ".a", ".o"].iter().any(|end| name.ends_with(end))
}

/// Whether a file or folder is a result of a cell itself.
fn is_of_cell(name: &str) -> bool {
    name == "incremental" || ["libcode_", "libctx", "ctx-"].iter().any(|start| name.starts_with(start))
}

/// Whether a file is the lock by which cargo keeps a second cargo out of a folder. If it were linked, one build would
/// stop the builds of all kernels.
fn is_cargo_lock(name: &str) -> bool {
    name.starts_with(".cargo") && name.ends_with("lock")
}

/// Whether a file of cargo's, `[lib]NAME-HASH[.…]`, belongs to one of these crates.
fn belongs_to(file: &str, crates: &BTreeSet<String>) -> bool {
    let Some((name, _)) = file.rsplit_once('-') else { return false };
    let name = name.replace('-', "_");
    crates.contains(&name) || name.strip_prefix("lib").is_some_and(|name| crates.contains(name))
}

/// Adds the content of one `target` folder to another: results of the compiler as hard links, everything else as
/// copies, because cargo changes its own notes in place. Files that the destination has already stay as they are.
pub(crate) fn link_tree(from: &Path, to: &Path, is_left_out: &dyn Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be created", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let (source, destination, name) = (entry.path(), to.join(entry.file_name()), name_of(&entry));
        if is_of_cell(&name) || is_cargo_lock(&name) || is_left_out(&name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            link_tree(&source, &destination, is_left_out)?;
            continue;
        }
        if destination.exists() {
            continue;
        }
        if !is_result(&name) || fs::hard_link(&source, &destination).is_err() {
            fs::copy(&source, &destination)?;
            // Cargo compares modification times to decide what to build again.
            File::options().write(true).open(&destination)?.set_modified(entry.metadata()?.modified()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry\"\n\n\
                        [[package]]\nname = \"my-own\"\nversion = \"0.1.0\"\n";

    fn built(folder: &Path, files: &[&str]) -> BuildFolder {
        for file in files {
            let path = folder.join("target").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        fs::write(folder.join("Cargo.lock"), LOCK).unwrap();
        BuildFolder::new(folder.into())
    }

    fn links(path: &Path) -> u64 {
        fs::metadata(path).unwrap().nlink()
    }

    #[test]
    fn results_are_linked_and_notes_copied_but_not_those_of_cells_and_local_crates() {
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
        let shared = BuildFolder::new(there.path().join("shared"));
        kernel.give_to(&shared).unwrap();
        let target = there.path().join("shared/target/x86/debug");
        assert_eq!(links(&target.join("deps/libserde-1.rlib")), 2);
        assert_eq!(links(&target.join(".fingerprint/serde-1/lib.json")), 1);
        for file in ["deps/libmy_own-1.rlib", "deps/libcode_1.so", ".fingerprint/my-own-1", ".cargo-lock"] {
            assert!(!target.join(file).exists(), "{file}");
        }
        assert_eq!(shared.lock(), "", "the versions of one notebook are not those of the next");
        // Another kernel receives it.
        let other = BuildFolder::new(there.path().join("other"));
        other.take_from(&shared).unwrap();
        assert_eq!(links(&target.join("deps/libserde-1.rlib")), 3);
    }

    #[test]
    fn folders_with_different_results_for_one_crate_share_nothing() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shared = built(there.path(), &["debug/deps/libserde-1.rlib", "debug/deps/libjson-1.rlib"]);
        let kernel = built(here.path(), &["debug/deps/libserde-1.rlib", "debug/deps/libtoml-1.rlib"]);
        kernel.take_from(&shared).unwrap();
        kernel.give_to(&shared).unwrap();
        assert!(!here.path().join("target/debug/deps/libjson-1.rlib").exists());
        assert!(!there.path().join("target/debug/deps/libtoml-1.rlib").exists());
    }
}
