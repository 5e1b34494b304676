//! Examples: inputs and targets, row by row.

use super::{Data, Encoding};
use crate::randomness::{Randomness, Stream, permutation};
use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tch::{Device, Tensor};

/// Examples of a data set: row i of `inputs` belongs to row i of `targets`. Rows are counted along the first dimension.
///
/// ```
/// # use tunebook_training::prelude::*;
/// # fn data(images: Tensor, classes: Tensor) -> Result<Data> {
/// Examples::new(scaled(&images), classes)?.split(0.8, 0.1, 0)
/// # }
/// ```
#[derive(Debug)]
pub struct Examples {
    /// The inputs of the model, \[count, …\].
    pub inputs: Tensor,
    /// The targets: class indices from 0 (i64) or numbers, \[count, …\].
    pub targets: Tensor,
    /// How they were encoded, if they come from a [`Table`](super::Table).
    encoding: Option<Arc<Encoding>>,
}

impl Examples {
    /// Combines inputs and targets. It fails if they do not have the same number of rows.
    pub fn new(inputs: Tensor, targets: Tensor) -> Result<Self> {
        let count = |t: &Tensor| t.size().first().copied().unwrap_or(0);
        ensure!(
            count(&inputs) == count(&targets),
            "there are {} inputs {:?} and {} targets {:?}; each input needs one target",
            count(&inputs),
            inputs.size(),
            count(&targets),
            targets.size()
        );
        Ok(Self { inputs, targets, encoding: None })
    }

    /// Adds how the examples were encoded.
    pub(super) fn with_encoding(self, encoding: Encoding) -> Self {
        Self { encoding: Some(Arc::new(encoding)), ..self }
    }

    /// How the examples were encoded, if they come from a table.
    pub(crate) fn encoding(&self) -> Option<&Encoding> {
        self.encoding.as_deref()
    }

    /// Returns the same rows with each tensor replaced by a function of it.
    pub(crate) fn map(&self, inputs: impl FnOnce(&Tensor) -> Tensor, targets: impl FnOnce(&Tensor) -> Tensor) -> Self {
        Self { inputs: inputs(&self.inputs), targets: targets(&self.targets), encoding: self.encoding.clone() }
    }

    /// Returns the number of examples.
    pub fn count(&self) -> i64 {
        self.targets.size().first().copied().unwrap_or(0)
    }

    /// Copies the examples with these indices (i64, from 0), in their order.
    pub fn select(&self, indices: &Tensor) -> Self {
        self.map(|t| t.index_select(0, indices), |t| t.index_select(0, indices))
    }

    /// Returns `length` examples from the index `start` on, without a copy.
    pub fn narrow(&self, start: i64, length: i64) -> Self {
        self.map(|t| t.narrow(0, start, length), |t| t.narrow(0, start, length))
    }

    /// Returns the first `count` examples, or all if there are fewer, without a copy.
    pub fn first(&self, count: i64) -> Self {
        self.narrow(0, count.clamp(0, self.count()))
    }

    /// Copies the examples to a device. Examples that are there already are not copied.
    pub fn to_device(&self, device: Device) -> Self {
        self.map(|t| t.to_device(device), |t| t.to_device(device))
    }

    /// Returns the SHA-256 hash of the types, shapes and values. Uses of the same examples have the same hash.
    pub(crate) fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for tensor in [&self.inputs, &self.targets] {
            let tensor = tensor.to_device(Device::Cpu).contiguous();
            let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.copy_data_u8(&mut bytes, tensor.numel());
            hash.update(format!("{:?}{:?}", tensor.kind(), tensor.size()));
            hash.update(bytes);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Copies the examples into pinned memory, from which a GPU can copy them while it computes. Without a GPU there is
    /// no copy.
    pub(crate) fn pinned(&self, device: Device) -> Self {
        if !device.is_cuda() {
            return self.map(Tensor::shallow_clone, Tensor::shallow_clone);
        }
        self.map(|t| t.pin_memory(device), |t| t.pin_memory(device))
    }

    /// Starts a copy to a device and returns before it has ended. What the device computes later waits for the copy.
    pub(crate) fn begin_copy(&self, device: Device) -> Self {
        let copy = |t: &Tensor| t.to_device_(device, t.kind(), true, false);
        self.map(copy, copy)
    }

    /// Splits the examples at random into a training, a validation and a test part.
    ///
    /// `train` and `valid` are fractions of the whole; the rest is the test part, if there is a rest. The split depends
    /// on `seed` only, not on the seed of a trial, so that all trials have the same parts. It fails if a fraction is
    /// not above 0, if both add up to more than 1, or if a part would be empty.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn data() -> Result<Data> {
    /// Table::read("wine.csv")?.classify("class")?.split(0.7, 0.15, 0)
    /// # }
    /// ```
    pub fn split(self, train: f64, valid: f64, seed: u64) -> Result<Data> {
        ensure!(
            train > 0.0 && valid > 0.0 && train + valid <= 1.0,
            "the fractions for training ({train}) and validation ({valid}) must be above 0 and add up to at most 1"
        );
        let count = self.count();
        let generator = Randomness::new(seed).generator(Stream::Splitting, 0, 0);
        let order = Tensor::from_slice(&permutation(generator, count as usize));
        let end = |fraction: f64| ((count as f64 * fraction).round() as i64).min(count);
        let (first, second) = (end(train), end(train + valid));
        ensure!(
            first > 0 && second > first,
            "{count} examples are too few to be split into fractions of {train} and {valid}"
        );
        let part = |start: i64, end: i64| self.select(&order.narrow(0, start, end - start));
        let data = Data::new(part(0, first), part(first, second));
        Ok(if second < count { data.with_test(part(second, count)) } else { data })
    }
}
