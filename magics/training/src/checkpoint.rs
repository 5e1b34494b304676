//! Writes and reads checkpoints: safetensors files of named tensors.

use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Tensor};

/// The file of the parameters with the best objective so far (Playbook H10).
pub const BEST: &str = "best.safetensors";
/// The file of the parameters after the last step.
pub const LAST: &str = "last.safetensors";
/// The file from which a killed trial resumes. It is removed when the trial completes.
pub const RESUME: &str = "resume.safetensors";

/// The file of what a model needs of its data to predict new rows.
pub const DATA: &str = "data.safetensors";

/// Writes named tensors to a file. An existing file is replaced in one step, so that a kill never leaves half a
/// checkpoint.
pub fn write<'t>(path: &Path, tensors: impl Iterator<Item = (&'t str, &'t Tensor)>) -> Result<()> {
    let partial = path.with_extension("partial");
    let tensors: Vec<(String, Tensor)> =
        tensors.map(|(name, tensor)| (name.into(), tensor.detach().to_device(Device::Cpu).contiguous())).collect();
    let problem = || format!("the checkpoint {} cannot be written", path.display());
    Tensor::write_safetensors(&tensors, &partial).with_context(problem)?;
    std::fs::rename(&partial, path).with_context(problem)
}

/// Reads all tensors of a checkpoint by name, on the CPU.
pub fn read(path: &Path) -> Result<HashMap<String, Tensor>> {
    let tensors = Tensor::read_safetensors(path)
        .with_context(|| format!("{} is not a checkpoint that can be read", path.display()))?;
    Ok(tensors.into_iter().collect())
}

/// Copies the values of a checkpoint into the tensors `into` of the same names. It fails if the checkpoint lacks one of
/// them or has it in another shape; `origin` names the checkpoint in the message.
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
                "`{name}` has the shape {there:?} in {origin} and {here:?} in the model: it was trained with other \
                 hyperparameters or from another source"
            );
        }
        tch::no_grad(|| tensor.shallow_clone().copy_(value));
    }
    Ok(())
}

/// Returns the bytes of a text as a tensor, so that a checkpoint can hold text.
pub fn bytes(text: &str) -> Tensor {
    Tensor::from_slice(text.as_bytes())
}

/// Returns the text in such a tensor, or None if it is not UTF-8.
pub fn text_of(tensor: &Tensor) -> Option<String> {
    String::from_utf8(Vec::<u8>::try_from(tensor).ok()?).ok()
}
