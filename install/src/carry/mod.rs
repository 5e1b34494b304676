//! `cargo carry`: the published crates that this repository carries with changes.
//!
//! Such a crate lies in `kernel/NAME`: the files of the published release, changed by the series of patches in
//! `kernel/NAME/patches`. The command applies the series to a release, to say which patch does not fit, or to write
//! the folder. A test holds the folder against the release and the series.

mod commits;
mod release;
mod series;

use crate::places::repository;
use crate::steps::say;
use anyhow::{Context, Result, bail};
use clap::Args;
use series::Misfit;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the folder of a carried crate holds beside the files of the release.
const OWN: [&str; 2] = ["CHANGES.md", "patches"];
/// The file in `patches` with the paths of the release that are not carried, one on each line.
const LEFT_OUT: &str = "left-out";

/// Which crate to look at, and what to do.
#[derive(Args)]
pub struct Options {
    /// The carried crate: evcxr or zeromq (default: each of them).
    name: Option<String>,
    /// Apply the series to the published release in this folder.
    #[arg(long, value_name = "FOLDER", requires = "name", conflicts_with = "version")]
    release: Option<PathBuf>,
    /// Apply the series to this version from crates.io (default: the version that is carried).
    #[arg(long, requires = "name")]
    version: Option<String>,
    /// Write the result into the folder of the carried crate.
    #[arg(long)]
    write: bool,
    /// Write the release and the series as commits of a new git repository. At a patch that does not fit, stop and
    /// leave its part for each file that it does not fit beside that file (*.rej).
    #[arg(long, value_name = "FOLDER", requires = "name", conflicts_with = "write")]
    commits: Option<PathBuf>,
    /// Write the commits of such a repository as the first patches of the series.
    #[arg(long, value_name = "FOLDER", requires = "name")]
    #[arg(conflicts_with_all = ["write", "commits", "release", "version"])]
    take: Option<PathBuf>,
}

/// A crate that is carried.
struct Carried {
    name: String,
    folder: PathBuf,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    let crates = match &options.name {
        Some(name) => vec![Carried::named(name)?],
        None => Carried::all()?,
    };
    for carried in &crates {
        if let Some(repository) = &options.take {
            let count = commits::take(carried, repository)?;
            println!("{} now begins with the {count} commits of {}", shown(&carried.patches()), repository.display());
            continue;
        }
        let current = carried.version()?;
        let version = options.version.clone().unwrap_or_else(|| current.clone());
        let release = match &options.release {
            Some(folder) => release::in_folder(&carried.name, folder)?,
            None => release::fetched(&carried.name, &version)?,
        };
        if let Some(repository) = &options.commits {
            commits::write(carried, &release, repository)?;
            println!("{} holds the release and the whole series", repository.display());
            continue;
        }
        let result = tempfile::tempdir().context("a temporary folder cannot be made")?;
        say(&format!("{}: applying the series to {}", carried.name, release.display()));
        carried.build(&release, result.path())?;
        let patches = series::read(carried)?.len();
        if options.write {
            carried.replace(result.path())?;
            println!("{} is written: the release and {patches} patches", shown(&carried.folder));
        } else if options.release.is_none() && version == current {
            check(carried, result.path())?;
            println!("{} is {} {version} and {patches} patches", shown(&carried.folder), carried.name);
        } else {
            println!("all {patches} patches fit; `--write` writes the result into {}", shown(&carried.folder));
        }
    }
    Ok(())
}

/// Has cargo fetch the releases that the carried crates are based on, for the test that compares them. If that is not
/// possible, the test says what it could not check.
pub fn fetch_releases() -> Result<()> {
    for carried in Carried::all()? {
        let version = carried.version()?;
        if let Err(error) = release::fetched(&carried.name, &version) {
            println!(
                "note: {} {version} could not be fetched, so {} is not compared with it: {error:#}",
                carried.name,
                shown(&carried.folder)
            );
        }
    }
    Ok(())
}

/// Fails if the carried folder is not the result of the series.
fn check(carried: &Carried, result: &Path) -> Result<()> {
    let difference = carried.difference(result)?;
    if difference.is_empty() {
        return Ok(());
    }
    bail!(
        "{folder} is not what the release and the series give:\n  {}\nMake the change a patch of the series \
         ({folder}/CHANGES.md says how), or run `cargo carry {} --write` to discard it",
        difference.join("\n  "),
        carried.name,
        folder = shown(&carried.folder),
    )
}

impl Carried {
    /// Returns all carried crates: the folders below `kernel` that have patches.
    fn all() -> Result<Vec<Self>> {
        let kernel = repository().join("kernel");
        let entries = fs::read_dir(&kernel).with_context(|| format!("{} cannot be read", kernel.display()))?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.retain(|folder| folder.join("patches").is_dir());
        folders.sort();
        let named = |folder: PathBuf| {
            let name = folder.file_name()?.to_string_lossy().into_owned();
            Some(Self { name, folder })
        };
        Ok(folders.into_iter().filter_map(named).collect())
    }

