//! Text as bytes, for language models.

use super::{Data, Examples, read};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use tch::{Kind, Tensor};

/// The UTF-8 text of a file, `.gz` or not.
pub fn text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    String::from_utf8(read(path)?).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Windows of `length` bytes with the byte that follows each: inputs and targets \[windows, length\]. The first 80 % of the
/// text is to train on, with windows that overlap by three quarters, the next 10 % to validate, the last to test.
pub fn byte_windows(text: &str, length: i64) -> Result<Data> {
    let bytes: Vec<i64> = text.bytes().map(i64::from).collect();
    let count = bytes.len() as i64;
    ensure!(
        count / 10 > length,
        "the text has {count} bytes; windows of {length} with a tenth to validate need more than {}",
        10 * length
    );
    let all = Tensor::from_slice(&bytes);
    let windows = |start: i64, end: i64, stride: i64| {
        let starts: Vec<i64> = (start..end - length).step_by(stride.max(1) as usize).collect();
        let starts = Tensor::from_slice(&starts).unsqueeze(1);
        let places = starts + Tensor::arange(length + 1, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0);
        let window = all.index_select(0, &places.flatten(0, -1)).view([-1, length + 1]);
        Examples::new(window.narrow(1, 0, length).contiguous(), window.narrow(1, 1, length).contiguous())
    };
    let (first, second) = (count * 8 / 10, count * 9 / 10);
    let data = Data::new(windows(0, first, length / 4)?, windows(first, second, length)?);
    Ok(data.with_test(windows(second, count, length)?))
}
