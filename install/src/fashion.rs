//! Finds Fashion-MNIST, which some tests train on, or unpacks Debian's package of it into the cache folder.

use crate::places::cache;
use crate::steps::{output_of, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "dataset-fashion-mnist";
/// The folder of the data in the package, from the root of the file system.
const FOLDER: &str = "usr/share/datasets/fashion-mnist";

/// The folder with the four files, which are downloaded if they are nowhere on this machine.
pub fn folder() -> Result<PathBuf> {
    let named = std::env::var_os("TUNEBOOK_FASHION_MNIST").map(PathBuf::from);
    let cached = cache()?.join("fashion-mnist");
    let places = [named, Some(Path::new("/").join(FOLDER)), Some(cached.join(FOLDER))];
    let has_the_data = |folder: &PathBuf| folder.join("train-images-idx3-ubyte.gz").exists();
    match places.into_iter().flatten().find(has_the_data) {
        Some(folder) => Ok(folder),
        None => {
            download(&cached)?;
            Ok(cached.join(FOLDER))
        }
    }
}

/// Downloads the package and unpacks it. Unlike an installation, this needs no rights of an administrator.
fn download(cached: &Path) -> Result<()> {
    say(&format!(
        "Downloading Fashion-MNIST for the tests (Debian's package {PACKAGE}, 31 MB) into {}",
        cached.display()
    ));
    fs::create_dir_all(cached)?;
    let download = |apt: &mut Command| output_of(apt.args(["download", PACKAGE]).current_dir(cached));
    if download(&mut Command::new("apt-get")).is_err() {
        // A new machine has no lists of packages until somebody runs `apt-get update` as root. We make our own lists.
        let apt = cached.join("apt");
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(folder))?;
        }
        let with_own_lists = || {
            let mut command = Command::new("apt-get");
            command.args(["-o", &format!("Dir::State={}", apt.join("state").display())]);
            command.args(["-o", &format!("Dir::Cache={}", apt.join("cache").display())]);
            command.args(["-o", "Dir::State::status=/var/lib/dpkg/status"]);
            command
        };
        output_of(with_own_lists().arg("update"))?;
        download(&mut with_own_lists())?;
        fs::remove_dir_all(apt)?;
    }
    let files = fs::read_dir(cached)?.flatten().map(|entry| entry.path());
    let package = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.context("apt-get downloaded no package")?;
    output_of(Command::new("dpkg-deb").arg("-x").args([&package, cached]))?;
    Ok(fs::remove_file(package)?)
}
