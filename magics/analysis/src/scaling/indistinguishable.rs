//! Which batch sizes cannot be told apart from the fastest one.

use super::BatchSizeStudy;

/// A size is told apart if it is slower by more than this many standard deviations of the difference. It is above the
/// 97.5 % quantile of the normal distribution because the fastest of several sizes is the luckiest of them.
const TOLD_APART: f64 = 2.9;

/// Returns the valid sizes whose seconds cannot be told apart from those of `best`, in ascending order. All valid sizes
/// are in it if it is not known how much their steps vary. Empty if there is no best size.
pub(super) fn from(best: Option<u64>, sizes: &[BatchSizeStudy]) -> Vec<u64> {
    // ln T(b) and its standard deviation.
    let measured = |size: &BatchSizeStudy| {
        let step = size.seconds_per_step?;
        let seconds = (size.steps.steps? * step.seconds).ln();
        let of_time = step.interval.map_or(0.0, |[low, high]| (high / low).ln() / (2.0 * 1.96));
        Some((seconds, size.steps.deviation.unwrap_or(f64::INFINITY).hypot(of_time)))
    };
    let valid = || sizes.iter().filter(|size| size.is_valid());
    let Some((fastest, deviation)) = valid().find(|size| Some(size.batch_size) == best).and_then(measured) else {
        return vec![];
    };
    let mut set: Vec<u64> = valid()
        .filter(|size| {
            let Some((seconds, other)) = measured(size) else { return false };
            seconds - fastest <= TOLD_APART * deviation.hypot(other)
        })
        .map(|size| size.batch_size)
        .collect();
    set.sort_unstable();
    set
}