    fn named(name: &str) -> Result<Self> {
        let all = Self::all()?;
        let names: Vec<String> = all.iter().map(|carried| carried.name.clone()).collect();
        let found = all.into_iter().find(|carried| carried.name == name);
        found.with_context(|| format!("`{name}` is no carried crate; those are: {}", names.join(", ")))
    }

    fn patches(&self) -> PathBuf {
        self.folder.join("patches")
    }

    /// Returns the version of the release that the folder is based on.
    fn version(&self) -> Result<String> {
        release::field(&self.folder, "version")
    }

    /// Writes the files of the release that are carried into an empty folder.
    fn copy_release(&self, release: &Path, into: &Path) -> Result<()> {
        let list = self.patches().join(LEFT_OUT);
        let text = fs::read_to_string(&list).with_context(|| format!("{} cannot be read", list.display()))?;
        let left_out = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let left_out: Vec<&str> = left_out.collect();
        for path in &left_out {
            if !release.join(path).exists() {
                bail!("{}: the release has no `{path}`; remove that line", shown(&list));
            }
        }
        // Cargo marks a release that it has unpacked by this file.
        let is_left_out =
            |path: &Path| path == Path::new(".cargo-ok") || left_out.iter().any(|left| path.starts_with(left));
        for path in files(release)?.iter().filter(|path| !is_left_out(path)) {
            copy(&release.join(path), &into.join(path))?;
        }
        Ok(())
    }

    /// Writes the release with the series applied into an empty folder. Fails if a patch does not fit.
    fn build(&self, release: &Path, into: &Path) -> Result<()> {
        self.copy_release(release, into)?;
        let mut misfits = vec![];
        let patches = series::read(self)?;
        for patch in &patches {
            misfits.extend(patch.apply(into)?);
        }
        if misfits.is_empty() {
            return Ok(());
        }
        let listed: Vec<String> = misfits.iter().map(Misfit::to_string).collect();
        bail!(
            "{} of {} patches of {} do not fit the release in {}:\n  {}\nA later one may fail only because \
             an earlier one did. {}/CHANGES.md says how to mend the series",
            misfits.len(),
            patches.len(),
            self.name,
            release.display(),
            listed.join("\n  "),
            shown(&self.folder)
        )
    }

    /// Returns how the carried folder differs from a folder with the same crate; nothing if it does not.
    fn difference(&self, result: &Path) -> Result<Vec<String>> {
        let own = |path: &PathBuf| OWN.iter().any(|own| path.starts_with(own));
        let expected: BTreeSet<PathBuf> = files(result)?.into_iter().collect();
        let carried: BTreeSet<PathBuf> = files(&self.folder)?.into_iter().filter(|path| !own(path)).collect();
        let mut difference = vec![];
        for path in expected.union(&carried) {
            match (expected.contains(path), carried.contains(path)) {
                (true, false) => difference.push(format!("{} is missing", path.display())),
                (false, true) => difference.push(format!("{} is not in the result", path.display())),
                _ => {
                    let (expected, carried) = (fs::read(result.join(path))?, fs::read(self.folder.join(path))?);
                    if expected != carried {
                        let line = first_different_line(&expected, &carried);
                        difference.push(format!("{} differs from line {line} on", path.display()));
                    }
                }
            }
        }
        Ok(difference)
    }

    /// Puts the files of a folder in the place of those that are carried.
    fn replace(&self, result: &Path) -> Result<()> {
        let entries =
            fs::read_dir(&self.folder).with_context(|| format!("{} cannot be read", self.folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if OWN.iter().any(|own| path.ends_with(own)) {
                continue;
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("{} cannot be removed", path.display()))?;
        }
        for path in files(result)? {
            copy(&result.join(&path), &self.folder.join(&path))?;
        }
        Ok(())
    }
}

/// Returns the files below a folder, relative to it and sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fn collect(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
        let path = folder.join(below);
        for entry in fs::read_dir(&path).with_context(|| format!("{} cannot be read", path.display()))? {
            let entry = entry?;
            let below = below.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => collect(folder, &below, found)?,
                false => found.push(below),
            }
        }
        Ok(())
    }
    let mut found = vec![];
    collect(folder, Path::new(""), &mut found)?;
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("{} cannot be read", from.display()))?;
    write(to, &content)
}

/// Writes a file, and makes its folder if that is not there.
fn write(to: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
    }
    fs::write(to, content).with_context(|| format!("{} cannot be written", to.display()))
}

/// Counts from 1.
fn first_different_line(a: &[u8], b: &[u8]) -> usize {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    1 + a[..same].iter().filter(|byte| **byte == b'\n').count()
}

/// Returns a path as the user sees it: relative to the repository where it lies there.
fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests;
