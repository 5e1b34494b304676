//! Reads tensors from NumPy (`.npy`, `.npz`) and safetensors files.

use super::{missing, source};
use anyhow::{Context, Result, anyhow};
use std::path::Path;
use tch::Tensor;

/// Reads the array of a `.npy` file. It fails if the file does not exist or is of another format.
pub fn npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = recorded(path.as_ref())?;
    Tensor::read_npy(path).with_context(|| format!("{} is not a .npy file that can be read", path.display()))
}

/// Reads the array `name` of a `.npz` file. It fails if the file does not exist, is of another format, or holds no such
/// array.
pub fn npz(path: impl AsRef<Path>, name: &str) -> Result<Tensor> {
    let path = recorded(path.as_ref())?;
    let arrays =
        Tensor::read_npz(path).with_context(|| format!("{} is not a .npz file that can be read", path.display()))?;
    find(path, arrays, name)
}

/// Reads the tensor `name` of a safetensors file. It fails if the file does not exist, is of another format, or holds
/// no such tensor.
///
/// ```no_run
/// # use tunebook_training::prelude::*;
/// let images = safetensors("clothes.safetensors", "images")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn safetensors(path: impl AsRef<Path>, name: &str) -> Result<Tensor> {
    let path = recorded(path.as_ref())?;
    let tensors = Tensor::read_safetensors(path)
        .with_context(|| format!("{} is not a safetensors file that can be read", path.display()))?;
    find(path, tensors, name)
}

fn find(path: &Path, tensors: Vec<(String, Tensor)>, name: &str) -> Result<Tensor> {
    let names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    let found = tensors.into_iter().find(|(known, _)| known == name);
    found
        .map(|(_, tensor)| tensor)
        .ok_or_else(|| anyhow!("{} holds nothing of the name `{name}`; it holds {}", path.display(), names.join(", ")))
}

/// Records the file as read, and returns its path.
fn recorded(path: &Path) -> Result<&Path> {
    if !path.exists() {
        return Err(missing(path, "check the path; a relative path starts in the kernel's folder"));
    }
    source::read_recorded(path)?;
    Ok(path)
}
