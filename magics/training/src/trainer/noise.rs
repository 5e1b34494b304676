//! The gradient noise scale along a run: squared norms of the gradients of a small and of a large batch at the same parameters
//! (McCandlish et al. 2018).
//!
//! During a trial the small batch is a quarter of the step's own batch, so an estimate costs less than a step. Its gradient is
//! thrown away and its randomness is that of the step, so the trial's numbers do not depend on whether it was watched.

use super::{Run, Stop};
use crate::data::Examples;
use crate::evaluation::read;
use crate::libtorch::{forget_gradients, gradient_norm};
use crate::net::Phase;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use tunebook_study::probe::NormPair;

/// Weight of the past in the averages of numerator and denominator.
const DECAY: f64 = 0.95;
/// Pairs below which their ratio says nothing.
const LEAST_PAIRS: u64 = 10;

/// Averages over the pairs of a run; what is not read yet stays on the device.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct NoiseScale {
    pairs: u64,
    weight: f64,
    gradient: f64,
    variance: f64,
    #[serde(skip)]
    half: Option<(f64, f64, Tensor)>,
    #[serde(skip)]
    unread: Vec<(f64, f64, Tensor, Tensor)>,
}

impl NoiseScale {
    /// The norm of the step's whole batch completes the pair that was begun.
    pub fn pair_with(&mut self, norm: &Tensor) {
        if let Some((small_batch, large_batch, small)) = self.half.take() {
            self.unread.push((small_batch, large_batch, small, norm.shallow_clone()));
        }
    }

    /// Reads the pairs and averages numerator and denominator apart.
    pub fn read_back(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let (small, large) = (read(unread.iter().map(|pair| &pair.2)), read(unread.iter().map(|pair| &pair.3)));
        for ((small_batch, large_batch, ..), (small, large)) in unread.iter().zip(small.into_iter().zip(large)) {
            let pair = NormPair { small: small * small, large: large * large };
            let (gradient, variance) = pair.estimate(*small_batch, *large_batch);
            self.pairs += 1;
            self.weight = DECAY * self.weight + 1.0 - DECAY;
            self.gradient = DECAY * self.gradient + (1.0 - DECAY) * gradient;
            self.variance = DECAY * self.variance + (1.0 - DECAY) * variance;
        }
    }

    /// tr Σ / |G|², where there are pairs enough and |G|² stands out of the noise.
    pub fn value(&self) -> Option<f64> {
        (self.pairs >= LEAST_PAIRS && self.gradient > 0.0).then(|| self.variance.max(0.0) / self.gradient)
    }
}

impl Run<'_> {
    /// Begins a pair: the gradient norm of a quarter of the batch.
    pub(super) fn measure_noise(&mut self, step: u64, batch: &Examples, micro: i64) -> Result<(), Stop> {
        let count = batch.count();
        let small = (count / 4).min(micro);
        if small < 1 || small == count {
            return Ok(());
        }
        let norm = self.keeping_buffers(|run| {
            forget_gradients(&run.parameters);
            let net = run.model.net(Phase::Train { step });
            let _ = run.backward(&net, &batch.narrow(0, small), true, 1.0)?;
            Ok(gradient_norm(&run.parameters)?)
        })?;
        self.progress.noise.half = Some((small as f64, count as f64, norm));
        Ok(())
    }

    /// Squared norms of the gradients of small batches, as their mean, and of the large batch that they make up.
    pub(super) fn norms_of(&self, step: u64, parts: &[Examples]) -> Result<NormPair, Stop> {
        self.keeping_buffers(|run| {
            let (mut small, mut sums): (Vec<Tensor>, Vec<Tensor>) = Default::default();
            for (i, part) in parts.iter().enumerate() {
                forget_gradients(&run.parameters);
                let net = run.model.net(Phase::Train { step }).part(i as u64);
                let _ = run.backward(&net, part, true, 1.0)?;
                small.push(gradient_norm(&run.parameters)?);
                let gradients = run.parameters.iter().map(Tensor::grad).filter(Tensor::defined);
                match sums.is_empty() {
                    true => sums.extend(gradients),
                    false => sums.iter_mut().zip(gradients).for_each(|(sum, gradient)| *sum += gradient),
                }
            }
            let squared = sums.iter().map(|sum| sum.square().sum(Kind::Float)).reduce(|a, b| a + b);
            let count = parts.len().max(1) as f64;
            let norms = read(small.iter());
            let small = norms.iter().map(|norm| norm * norm).sum::<f64>() / count;
            let large = squared.map_or(0.0, |squared| f64::try_from(squared).unwrap_or(f64::NAN)) / (count * count);
            Ok(NormPair { small, large })
        })
    }

    /// Runs forwards that leave no trace in what a model keeps beside its parameters.
    fn keeping_buffers<T>(&self, act: impl FnOnce(&Self) -> Result<T, Stop>) -> Result<T, Stop> {
        let handles: Vec<Tensor> =
            self.model.parameters().buffers.iter().map(|(_, buffer)| buffer.shallow_clone()).collect();
        let kept: Vec<Tensor> = handles.iter().map(|buffer| buffer.detach().copy()).collect();
        let result = act(self);
        tch::no_grad(|| handles.into_iter().zip(&kept).for_each(|(mut buffer, kept)| buffer.copy_(kept)));
        result
    }
}
