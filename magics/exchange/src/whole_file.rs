//! Writes a file whole or not at all: beside its place first, which it then takes.

use crate::Result;
use std::io::{Error, ErrorKind};
use std::path::Path;
use tempfile::Builder;

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the write is an error of the kind `AlreadyExists`.
    Keep,
    /// It is replaced.
    Replace,
}

/// Writes a file. `write` gets the path of a file beside it, which then takes its place. After an error, nothing is
/// left of the new file, and one that was there before is as it was.
pub fn write_whole(path: &Path, existing: Existing, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(Error::from(ErrorKind::AlreadyExists).into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = Builder::new().prefix(".tunebook-export-").permissions(permissions()).tempfile_in(folder)?;
    write(beside.path())?;
    beside.as_file().sync_all()?;
    match existing {
        Existing::Keep => beside.persist_noclobber(path).map_err(|failed| failed.error)?,
        Existing::Replace => beside.persist(path).map_err(|failed| failed.error)?,
    };
    Ok(())
}

/// Those of a new file; the umask of the process narrows them.
fn permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_half_is_left_and_nothing_is_replaced_silently() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let half = |beside: &Path| {
            fs::write(beside, "half")?;
            Err(Error::from(ErrorKind::StorageFull).into())
        };
        assert!(write_whole(&path, Existing::Keep, half).is_err());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let whole = |text: &'static str| move |beside: &Path| Ok(fs::write(beside, text)?);
        write_whole(&path, Existing::Keep, whole("first")).unwrap();
        assert!(write_whole(&path, Existing::Keep, whole("second")).is_err());
        assert!(write_whole(&path, Existing::Replace, half).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        write_whole(&path, Existing::Replace, whole("second")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
