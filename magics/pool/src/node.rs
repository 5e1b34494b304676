//! What a pool tells a slot on another machine before its first trial, and what the slot answers.
//!
//! Either both machines share a file system, on which the executable, the workers, libtorch and the folder of the study
//! lie. The slot then compares the files by their hashes, so that another version, or another disk under the same path,
//! is noticed before a trial is lost on it. Or the files are copied to that machine (`copying`), and the slot asks for
//! those that it does not have.

use crate::copying::Copied;
use nix::unistd::{User, geteuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tunebook_study::protocol::TrialId;

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
    /// How these files are copied. None if the node shares them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<Copied>,
}

/// A file with the hash of its contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeededFile {
    /// The absolute path.
    pub path: PathBuf,
    /// The SHA-256 hash in hexadecimal.
    pub sha256: String,
    /// The number of bytes.
    pub size: u64,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// A message to a slot, as a line of JSON, besides those of `tunebook_study::protocol`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToSlot {
    /// The first message to a slot on another machine.
    Begin(Box<Needs>),
    /// A file that the slot has asked for. Its bytes follow the line.
    File {
        /// The path on the notebook's machine.
        path: PathBuf,
        /// The number of bytes.
        size: u64,
        /// The permissions.
        mode: u32,
        /// The SHA-256 hash in hexadecimal.
        sha256: String,
    },
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
    /// The machine does not have the executable. Its bytes are to be sent, and nothing else.
    SendExecutable,
    /// The machine does not have these files of [`Needs::files`]. Each is to be sent as [`ToSlot::File`], in this
    /// order.
    SendFiles { paths: Vec<PathBuf> },
    /// Another slot on the machine is receiving files.
    Waits,
    /// A file of the trial that the slot runs. Its bytes follow the line.
    File {
        /// The trial.
        trial: TrialId,
        /// The path below the trial's folder.
        name: PathBuf,
        /// The number of bytes.
        size: u64,
    },
}

impl NeededFile {
    /// A file of this machine, with the hash and the size that it has now.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = path.metadata()?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        Ok(Self { path: path.into(), sha256: hash(path)?, size: metadata.len(), executable })
    }
}

impl Needs {
    /// What this machine lacks, or None. Otherwise the current folder is the one that programs run in.
    pub(crate) fn settle(&self, node: &str) -> Option<String> {
        for folder in self.folders.iter().chain([&self.folder]) {
            // Unlike the folder itself, its `.` is found only by a user who may enter it.
            match folder.join(".").metadata() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Some(forbidden(folder, node)),
                Err(_) => return Some(not_shared(&format!("there is no folder {} on {node}", folder.display()))),
            }
        }
        for NeededFile { path, sha256, .. } in &self.files {
            let path_shown = path.display();
            match hash(path) {
                Ok(found) if found == *sha256 => {}
                Ok(_) => {
                    let problem = format!("{path_shown} on {node} is not the file that the notebook's machine has");
                    return Some(not_shared(&problem));
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Some(forbidden(path, node)),
                Err(error) => return Some(not_shared(&format!("{path_shown} on {node} cannot be read ({error})"))),
            }
        }
        let entered = std::env::set_current_dir(&self.folder);
        entered.err().map(|error| format!("the folder {} on {node} cannot be entered: {error}", self.folder.display()))
    }
}

/// That this user may not read what is there.
fn forbidden(path: &Path, node: &str) -> String {
    let user = User::from_uid(geteuid())
        .ok()
        .flatten()
        .map_or(format!("with the number {}", geteuid()), |user| format!("`{}`", user.name));
    let advice = "let the command of the pool run as the user of the notebook, or allow this user to read it";
    format!("the user {user}, as whom the slot runs on {node}, may not read {}: {advice}", path.display())
}

fn not_shared(problem: &str) -> String {
    let advice = "it must share this path with the notebook's machine. `%pool add` with `--copy` copies files";
    format!("{problem}; nothing is copied to a node of this pool, {advice}")
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
pub fn name_of_this_machine() -> String {
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
            files: vec![NeededFile { path: path.clone(), sha256: sha256.into(), size: 3, executable: false }],
            ..Needs::default()
        };
        let missing = needs(vec!["/nonexistent/data".into()], &sha256).settle("n1").unwrap();
        assert!(missing.contains("no folder /nonexistent/data on n1"), "{missing}");
        let denied = forbidden(Path::new("/data"), "n1");
        assert!(denied.contains("may not read /data") && !denied.contains("no folder"), "{denied}");
        let other = needs(vec![], "00").settle("n1").unwrap();
        assert!(other.contains("is not the file that the notebook's machine has"), "{other}");
        std::fs::remove_file(&path).unwrap();
        let gone = needs(vec![], &sha256).settle("n1").unwrap();
        assert!(gone.contains("cannot be read") && gone.contains("nothing is copied"), "{gone}");
    }
}
