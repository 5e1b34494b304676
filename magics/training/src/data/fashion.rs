//! Fashion-MNIST (Xiao et al. 2017, MIT licence): 70,000 images of clothes, 28×28 pixels, 10 classes.

use super::idx::mnist_folder;
use super::{Data, Examples};
use anyhow::Result;
use std::path::Path;

/// Where Debian's package puts it; `TUNEBOOK_FASHION_MNIST` names another folder.
pub const FOLDER: &str = "/usr/share/datasets/fashion-mnist";
/// Training examples; the other 6,000 of the 60,000 validate.
pub const TRAIN: i64 = 54_000;
/// Classes.
pub const CLASSES: i64 = 10;

/// The folder that is read unless a study names one.
pub fn folder() -> String {
    std::env::var("TUNEBOOK_FASHION_MNIST").unwrap_or_else(|_| FOLDER.into())
}

/// Images \[count, 1, 28, 28\] scaled to 0–1. The last 6,000 training images validate: they are in no order.
pub fn load(folder: impl AsRef<Path>) -> Result<Data> {
    let (train, test): (Examples, Examples) = mnist_folder(folder)?;
    let valid = train.narrow(TRAIN, train.count() - TRAIN);
    Ok(Data::new(train.first(TRAIN), valid).with_test(test))
}
