//! Arrays of NumPy and tensors of safetensors.

use super::{missing, source};
use anyhow::{Context, Result, anyhow};
use std::path::Path;
use tch::Tensor;

/// The array of a `.npy` file.
pub fn npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = noted(path.as_ref())?;
    Tensor::read_npy(path).with_context(|| format!("{} is no .npy file that can be read", path.display()))
}

/// The array of a name in a `.npz` file.
pub fn npz(path: impl AsRef<Path>, name: &str) -> Result<Tensor> {
    let path = noted(path.as_ref())?;
    let arrays =
        Tensor::read_npz(path).with_context(|| format!("{} is no .npz file that can be read", path.display()))?;
    named(path, arrays, name)
}

/// The tensor of a name in a safetensors file.
pub fn safetensors(path: impl AsRef<Path>, name: &str) -> Result<Tensor> {
    let path = noted(path.as_ref())?;
    let tensors = Tensor::read_safetensors(path)
        .with_context(|| format!("{} is no safetensors file that can be read", path.display()))?;
    named(path, tensors, name)
}

fn named(path: &Path, tensors: Vec<(String, Tensor)>, name: &str) -> Result<Tensor> {
    let names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    let found = tensors.into_iter().find(|(known, _)| known == name);
    found
        .map(|(_, tensor)| tensor)
        .ok_or_else(|| anyhow!("{} has nothing of the name `{name}`; it holds {}", path.display(), names.join(", ")))
}

fn noted(path: &Path) -> Result<&Path> {
    if !path.exists() {
        return Err(missing(path, "check the path; it is taken from the kernel's folder"));
    }
    let bytes = std::fs::read(path).with_context(|| format!("the file {} cannot be read", path.display()))?;
    source::record(path, &bytes);
    Ok(path)
}
