//! Finds Fashion-MNIST, which some tests train on, or downloads it into the cache folder.

use crate::debian;
use crate::places::cache;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The folder of the data in Debian's package, from the root of the file system.
const FOLDER: &str = "usr/share/datasets/fashion-mnist";

/// The folder with the four files.
pub fn folder() -> Result<PathBuf> {
    let named = std::env::var_os("TUNEBOOK_FASHION_MNIST").map(PathBuf::from);
    let cached = cache()?.join("fashion-mnist");
    let places = [named, Some(Path::new("/").join(FOLDER)), Some(cached.join(FOLDER))];
    let has_the_data = |folder: &PathBuf| folder.join("train-images-idx3-ubyte.gz").exists();
    if let Some(folder) = places.into_iter().flatten().find(has_the_data) {
        return Ok(folder);
    }
    debian::unpack("dataset-fashion-mnist", FOLDER, &cached)?;
    Ok(cached.join(FOLDER))
}
