//! The time of a training step as a law of the batch size.

use super::ThroughputPoint;
use crate::log_least_squares;
use serde::{Deserialize, Serialize};

/// The law t(b) = α + βb of the time of a step with a batch of b examples, in seconds.
///
/// Throughput is b/t(b) = b/(α + βb). It tends to 1/β for large batches and reaches half of that at b = α/β.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// α, the seconds that a step takes whatever its size.
    pub alpha: f64,
    /// β, the seconds that each example adds.
    pub beta: f64,
}

impl StepTime {
    /// Fits α and β by least squares in ln t(b) over the sizes that were timed, which are in ascending order. None for
    /// fewer than three sizes.
    pub(super) fn fit(points: &[ThroughputPoint]) -> Option<Self> {
        let timed = points.iter().filter_map(|point| Some((point.batch_size as f64, point.seconds_per_step?)));
        let fit = log_least_squares::fit(&timed.collect::<Vec<_>>())?;
        Some(Self { alpha: fit.alpha, beta: fit.beta })
    }
}
