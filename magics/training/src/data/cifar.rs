//! Reads CIFAR-10 in its binary version (Krizhevsky 2009). A record is one byte for the class and 3 × 32 × 32 bytes of
//! pixels.

use super::{Examples, missing, read, scaled};
use anyhow::{Result, ensure};
use std::path::Path;
use tch::{Kind, Tensor};

const PIXELS: usize = 3 * 32 * 32;

/// Reads the training examples (50,000) and the test examples (10,000) of CIFAR-10: images \[count, 3, 32, 32\]
/// (float32, 0–1) and classes \[count\] (i64, 0–9).
///
/// `folder` holds the files `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, packed (`.gz`) or not. It
/// fails if one of them is missing or is not a whole number of records.
///
/// ```no_run
/// # use tunebook_training::prelude::*;
/// let (train, test) = cifar10("cifar-10-batches-bin")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cifar10(folder: impl AsRef<Path>) -> Result<(Examples, Examples)> {
    let folder = folder.as_ref();
    let names: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    let train: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok((records(folder, &train)?, records(folder, &["test_batch.bin"])?))
}

fn records(folder: &Path, names: &[&str]) -> Result<Examples> {
    let (mut labels, mut pixels) = (vec![], vec![]);
    for name in names {
        let path = folder.join(name);
        if !path.exists() {
            let advice = "the folder must be cifar-10-batches-bin of the \"CIFAR-10 binary version\" \
                          (www.cs.toronto.edu/~kriz/cifar.html)";
            return Err(missing(&path, advice));
        }
        let bytes = read(&path)?;
        let (shown, length) = (path.display(), bytes.len());
        ensure!(
            length % (PIXELS + 1) == 0,
            "{shown} has {length} bytes, which is not a whole number of records of {} bytes",
            PIXELS + 1
        );
        for record in bytes.chunks_exact(PIXELS + 1) {
            labels.push(i64::from(record[0]));
            pixels.extend_from_slice(&record[1..]);
        }
    }
    let images = Tensor::from_slice(&pixels).reshape([labels.len() as i64, 3, 32, 32]);
    Examples::new(scaled(&images), Tensor::from_slice(&labels).to_kind(Kind::Int64))
}
