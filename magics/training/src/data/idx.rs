//! idx files, the format of MNIST and Fashion-MNIST (LeCun et al., "The MNIST database of handwritten digits").

use super::{Examples, read, scaled};
use crate::data::missing;
use anyhow::{Result, ensure};
use std::path::Path;
use tch::{Kind, Tensor};

/// The tensor of an idx file of bytes, `.gz` or not: images \[count, height, width\], labels \[count\].
pub fn idx(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let bytes = read(path)?;
    let shown = path.display();
    let [0, 0, kind, dimensions, rest @ ..] = bytes.as_slice() else {
        anyhow::bail!("{shown} is no idx file: it does not begin with two zero bytes");
    };
    ensure!(*kind == 0x08, "{shown} holds numbers of kind 0x{kind:02x}; only bytes (0x08) are read");
    let header = 4 * usize::from(*dimensions);
    ensure!(rest.len() >= header, "{shown} ends inside its header");
    let (sizes, values) = rest.split_at(header);
    let sizes: Vec<i64> =
        sizes.chunks_exact(4).map(|s| i64::from(u32::from_be_bytes([s[0], s[1], s[2], s[3]]))).collect();
    let wanted = sizes.iter().product::<i64>();
    let there = values.len();
    ensure!(there as i64 == wanted, "{shown} has {there} bytes of data where its header {sizes:?} asks for {wanted}");
    Ok(Tensor::from_slice(values).reshape(&sizes))
}

/// Images \[count, 1, height, width\] scaled to 0–1, with their classes.
pub fn idx_examples(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Examples> {
    Examples::new(scaled(&idx(images)?).unsqueeze(1), idx(labels)?.to_kind(Kind::Int64))
}

/// The training and the test examples of a folder with the four files of MNIST and its kin.
pub fn mnist_folder(folder: impl AsRef<Path>) -> Result<(Examples, Examples)> {
    let folder = folder.as_ref();
    let part = |prefix: &str| {
        let images = folder.join(format!("{prefix}-images-idx3-ubyte"));
        if !images.exists() && !folder.join(format!("{prefix}-images-idx3-ubyte.gz")).exists() {
            let advice = "a folder is wanted with the four idx files of MNIST or Fashion-MNIST (train-images-idx3-ubyte, \
                          train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte), packed (.gz) or not. \
                          Fashion-MNIST: Debian's package dataset-fashion-mnist, or github.com/zalandoresearch/fashion-mnist";
            return Err(missing(&images, advice));
        }
        idx_examples(images, folder.join(format!("{prefix}-labels-idx1-ubyte")))
    };
    Ok((part("train")?, part("t10k")?))
}
