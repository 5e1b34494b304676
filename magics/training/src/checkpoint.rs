//! Checkpoints: safetensors files, written whole or not at all.

use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Tensor};

/// The best parameters by the study's objective (Playbook H10).
pub const BEST: &str = "best.safetensors";
/// The parameters after the last step.
pub const LAST: &str = "last.safetensors";
/// All that a killed trial needs to go on; gone once the trial has ended by itself.
pub const RESUME: &str = "resume.safetensors";

/// Writes tensors by name.
pub fn write<'t>(path: &Path, tensors: impl Iterator<Item = (&'t str, &'t Tensor)>) -> Result<()> {
    let partial = path.with_extension("partial");
    let tensors: Vec<(String, Tensor)> =
        tensors.map(|(name, tensor)| (name.into(), tensor.detach().to_device(Device::Cpu).contiguous())).collect();
    let problem = || format!("the checkpoint {} cannot be written", path.display());
    Tensor::write_safetensors(&tensors, &partial).with_context(problem)?;
    std::fs::rename(&partial, path).with_context(problem)
}

/// Reads tensors by name.
pub fn read(path: &Path) -> Result<HashMap<String, Tensor>> {
    let tensors = Tensor::read_safetensors(path)
        .with_context(|| format!("{} is no checkpoint that can be read", path.display()))?;
    Ok(tensors.into_iter().collect())
}

/// Copies the values of a checkpoint into tensors of the same names and shapes.
pub fn restore<'t>(
    checkpoint: &HashMap<String, Tensor>,
    into: impl Iterator<Item = (&'t str, &'t Tensor)>,
    origin: &str,
) -> Result<()> {
    for (name, tensor) in into {
        let Some(value) = checkpoint.get(name) else { bail!("{origin} has no `{name}`, which the model has") };
        if value.size() != tensor.size() {
            let (there, here) = (value.size(), tensor.size());
            bail!(
                "`{name}` is {there:?} in {origin} and {here:?} in the model: other hyperparameters, or another source"
            );
        }
        tch::no_grad(|| tensor.shallow_clone().copy_(value));
    }
    Ok(())
}

/// Bytes as a tensor, so that text can travel with the others.
pub fn bytes(text: &str) -> Tensor {
    Tensor::from_slice(text.as_bytes())
}

/// The text in such a tensor.
pub fn text_of(tensor: &Tensor) -> Option<String> {
    String::from_utf8(Vec::<u8>::try_from(tensor).ok()?).ok()
}
