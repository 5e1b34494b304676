//! The series as commits of a git repository, where it can be changed and moved to another release with git's own
//! means.

use super::{Carried, series, shown};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes a repository of the release, its first commit, and a commit for each patch. Stops at a patch that does not
/// fit.
pub fn write(carried: &Carried, release: &Path, repository: &Path) -> Result<()> {
    let repository = std::path::absolute(repository)?;
    fs::create_dir_all(&repository).with_context(|| format!("{} cannot be made", repository.display()))?;
    if fs::read_dir(&repository)?.next().is_some() {
        bail!("{} is not empty; name a new folder for the repository", repository.display());
    }
    carried.copy_release(release, &repository)?;
    output_of(git(&repository).args(["init", "--quiet"]))?;
    commit(&repository, "release")?;
    for patch in series::read(carried)? {
        if let Some(misfit) = patch.apply(&repository)? {
            bail!(
                "this patch does not fit:\n  {misfit}\nThe patches before it are commits in {folder}. Make \
                 what is left of it (*.rej) by hand, remove those files, and commit with the patch's header as the \
                 message. Then `cargo carry {name} --take {folder}` writes the series up to there",
                folder = repository.display(),
                name = carried.name,
            );
        }
        commit(&repository, patch.header())?;
    }
    Ok(())
}

/// Writes the commits of a repository as the first patches of the series; later patches stay. Returns how many they
/// are.
pub fn take(carried: &Carried, repository: &Path) -> Result<usize> {
    let repository = std::path::absolute(repository)?;
    let git = || git(&repository);
    if !repository.join(".git").exists() {
        bail!("{} is no git repository; `--commits` makes one", repository.display());
    }
    if !output_of(git().args(["status", "--porcelain"]))?.is_empty() {
        bail!("{} has changes that are not committed; commit them first", repository.display());
    }
    let commits = output_of(git().args(["rev-list", "--reverse", "--first-parent", "HEAD"]))?;
    let commits: Vec<&str> = commits.lines().skip(1).collect();
    let mut patches = vec![];
    for (index, commit) in commits.iter().enumerate() {
        let message = output_of(git().args(["show", "--no-patch", "--format=%B", commit]))?;
        let header = message.trim();
        let subject = header.lines().next().unwrap_or_default();
        let mut diff = git();
        diff.args(["diff", "--no-color", "--no-ext-diff", "--no-renames", "--unified=3", "--diff-algorithm=myers"]);
        diff.args(["--src-prefix=a/", "--dst-prefix=b/", &format!("{commit}~1"), commit]);
        let diff = output_of(&mut diff)?;
        // The hashes of the files would change with each patch before.
        let diff: String = diff.split_inclusive('\n').filter(|line| !line.starts_with("index ")).collect();
        if diff.is_empty() {
            bail!("the commit {commit} (\"{subject}\") changes nothing; leave it out");
        }
        patches.push((format!("{:04}-{}.patch", index + 1, slug(subject)), format!("{header}\n\n{diff}")));
    }
    // All was read, so the old patches can go.
    for old in series::read(carried)?.iter().take(patches.len()) {
        remove(&carried.patches().join(&old.name))?;
    }
    for (name, text) in &patches {
        let path = carried.patches().join(name);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", shown(&path)))?;
    }
    Ok(patches.len())
}

fn remove(path: &PathBuf) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("{} cannot be removed", shown(path)))
}

fn commit(repository: &Path, message: &str) -> Result<()> {
    output_of(git(repository).args(["add", "--all", "--force"]))?;
    output_of(git(repository).args(["commit", "--quiet", "--cleanup=verbatim", "--message", message]))?;
    Ok(())
}

fn output_of(command: &mut Command) -> Result<String> {
    crate::steps::output_of(command).context("git keeps the series as commits")
}

/// Returns the words of a subject as a name of a file.
fn slug(subject: &str) -> String {
    let subject = subject.to_lowercase().replace('\'', "");
    let words = subject.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = String::new();
    for word in words {
        if slug.len() + word.len() > 80 {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug += word;
    }
    slug
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
    git
}
