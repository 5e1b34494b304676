//! The file of the store, which `%env` can change while the kernel runs.

use crate::error::{ErrorName, MagicError, Result};
use std::path::{Path, PathBuf};
use tunebook_study::store::{STUDIES, default_store_in};

/// The file of the store.
pub(super) struct StoreFile {
    path: PathBuf,
    /// The value of `TUNEBOOK_STUDIES` in the session that names it. None if the session has not changed the variable.
    named: Option<Option<String>>,
    /// The folder of the notebook in which the store is, if it was there when the path was set.
    folder: Option<PathBuf>,
}

impl StoreFile {
    /// The file that the session names, or else `first`.
    pub(super) fn new(first: &Path, named: Option<Option<String>>) -> Self {
        let path = match &named {
            None => first.into(),
            Some(Some(path)) if !path.is_empty() => expanded(path),
            Some(_) => default_store_in(Path::new("")),
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        let folder = path.parent().and_then(|parent| match parent.ends_with(".tunebook") {
            true => parent.parent(),
            false => Some(parent),
        });
        let folder = folder.filter(|folder| folder.is_dir()).map(PathBuf::from);
        Self { path, named, folder }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_named(&self, named: &Option<Option<String>>) -> bool {
        self.named == *named
    }

    /// An error if the folder is not there any more. A new store there would be another one.
    pub(super) fn check(&self) -> Result<()> {
        let Some(folder) = self.folder.as_deref().filter(|folder| !folder.is_dir()) else { return Ok(()) };
        let message = format!(
            "the folder {} is not there any more: it was renamed or removed while the kernel ran, and the studies are \
             looked for in it",
            folder.display()
        );
        let moved = self.path.strip_prefix(folder).ok().zip(std::env::current_dir().ok());
        let moved = moved.map(|(rest, current)| current.join(rest)).filter(|path| path.is_file());
        let help = match moved {
            Some(path) => format!(
                "`%env {STUDIES}={}` uses the studies that are in the folder under its new name; so does a restart of \
                 the kernel",
                path.display()
            ),
            None => format!("restart the kernel, or name the file of the studies: `%env {STUDIES}=FILE`"),
        };
        Err(MagicError::new(ErrorName::StoreError, message, Some(help)))
    }
}

/// The path with the home folder in the place of `~`.
fn expanded(written: &str) -> PathBuf {
    match written.strip_prefix("~/").zip(dirs::home_dir()) {
        Some((below, home)) => home.join(below),
        None => written.into(),
    }
}
