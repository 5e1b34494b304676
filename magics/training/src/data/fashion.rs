//! Reads Fashion-MNIST (Xiao et al. 2017, MIT licence): 70,000 images of clothes with 28×28 pixels, in 10 classes.

use super::idx::mnist_folder;
use super::{Data, Examples};
use anyhow::Result;
use std::path::Path;

/// The folder of Debian's package `dataset-fashion-mnist`.
pub const FOLDER: &str = "/usr/share/datasets/fashion-mnist";
/// The number of training examples. The other 6,000 of the 60,000 in the training files are for validation.
pub const TRAIN: i64 = 54_000;
/// The number of classes.
pub const CLASSES: i64 = 10;

/// Returns the folder that is read unless a study names one: `TUNEBOOK_FASHION_MNIST` if that is set, else [`FOLDER`].
pub fn folder() -> String {
    std::env::var("TUNEBOOK_FASHION_MNIST").unwrap_or_else(|_| FOLDER.into())
}

/// Reads the four files of Fashion-MNIST: 54,000 training, 6,000 validation and 10,000 test examples, with images
/// \[count, 1, 28, 28\] (float32, 0–1) and classes \[count\] (i64, 0–9). It fails if a file is missing or damaged.
///
/// The last 6,000 images of the training files are for validation; the files are in random order.
pub fn load(folder: impl AsRef<Path>) -> Result<Data> {
    let (train, test): (Examples, Examples) = mnist_folder(folder)?;
    let valid = train.narrow(TRAIN, train.count() - TRAIN);
    Ok(Data::new(train.first(TRAIN), valid).with_test(test))
}
