//! The series of patches of a carried crate.

use super::{Carried, shown};
use anyhow::{Context, Result, bail};
use diffy::patch_set::{FileOperation, FilePatch, ParseOptions, PatchSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A patch: a header in sentences, and diffs as git writes them, with paths relative to the crate.
pub struct Patch {
    /// The name of the file.
    pub name: String,
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
        Ok(Patch { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text })
    };
    paths.into_iter().map(patch).collect()
}

impl Patch {
    /// Returns the sentences before the first diff.
    pub fn header(&self) -> &str {
        let header = self.text.split_inclusive('\n').take_while(|line| !line.starts_with("diff --git "));
        self.text[..header.map(str::len).sum()].trim_end()
    }

    /// Applies the patch in a folder. Returns the places where it does not fit, if there are any. Files that it fits
    /// are changed all the same. For another file, its part of the patch is written beside it, with the ending `.rej`.
    pub fn apply(&self, folder: &Path) -> Result<Option<Misfit>> {
        let mut places = vec![];
        for file in PatchSet::parse(&self.text, ParseOptions::gitdiff()) {
            match file {
                Ok(file) => places.extend(apply_to_file(&file, folder)?),
                Err(error) => places.push(format!("the patch cannot be read: {error}")),
            }
        }
        Ok((!places.is_empty()).then(|| Misfit { patch: self.name.clone(), places }))
    }
}

/// Changes one file. Returns why its part of the patch does not fit, if it does not.
fn apply_to_file(file: &FilePatch<'_, str>, folder: &Path) -> Result<Option<String>> {
    let (name, is_new, is_deleted) = match file.operation().strip_prefix(1) {
        FileOperation::Create(name) => (name.into_owned(), true, false),
        FileOperation::Delete(name) => (name.into_owned(), false, true),
        FileOperation::Modify { original, modified } if original == modified => (original.into_owned(), false, false),
        _ => return Ok(Some("a file is renamed or copied, which patches of a series do not do".into())),
    };
    let path = folder.join(&name);
    let Some(patch) = file.patch().as_text() else {
        return Ok(Some(format!("{name} is not text")));
    };
    let misfit = match (is_new, path.exists()) {
        (true, true) => format!("{name} exists already"),
        (false, false) => format!("{name} is not there"),
        (_, exists) => {
            let before = if exists { fs::read_to_string(&path) } else { Ok(String::new()) };
            let before = before.with_context(|| format!("{} cannot be read", path.display()))?;
            match diffy::apply(&before, patch) {
                Ok(after) if is_deleted && after.is_empty() => {
                    fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
                    return Ok(None);
                }
                Ok(_) if is_deleted => format!("{name} holds more than what is deleted"),
                Ok(after) => {
                    super::write(&path, after.as_bytes())?;
                    return Ok(None);
                }
                // The error is "error applying hunk #N".
                Err(error) => {
                    format!("{name}, hunk {}", error.to_string().trim_start_matches(|c: char| !c.is_numeric()))
                }
            }
        }
    };
    super::write(&folder.join(format!("{name}.rej")), patch.to_string().as_bytes())?;
    Ok(Some(misfit))
}
