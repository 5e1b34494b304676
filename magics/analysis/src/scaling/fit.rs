//! The law of steps against batch size (McCandlish et al. 2018), fitted to the sizes that were studied.

use super::{BatchSizeStudy, DIMINISHING_FROM, FLAT_FROM};
use crate::log_least_squares;
use crate::student::t_quantile;
use serde::Serialize;
use std::collections::BTreeMap;

/// A fit needs at least this many valid sizes, because any two lie on the law.
const MIN_SIZES: usize = 3;
/// B_noise may lie outside of the studied sizes by at most this factor. Beyond it the sizes do not resolve it.
const REACH: f64 = 4.0;

/// The law S(b) = S_min·(1 + B_noise/b) of the steps that reach the target with batch size b.
///
/// The examples are E(b) = b·S(b) = E_min·(1 + b/B_noise) with E_min = S_min·B_noise. It follows that
/// (S/S_min − 1)(E/E_min − 1) = 1. At the critical batch size b = B_noise a training needs twice the least steps and
/// twice the least examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScalingFit {
    /// S_min, the number of steps that no batch size can save.
    #[serde(rename = "min_steps")]
    pub s_min: f64,
    /// B_noise, the critical batch size, in examples.
    #[serde(rename = "critical_batch_size")]
    pub b_noise: f64,
    /// The 95 % interval of B_noise, by the deviations of the sizes from the law (Student's t in ln B_noise). With few
    /// sizes it is wide. None if it spans more than a factor of a million.
    pub interval: Option<[f64; 2]>,
}

/// Why there is no fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFit {
    /// Fewer than three sizes are valid.
    TooFewSizes {
        /// The number of valid sizes.
        valid: usize,
    },
    /// B_noise is more than four times as large as the largest size, or less than a quarter of the smallest.
    OutOfReach,
}

impl ScalingFit {
    /// Returns S(b), the steps that the law expects for a batch size.
    pub fn steps(&self, batch_size: f64) -> f64 {
        self.s_min * (1.0 + self.b_noise / batch_size)
    }

    /// Returns the batch sizes between which returns diminish: scaling is perfect below the first, and larger batches
    /// save no steps above the second.
    ///
    /// The slope of ln S on ln b is −B_noise/(b + B_noise). It is −0.8 at b = B_noise/4 and −0.2 at b = 4·B_noise.
    pub fn diminishing_between(&self) -> [f64; 2] {
        [DIMINISHING_FROM, FLAT_FROM].map(|slope| self.b_noise * (-1.0 / slope - 1.0))
    }

    /// Fits S_min and B_noise by least squares in ln S over the valid sizes.
    pub(super) fn new(sizes: &[BatchSizeStudy]) -> Result<Self, NoFit> {
        let valid: Vec<&BatchSizeStudy> = sizes.iter().filter(|size| size.is_valid()).collect();
        let (Some(least), Some(most), MIN_SIZES..) = (
            valid.iter().map(|size| size.batch_size).min(),
            valid.iter().map(|size| size.batch_size).max(),
            valid.len(),
        ) else {
            return Err(NoFit::TooFewSizes { valid: valid.len() });
        };
        let (s_min, b_noise, error) = fit(&valid).ok_or(NoFit::OutOfReach)?;
        if b_noise < least as f64 / REACH || b_noise > most as f64 * REACH {
            return Err(NoFit::OutOfReach);
        }
        let factor = error.map(|error| (t_quantile(valid.len() - 2) * error).exp());
        let interval = factor.filter(|factor| *factor < 1e3).map(|factor| [b_noise / factor, b_noise * factor]);
        Ok(Self { s_min, b_noise, interval })
    }
}

/// Returns S_min, B_noise and the standard error of ln B_noise, or None if a size has no steps.
///
/// In x = 1/b the law is S = α + βx with α = S_min and β = S_min·B_noise.
fn fit(sizes: &[&BatchSizeStudy]) -> Option<(f64, f64, Option<f64>)> {
    let by_size: Option<BTreeMap<u64, f64>> =
        sizes.iter().map(|size| Some((size.batch_size, size.steps.steps?))).collect();
    // The largest size comes first, because x must ascend.
    let points: Vec<(f64, f64)> = by_size?.into_iter().rev().map(|(b, steps)| (1.0 / b as f64, steps)).collect();
    log_least_squares::fit(&points).map(|fit| (fit.alpha, fit.beta / fit.alpha, fit.ratio_error))
}
