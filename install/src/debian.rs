//! Takes files out of Debian packages. Unlike an installation, this needs no rights of an administrator.

use crate::steps::{output_of, say};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Downloads a package and unpacks the files that `pattern` names (a path from the root, with `*` for any text) below
/// the folder `into`, in place of what is there. If anything fails, `into` stays as it was.
pub fn unpack(package: &str, pattern: &str, into: &Path) -> Result<()> {
    say(&format!("Downloading Debian's package {package} into {}", into.display()));
    let partial = into.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let files = partial.join("files");
    fs::create_dir_all(&files)?;
    let archive = download(package, &partial)?;
    extract(&archive, pattern, &files)?;
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::rename(files, into)?;
    Ok(fs::remove_dir_all(partial)?)
}

/// Downloads a package into a folder and returns its path.
fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    let from_lists = |apt: &mut Command| output_of(apt.args(["download", package]).current_dir(folder));
    if from_lists(&mut Command::new("apt-get")).is_err() {
        // A new machine has no lists of packages until somebody runs `apt-get update` as root. We fetch our own lists.
        let (state, cache) = (folder.join("state"), folder.join("cache"));
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(cache.join("archives/partial"))?;
        let with_own_lists = || {
            let mut apt = Command::new("apt-get");
            apt.args(["-o", &format!("Dir::State={}", state.display())]);
            apt.args(["-o", &format!("Dir::Cache={}", cache.display())]);
            apt.args(["-o", "Dir::State::status=/var/lib/dpkg/status"]);
            apt
        };
        output_of(with_own_lists().arg("update"))?;
        from_lists(&mut with_own_lists())?;
    }
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let package = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    package.context("apt-get downloaded no package")
}

/// Unpacks the files that the pattern names.
fn extract(archive: &Path, pattern: &str, into: &Path) -> Result<()> {
    let mut unpack = Command::new("dpkg-deb");
    let mut unpacking = unpack.arg("--fsys-tarfile").arg(archive).stdout(Stdio::piped()).spawn()?;
    let files = unpacking.stdout.take().context("dpkg-deb has no standard output")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--wildcards", "--directory"]).arg(into).arg(format!("./{pattern}")).stdin(files);
    let selected = tar.status()?.success();
    ensure!(unpacking.wait()?.success() && selected, "{} cannot be unpacked", archive.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_files_of_a_package_are_unpacked() {
        if Command::new("dpkg-deb").arg("--version").output().is_err() {
            return println!("not tested: this is no Debian");
        }
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let about =
            "Package: some\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <n@example.org>\nDescription: none\n";
        write("some/DEBIAN/control", about);
        write("some/usr/src/rustc-1.2/library/core/lib.rs", "wanted");
        write("some/usr/src/rustc-1.2/compiler/lib.rs", "not wanted");
        let (archive, into) = (folder.path().join("some.deb"), folder.path().join("into"));
        output_of(Command::new("dpkg-deb").arg("--build").arg(folder.path().join("some")).arg(&archive)).unwrap();
        fs::create_dir(&into).unwrap();
        extract(&archive, "usr/src/rustc-*/library", &into).unwrap();
        assert_eq!(fs::read_to_string(into.join("usr/src/rustc-1.2/library/core/lib.rs")).unwrap(), "wanted");
        assert!(!into.join("usr/src/rustc-1.2/compiler").exists());
        assert!(extract(&archive, "usr/nothing", &into).is_err());
    }
}
