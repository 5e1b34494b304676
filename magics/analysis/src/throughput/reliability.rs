//! Whether timed steps can be trusted. On a busy machine they cannot, and no conclusion may be drawn from them.

use super::{BatchSizeTiming, ThroughputPoint};
use crate::resampling::median;

/// The 90th percentile of a size's blocks over their median may be at most this.
const MAX_SPREAD: f64 = 1.5;
/// The visits of a size may deviate by this much: the root mean square of ln(visit / geometric mean of the visits).
const MAX_DEVIATION: f64 = 0.1;
/// The measuring thread may wait for a processor for at most this share of the time.
const MAX_WAITED: f64 = 0.05;
/// The time of a step may fall to this share of that of the next smaller size, at the near ends of both intervals.
const MAX_FALL: f64 = 0.9;

/// Returns why a measurement cannot be trusted, one sentence for each reason. No reasons mean that it can.
pub(super) fn reasons_for_doubt(sizes: &[BatchSizeTiming], points: &[ThroughputPoint], waited: f64) -> Vec<String> {
    let mut reasons = vec![];
    if waited > MAX_WAITED {
        reasons.push(format!("other processes had the processor for {:.0} % of the time", 100.0 * waited));
    }
    for size in sizes.iter().filter(|size| !size.visits.is_empty()) {
        let mut all = size.visits.concat();
        all.sort_by(f64::total_cmp);
        let spread = all[all.len() * 9 / 10] / median(all);
        if spread > MAX_SPREAD {
            reasons.push(format!(
                "at {} the slowest tenth of the steps takes {spread:.1} times the median",
                size.batch_size
            ));
        }
        let visits: Vec<f64> = size.visits.iter().map(|visit| median(visit.clone()).ln()).collect();
        let mean = visits.iter().sum::<f64>() / visits.len() as f64;
        let rms = (visits.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / visits.len() as f64).sqrt();
        if rms > MAX_DEVIATION {
            reasons.push(format!("at {} repeated measurements differ by {:.0} %", size.batch_size, 100.0 * rms));
        }
    }
    let timed: Vec<&ThroughputPoint> = points.iter().filter(|point| point.interval.is_some()).collect();
    for pair in timed.windows(2) {
        let (Some(small), Some(large)) = (pair[0].interval, pair[1].interval) else { continue };
        // The intervals are those of the throughput b/t; these are the near ends of the intervals of t.
        let (least_small, most_large) = (pair[0].batch_size as f64 / small[1], pair[1].batch_size as f64 / large[0]);
        if most_large < MAX_FALL * least_small {
            reasons.push(format!("a step of {} was faster than one of {}", pair[1].batch_size, pair[0].batch_size));
        }
    }
    reasons
}
