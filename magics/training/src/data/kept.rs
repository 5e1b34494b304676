//! What a trained model needs of its data later: how rows become inputs, and outputs classes or numbers.

use super::{Data, Examples, Scale};
use crate::checkpoint;
use anyhow::{Context, Result};
use std::path::Path;
use tch::Tensor;

impl Data {
    /// Writes two training examples, how they were encoded, and the means and deviations to a file. A model can thus
    /// predict new rows when the file of its data was changed or is gone. Nothing is written if the data do not come
    /// from a table and were not standardized.
    pub(crate) fn keep(&self, path: &Path) -> Result<()> {
        if self.train.encoding().is_none() && self.standardization.is_none() && self.target_scale.is_none() {
            return Ok(());
        }
        let Examples { inputs, targets, .. } = self.train.first(2);
        let mut tensors = vec![("inputs", inputs), ("targets", targets)];
        if let Some(encoding) = self.train.encoding() {
            tensors.push(("encoding", checkpoint::bytes(&serde_json::to_string(encoding)?)));
        }
        let scales =
            [(&self.standardization, "mean", "deviation"), (&self.target_scale, "target_mean", "target_deviation")];
        for (scale, mean, deviation) in scales {
            if let Some(scale) = scale {
                tensors.extend([(mean, scale.mean.shallow_clone()), (deviation, scale.deviation.shallow_clone())]);
            }
        }
        checkpoint::write(path, tensors.iter().map(|(name, tensor)| (*name, tensor)))
    }

    /// Reads what `keep` has written. None if there is no such file.
    pub fn kept(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let mut tensors = checkpoint::read(path)?;
        let encoding = match tensors.remove("encoding") {
            Some(text) => serde_json::from_str(&checkpoint::text_of(&text).context("the encoding is no text")?)?,
            None => None,
        };
        let incomplete = || format!("{} is incomplete", path.display());
        let mut tensor = |name: &str| tensors.remove(name);
        let (inputs, targets) = tensor("inputs").zip(tensor("targets")).with_context(incomplete)?;
        let mut examples = Examples::new(inputs, targets)?;
        if let Some(encoding) = encoding {
            examples = examples.with_encoding(encoding);
        }
        let scale = |mean: Option<Tensor>, deviation: Option<Tensor>| {
            mean.zip(deviation).map(|(mean, deviation)| Scale { mean, deviation })
        };
        let standardization = scale(tensor("mean"), tensor("deviation"));
        let target_scale = scale(tensor("target_mean"), tensor("target_deviation"));
        let valid = examples.first(0);
        Ok(Some(Self { standardization, target_scale, ..Self::new(examples, valid) }))
    }
}
