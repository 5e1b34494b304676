//! Fashion-MNIST, which the tests train on: found, or unpacked from Debian's package into the user's cache.

use crate::places::cache;
use crate::steps::{output_of, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "dataset-fashion-mnist";
/// Where the package puts it.
const FOLDER: &str = "usr/share/datasets/fashion-mnist";

/// The folder with the four files; `None`, with a note, where it is not there and cannot be fetched.
pub fn folder() -> Result<Option<PathBuf>> {
    let named = std::env::var_os("TUNEBOOK_FASHION_MNIST").map(PathBuf::from);
    let cached = cache()?.join("fashion-mnist");
    let places = [named, Some(Path::new("/").join(FOLDER)), Some(cached.join(FOLDER))];
    if let Some(found) = places.into_iter().flatten().find(|folder| folder.join("train-images-idx3-ubyte.gz").exists())
    {
        return Ok(Some(found));
    }
    match fetch(&cached) {
        Ok(()) => Ok(Some(cached.join(FOLDER))),
        Err(error) => {
            println!(
                "note: Fashion-MNIST is not there and could not be fetched ({error:#}); the tests that train on it will say so \
                 and fail. Debian: apt install {PACKAGE}; elsewhere TUNEBOOK_FASHION_MNIST names a folder with its four files"
            );
            Ok(None)
        }
    }
}

/// Downloads the package, which needs no rights, and unpacks it.
fn fetch(cached: &Path) -> Result<()> {
    say(&format!("Fashion-MNIST: fetching Debian's {PACKAGE} (31 MB) into {}", cached.display()));
    fs::create_dir_all(cached)?;
    output_of(Command::new("apt-get").args(["download", PACKAGE]).current_dir(cached))?;
    let files = fs::read_dir(cached)?.flatten().map(|entry| entry.path());
    let package = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.context("apt-get left no package")?;
    output_of(Command::new("dpkg-deb").arg("-x").args([&package, cached]))?;
    Ok(fs::remove_file(package)?)
}
