//! Text as bytes, for language models.

use super::{Data, Examples, read};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use tch::{Kind, Tensor};

/// Reads a UTF-8 text file, packed (`.gz`) or not. It fails if the file cannot be read or is not UTF-8.
pub fn text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    String::from_utf8(read(path)?).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Cuts a text into windows for next-byte prediction: inputs and targets \[windows, length\] (i64, 0–255), in which the
/// target of each byte is the byte that follows it.
///
/// The first 80 % of the text are the training part, whose windows overlap by three quarters; the next 10 % are the
/// validation part and the last 10 % the test part. It fails if a tenth of the text is not longer than a window.
///
/// ```no_run
/// # use tunebook_training::prelude::*;
/// let data = byte_windows(&text("novel.txt")?, 64)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn byte_windows(text: &str, length: i64) -> Result<Data> {
    let bytes: Vec<i64> = text.bytes().map(i64::from).collect();
    let count = bytes.len() as i64;
    ensure!(
        count / 10 > length,
        "the text has {count} bytes; windows of {length} bytes need more than {}, since a tenth of the text is for \
         validation",
        10 * length
    );
    let all = Tensor::from_slice(&bytes);
    let windows = |start: i64, end: i64, stride: i64| {
        let starts: Vec<i64> = (start..end - length).step_by(stride.max(1) as usize).collect();
        let starts = Tensor::from_slice(&starts).unsqueeze(1);
        let positions = starts + Tensor::arange(length + 1, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0);
        let window = all.index_select(0, &positions.flatten(0, -1)).view([-1, length + 1]);
        Examples::new(window.narrow(1, 0, length).contiguous(), window.narrow(1, 1, length).contiguous())
    };
    let (first, second) = (count * 8 / 10, count * 9 / 10);
    let data = Data::new(windows(0, first, length / 4)?, windows(first, second, length)?);
    Ok(data.with_test(windows(second, count, length)?))
}
