//! Reads idx files, the format of MNIST and Fashion-MNIST (LeCun et al., "The MNIST database of handwritten digits").

use super::{Examples, missing, read, scaled};
use anyhow::{Result, bail, ensure};
use std::path::Path;
use tch::{Kind, Tensor};

/// Reads an idx file of bytes, packed (`.gz`) or not, as a tensor (uint8) of the shape that its header gives: images
/// \[count, height, width\], labels \[count\]. It fails if the file is of another format, holds other numbers than
/// bytes, or is not complete.
pub fn idx(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let bytes = read(path)?;
    let shown = path.display();
    let [0, 0, kind, dimensions, rest @ ..] = bytes.as_slice() else {
        bail!("{shown} is not an idx file: it does not begin with two zero bytes");
    };
    ensure!(*kind == 0x08, "{shown} holds numbers of type 0x{kind:02x}; only bytes (0x08) can be read");
    let header = 4 * usize::from(*dimensions);
    ensure!(rest.len() >= header, "{shown} ends inside its header");
    let (sizes, values) = rest.split_at(header);
    let sizes: Vec<i64> =
        sizes.chunks_exact(4).map(|s| i64::from(u32::from_be_bytes([s[0], s[1], s[2], s[3]]))).collect();
    let (expected, found) = (sizes.iter().product::<i64>(), values.len());
    ensure!(
        found as i64 == expected,
        "{shown} has {found} bytes of data, but its header {sizes:?} announces {expected}"
    );
    Ok(Tensor::from_slice(values).reshape(&sizes))
}

/// Reads two idx files as examples: images \[count, 1, height, width\] (float32, 0–1) and their classes \[count\]
/// (i64). It fails as [`idx`] does, or if the files do not hold the same number of images and labels.
pub fn idx_examples(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Examples> {
    Examples::new(scaled(&idx(images)?).unsqueeze(1), idx(labels)?.to_kind(Kind::Int64))
}

/// Reads the training and the test examples of a folder with the four idx files of MNIST or of a data set in its
/// format, such as Fashion-MNIST: images \[count, 1, height, width\] (float32, 0–1) and classes \[count\] (i64).
///
/// The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, packed (`.gz`) or not. It fails if one of them is missing or damaged.
///
/// ```no_run
/// # use tunebook_training::prelude::*;
/// let (train, test) = mnist_folder("/usr/share/datasets/fashion-mnist")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mnist_folder(folder: impl AsRef<Path>) -> Result<(Examples, Examples)> {
    let folder = folder.as_ref();
    let part = |prefix: &str| {
        let images = folder.join(format!("{prefix}-images-idx3-ubyte"));
        if !images.exists() && !folder.join(format!("{prefix}-images-idx3-ubyte.gz")).exists() {
            let advice = "the folder must hold the four idx files of MNIST or Fashion-MNIST (train-images-idx3-ubyte, \
                          train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte), packed (.gz) or \
                          not. Fashion-MNIST: Debian's package dataset-fashion-mnist, or \
                          github.com/zalandoresearch/fashion-mnist";
            return Err(missing(&images, advice));
        }
        idx_examples(images, folder.join(format!("{prefix}-labels-idx1-ubyte")))
    };
    Ok((part("train")?, part("t10k")?))
}
