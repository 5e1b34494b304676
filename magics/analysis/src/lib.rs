//! Pure functions from trials to conclusions, each with its uncertainty. This crate does no input or output and knows
//! neither Jupyter nor libtorch. A result serializes to the fields that the reference gives for its kind.

mod affine;
mod axis;
mod best_of_k;
mod curves;
mod error;
mod isolation;
mod limit;
mod noise;
mod progress;
mod resampling;
mod retune;
mod scaling;
#[cfg(test)]
mod tests;
mod throughput;
mod timing;

pub use axis::{Axis, AxisPlot, AxisPoint, axis};
pub use best_of_k::{bootstrap_interval, chance_of_better, expected_best, quantile_of_best};
pub use curves::{Curve, Curves, curves};
pub use error::AnalysisError;
pub use isolation::{Comparison, Isolation, IsolationPoint, Place, isolation};
pub use limit::LimitSearch;
pub use noise::{NoisePoint, mean_noise_scale, noise_point};
pub use progress::{Best, Counts, best, counts, ranked};
pub use retune::{Retune, Tuned, retune};
pub use scaling::{
    Costs, EDGE, NEEDED, Payback, Regime, Scaling, ScalingFit, ScalingPoint, Side, SizeScaled, StepsToTarget, edge,
    scaling, steps_to_target,
};
pub use throughput::{
    Bottleneck, BottleneckKind, PointState, SAFETY, SizeMeasured, StepTime, Throughput, ThroughputPoint, bottleneck,
    throughput,
};
pub use timing::{Outliers, Timing, timing};

/// Points of a list beyond which it is thinned.
pub const THIN_ABOVE: usize = 2000;

/// At most [`THIN_ABOVE`] items, evenly chosen, the first and the last among them.
pub fn thinned<T: Clone>(items: &[T]) -> Vec<T> {
    if items.len() <= THIN_ABOVE {
        return items.to_vec();
    }
    let last = items.len() - 1;
    (0..THIN_ABOVE).map(|i| items[i * last / (THIN_ABOVE - 1)].clone()).collect()
}
