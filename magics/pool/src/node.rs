//! What a pool tells a slot on another machine before its first trial, and what the slot answers.
//!
//! Nothing is copied to that machine: the executable, the workers, libtorch and the folder of the study lie on a file
//! system that both share. The slot compares the files by their hashes, so that another version, or another disk under
//! the same path, is noticed before a trial is lost on it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a slot must find on its machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// The folder in which programs run.
    pub folder: PathBuf,
    /// The changes of the session to the environment: new values, or None for a variable that is removed.
    pub environment: Vec<(String, Option<String>)>,
    /// Folders that must exist.
    pub folders: Vec<PathBuf>,
    /// Files that must have the same contents.
    pub files: Vec<NeededFile>,
}

/// A file with the hash of its contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeededFile {
    /// The absolute path.
    pub path: PathBuf,
    /// The SHA-256 hash in hexadecimal.
    pub sha256: String,
}

/// A message to a slot, as a line of JSON, besides those of `tunebook_study::protocol`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToSlot {
    /// The first message to a slot on another machine.
    Begin(Needs),
}

/// A message of a slot, besides those of `tunebook_study::protocol`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromSlot {
    /// The answer to [`ToSlot::Begin`].
    Ready {
        /// The version of the protocol.
        protocol: u32,
        /// The name of the machine.
        node: String,
        /// The number of the scheduler's job, if there is one.
        #[serde(default)]
        job: Option<String>,
        /// What the machine lacks. A slot with a problem runs no trial.
        #[serde(default)]
        problem: Option<String>,
    },
    /// The slot is still there.
    Alive,
}

impl Needs {
    /// What this machine lacks, or None. Otherwise the current folder is the one that programs run in.
    pub(crate) fn settle(&self, node: &str) -> Option<String> {
        for folder in self.folders.iter().chain([&self.folder]) {
            if !folder.is_dir() {
                return Some(not_shared(&format!("there is no folder {} on {node}", folder.display())));
            }
        }
        for NeededFile { path, sha256 } in &self.files {
            let path_shown = path.display();
            match hash(path) {
                Ok(found) if found == *sha256 => {}
                Ok(_) => {
                    let problem = format!("{path_shown} on {node} is not the file that the notebook's machine has");
                    return Some(not_shared(&problem));
                }
                Err(error) => return Some(not_shared(&format!("{path_shown} on {node} cannot be read ({error})"))),
            }
        }
        let entered = std::env::set_current_dir(&self.folder);
        entered.err().map(|error| format!("the folder {} on {node} cannot be entered: {error}", self.folder.display()))
    }
}

fn not_shared(problem: &str) -> String {
    format!("{problem}; nothing is copied to a node, it must share this path with the notebook's machine")
}

/// The SHA-256 hash of a file in hexadecimal.
pub fn hash(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hash, mut chunk) = (std::fs::File::open(path)?, Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&chunk[..read]),
        }
    }
}

/// The name of this machine.
pub(crate) fn name_of_this_machine() -> String {
    // Several nodes of Slurm can be one machine.
    let named = std::env::var("SLURMD_NODENAME").ok().filter(|name| !name.is_empty());
    let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    named.or_else(hostname).map_or("a machine without a name".into(), |name| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_lacks_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = hash(&path).unwrap();
        assert!(sha256.starts_with("ba7816bf"), "the SHA-256 hash of `abc`");
        let needs = |folders: Vec<PathBuf>, sha256: &str| Needs {
            folder: "/".into(),
            folders,
            files: vec![NeededFile { path: path.clone(), sha256: sha256.into() }],
            ..Needs::default()
        };
        let missing = needs(vec!["/nonexistent/data".into()], &sha256).settle("n1").unwrap();
        assert!(missing.contains("no folder /nonexistent/data on n1"), "{missing}");
        let other = needs(vec![], "00").settle("n1").unwrap();
        assert!(other.contains("is not the file that the notebook's machine has"), "{other}");
        std::fs::remove_file(&path).unwrap();
        let gone = needs(vec![], &sha256).settle("n1").unwrap();
        assert!(gone.contains("cannot be read") && gone.contains("nothing is copied"), "{gone}");
    }
}
