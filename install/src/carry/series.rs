//! The series of patches of a carried crate, which `git apply` applies.

use super::{Carried, shown};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A patch: a header in sentences, and unified diffs with paths relative to the crate.
pub struct Patch {
    /// The name of the file.
    pub name: String,
    path: PathBuf,
    text: String,
}

/// A patch that does not fit, and where.
pub struct Misfit {
    patch: String,
    places: Vec<String>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.patch, self.places.join("; "))
    }
}

/// Reads the series in its order, which is that of the names.
pub fn read(carried: &Carried) -> Result<Vec<Patch>> {
    let folder = carried.patches();
    let entries = fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    if paths.is_empty() {
        bail!("{} holds no file with the ending .patch", shown(&folder));
    }
    let patch = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Patch { name, path, text })
    };
    paths.into_iter().map(patch).collect()
}

impl Patch {
    /// Returns the sentences before the diff.
    pub fn header(&self) -> &str {
        let lines = self.text.split_inclusive('\n');
        let header = lines.take_while(|line| !line.starts_with("diff --git ") && !line.starts_with("--- "));
        self.text[..header.map(str::len).sum()].trim_end()
    }

    /// Applies the patch in a folder. Returns the places where it does not fit, if there are any. The hunks that fit
    /// are applied all the same, and the others stand in files with the ending `.rej`.
    pub fn apply(&self, folder: &Path) -> Result<Option<Misfit>> {
        let mut git = git(folder);
        git.args(["apply", "--reject", "--verbose", "--whitespace=nowarn"]).arg(&self.path);
        let output = git.output().context("the program `git` cannot be started; it applies the patches")?;
        if output.status.success() {
            return Ok(None);
        }
        let places = misfits(&String::from_utf8_lossy(&output.stderr));
        Ok(Some(Misfit { patch: self.name.clone(), places }))
    }
}

/// Returns git in a folder, unaffected by a repository around it and by the user's settings.
pub fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.args(["-c", "core.autocrlf=false", "-c", "user.name=carry", "-c", "user.email=carry@localhost"]);
    git.args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"]);
    git.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(name);
    }
    if let Some(parent) = folder.parent() {
        git.env("GIT_CEILING_DIRECTORIES", parent);
    }
    git
}

/// Returns the places that `git apply --reject --verbose` names in its messages, as `FILE, hunk N`.
fn misfits(said: &str) -> Vec<String> {
    let mut places = vec![];
    let mut file = "";
    for line in said.lines() {
        if let Some(rest) = line.strip_prefix("Applying patch ") {
            file = rest.split(" with ").next().unwrap_or(rest).trim_end_matches("...");
        } else if let Some(rest) = line.strip_prefix("Rejected hunk #") {
            places.push(format!("{file}, hunk {}", rest.trim_end_matches('.')));
        } else if let Some(error) = line.strip_prefix("error: ")
            && !error.starts_with("while searching for:")
            && !error.starts_with("patch failed: ")
        {
            places.push(error.to_string());
        }
    }
    if places.is_empty() {
        places.push(said.trim().to_string());
    }
    places
}
