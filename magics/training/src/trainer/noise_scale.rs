//! Measures the gradient noise scale tr Σ / |G|² of a run from the squared gradient norms of a small and a large batch
//! at the same parameters (McCandlish et al. 2018, appendix A.1).
//!
//! In a trial, the large batch is that of the step, and the small batch is its first quarter, so a measurement costs
//! less than a step. The gradient of the small batch is thrown away, and its random numbers are those of the step. The
//! other numbers of a trial therefore do not depend on whether the noise scale is measured.

use super::Stop;
use super::moving_ratio::MovingRatio;
use super::run::Run;
use crate::data::Examples;
use crate::evaluation::read_scalars;
use crate::libtorch::{forget_gradients, gradient_norm};
use crate::net::Phase;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use tunebook_study::probe::NormPair;

/// The noise scale is reported once its interval spans at most this factor.
const MOST_SPAN: f64 = 4.0;

/// The moving averages of |G|² and tr Σ, and the measurements that are still on the device.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NoiseScale {
    /// The average of tr Σ over that of |G|².
    ratio: MovingRatio,
    /// A measurement whose large batch is still missing.
    #[serde(skip)]
    half: Option<HalfPair>,
    #[serde(skip)]
    unread: Vec<(HalfPair, Tensor)>,
}

/// The sizes of the small and the large batch, and the gradient norm of the small one.
struct HalfPair {
    small_batch: f64,
    large_batch: f64,
    small_norm: Tensor,
}

impl NoiseScale {
    /// Completes the measurement that was started in this step, if there is one, with the gradient norm of the whole
    /// batch.
    pub fn pair_with(&mut self, large_norm: &Tensor) {
        if let Some(half) = self.half.take() {
            self.unread.push((half, large_norm.shallow_clone()));
        }
    }

    /// Copies the measurements from the device and adds them to the averages.
    pub fn read_back(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let small = read_scalars(unread.iter().map(|(half, _)| &half.small_norm));
        let large = read_scalars(unread.iter().map(|(_, large_norm)| large_norm));
        for ((half, _), (small, large)) in unread.iter().zip(small.into_iter().zip(large)) {
            let pair = NormPair { small: small * small, large: large * large };
            let (gradient, variance) = pair.estimate(half.small_batch, half.large_batch);
            if gradient.is_finite() && variance.is_finite() {
                self.ratio.add(gradient, variance);
            }
        }
    }

    /// Returns tr Σ / |G|² over about the last hundred measurements, or None as long as its interval spans more than a
    /// factor of 4.
    pub fn value(&self) -> Option<f64> {
        let (value, [low, high]) = self.ratio.value()?;
        (low > 0.0 && high <= MOST_SPAN * low).then_some(value)
    }
}

impl Run<'_> {
    /// Starts a measurement: computes the gradient norm of the first quarter of the batch, or of a micro-batch if that
    /// is smaller.
    pub fn measure_noise(&mut self, step: u64, batch: &Examples, micro_batch_size: i64) -> Result<(), Stop> {
        let count = batch.count();
        let small = (count / 4).min(micro_batch_size);
        if small < 1 || small == count {
            return Ok(());
        }
        let small_norm = self.keeping_buffers(|run| {
            forget_gradients(&run.parameters);
            let net = run.model.net(Phase::Train { step });
            let _ = run.backward(&net, &batch.narrow(0, small), true, 1.0)?;
            Ok(gradient_norm(&run.parameters)?)
        })?;
        self.state.noise.half = Some(HalfPair { small_batch: small as f64, large_batch: count as f64, small_norm });
        Ok(())
    }

    /// Returns the mean of the squared gradient norms of small batches, and the squared gradient norm of the large
    /// batch that they make up.
    pub fn norm_pair(&self, step: u64, small_batches: &[Examples]) -> Result<NormPair, Stop> {
        self.keeping_buffers(|run| {
            let (mut small, mut sums): (Vec<Tensor>, Vec<Tensor>) = Default::default();
            for (i, batch) in small_batches.iter().enumerate() {
                forget_gradients(&run.parameters);
                let net = run.model.net(Phase::Train { step }).micro_batch(i as u64);
                let _ = run.backward(&net, batch, true, 1.0)?;
                small.push(gradient_norm(&run.parameters)?);
                let gradients = run.parameters.iter().map(Tensor::grad).filter(Tensor::defined);
                match sums.is_empty() {
                    true => sums.extend(gradients),
                    false => sums.iter_mut().zip(gradients).for_each(|(sum, gradient)| *sum += gradient),
                }
            }
            let squared = sums.iter().map(|sum| sum.square().sum(Kind::Float)).reduce(|a, b| a + b);
            let count = small_batches.len().max(1) as f64;
            let norms = read_scalars(small.iter());
            let small = norms.iter().map(|norm| norm * norm).sum::<f64>() / count;
            let large = squared.map_or(0.0, |squared| f64::try_from(squared).unwrap_or(f64::NAN)) / (count * count);
            Ok(NormPair { small, large })
        })
    }

    /// Calls a function whose forward passes change the buffers of the model, such as the statistics of a batch norm,
    /// and restores the buffers after it.
    fn keeping_buffers<T>(&self, body: impl FnOnce(&Self) -> Result<T, Stop>) -> Result<T, Stop> {
        let handles: Vec<Tensor> =
            self.model.parameters().buffers.iter().map(|(_, buffer)| buffer.shallow_clone()).collect();
        let kept: Vec<Tensor> = handles.iter().map(|buffer| buffer.detach().copy()).collect();
        let result = body(self);
        tch::no_grad(|| handles.into_iter().zip(&kept).for_each(|(mut buffer, kept)| buffer.copy_(kept)));
        result
    }
}
