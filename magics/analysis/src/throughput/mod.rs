//! Throughput against batch size (Playbook B1–B3, B10): what the timed steps say, from which size on a doubling gains
//! little, and which size to train with.

mod bottleneck;
mod reliability;
mod step_time;

pub use bottleneck::{Bottleneck, BottleneckKind, bottleneck};
pub use step_time::StepTime;

use crate::resampling::median;
use crate::student::{mean_interval, t_quantile};
use serde::{Deserialize, Serialize};

/// Throughput saturates where a doubling of the batch size multiplies it by less than this.
const SATURATED_GAIN: f64 = 1.1;
/// The recommended size has at least this share of the highest throughput.
const NEARLY_BEST: f64 = 0.95;
/// The recommended size is at most this share of the largest size that fits, because the use of memory varies between
/// runs.
const SAFETY_MARGIN: f64 = 0.95;
/// A measurement with more visits than this is not asked for: the gain is then too near to 1.1 to matter.
const MOST_VISITS: f64 = 200.0;

/// What became of the measurement at one batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointState {
    /// Its steps were timed.
    Ok,
    /// It does not fit into memory.
    OutOfMemory,
    /// It ended with another error.
    Failed,
}

/// The timed steps of one batch size.
///
/// All sizes are timed in turn several times. Each turn is a visit of the size; it consists of blocks of a few steps.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSizeTiming {
    /// The number of examples in a step.
    pub batch_size: u64,
    /// What became of the measurement.
    pub state: PointState,
    /// For each visit the seconds per step of each block.
    pub visits: Vec<Vec<f64>>,
    /// The most memory that was in use, in bytes, if it is known.
    pub peak_memory_bytes: Option<u64>,
}

/// One batch size on the curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThroughputPoint {
    /// The number b of examples in a step.
    pub batch_size: u64,
    /// What became of the measurement.
    pub state: PointState,
    /// The throughput b/t(b), with the time of a step t(b).
    pub examples_per_second: Option<f64>,
    /// The 95 % interval of the throughput, by the variance between visits. None for a single visit.
    pub interval: Option<[f64; 2]>,
    /// The time of a step t(b), in seconds: the geometric mean over visits of the median of each.
    pub seconds_per_step: Option<f64>,
    /// The most memory that was in use, in bytes: on the device, or on a CPU by the process.
    pub peak_memory_bytes: Option<u64>,
    /// The throughput at b over that at b/2: 2 if steps of both take the same time, 1 if doubling gains nothing. None
    /// if b/2 was not timed.
    pub gain: Option<f64>,
    /// The 95 % interval of the gain, by the variance between visits of the ratio of both.
    pub gain_interval: Option<[f64; 2]>,
}

/// The curve of throughput against batch size, with its conclusions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// The points, in the order in which the sizes were passed.
    pub points: Vec<ThroughputPoint>,
    /// The smallest size whose doubling gains less than 10 %. None if there is none, if it is not known whether there
    /// is one, or if the measurement is not reliable.
    pub saturation: Option<u64>,
    /// Whether the throughput saturates within the timed sizes. None if the measurement cannot tell.
    #[serde(default)]
    pub saturates: Option<bool>,
    /// The visits of each size that would tell, if it is not known whether the throughput saturates. None if no
    /// affordable number would.
    #[serde(default)]
    pub visits_needed: Option<u64>,
    /// The smallest size within 5 % of the highest throughput, among those that leave a margin of memory. None if the
    /// measurement is not reliable.
    pub recommended: Option<u64>,
    /// The fitted law of the time of a step. None if the measurement is not reliable or has fewer than three sizes.
    pub step_time: Option<StepTime>,
    /// Whether the times can be trusted.
    pub reliable: bool,
    /// Why the times cannot be trusted. Empty if they can.
    pub reasons: Vec<String>,
}

impl Throughput {
    /// Whether doubling has stopped to pay at this batch size.
    pub fn is_saturated_at(&self, batch_size: u64) -> bool {
        self.saturation.is_some_and(|saturation| batch_size >= saturation)
    }

    /// Halves the recommended size. It is called when training at that size failed.
    pub fn halve_recommended(&mut self) {
        self.recommended = self.recommended.map(|size| size / 2).filter(|size| *size > 0);
    }
}

/// Returns the sizes whose steps are timed: the powers of two up to the largest size that fits.
pub fn sizes_to_time(largest_feasible: u64) -> Vec<u64> {
    (0..63).map(|k| 1_u64 << k).take_while(|size| *size <= largest_feasible).collect()
}

/// Concludes from the timed steps of some sizes, in ascending order.
///
/// `waited` is the share of time in which the measuring thread was ready to run and another one had its processor.
/// `largest` is the largest size that fits, if memory limits it. If the times cannot be trusted, nothing is concluded
/// from them.
pub fn throughput(sizes: &[BatchSizeTiming], waited: f64, largest: Option<u64>) -> Throughput {
    let points = points(sizes);
    let reasons = reliability::reasons_for_doubt(sizes, &points, waited);
    if !reasons.is_empty() {
        return Throughput { points, reasons, ..Throughput::default() };
    }
    let (saturation, recommended) = (saturation(&points), recommended(&points, largest));
    let last = points.iter().rfind(|point| point.gain_interval.is_some());
    let saturates = match last.and_then(|point| point.gain_interval) {
        _ if saturation.is_some() => Some(true),
        Some([low, _]) if low > SATURATED_GAIN => Some(false),
        _ => None,
    };
    let visits = sizes.iter().map(|size| size.visits.len()).filter(|visits| *visits > 0).min().unwrap_or(0);
    let visits_needed = last.filter(|_| saturates.is_none()).and_then(|point| visits_needed(point, visits));
    let step_time = StepTime::fit(&points);
    Throughput { points, saturation, saturates, visits_needed, recommended, step_time, reliable: true, reasons }
}

/// Returns the curve of a measurement that was repeated and could never be trusted.
///
/// `sizes` holds the visits of all attempts, `reasons` why the last attempt cannot be trusted. Each size is shown with
/// its least disturbed visit, the one with the fastest block. Nothing is concluded.
pub fn disturbed_throughput(sizes: &[BatchSizeTiming], reasons: Vec<String>) -> Throughput {
    let fastest = |visit: &&Vec<f64>| visit.iter().copied().fold(f64::INFINITY, f64::min);
    let least_disturbed = |size: &BatchSizeTiming| BatchSizeTiming {
        visits: size.visits.iter().min_by(|a, b| fastest(a).total_cmp(&fastest(b))).cloned().into_iter().collect(),
        ..size.clone()
    };
    let points = points(&sizes.iter().map(least_disturbed).collect::<Vec<_>>());
    Throughput { points, reasons, ..Throughput::default() }
}

/// The machine is not the same at each visit, so the visits, and not the steps in them, are what varies independently:
/// all intervals are those of Student's t over visits, in logarithms.
fn points(sizes: &[BatchSizeTiming]) -> Vec<ThroughputPoint> {
    // ln t for each visit.
    let visits: Vec<Vec<f64>> = sizes
        .iter()
        .map(|size| {
            let timed = size.visits.iter().filter(|visit| !visit.is_empty());
            timed.map(|visit| median(visit.clone()).ln()).collect()
        })
        .collect();
    let exponentials = |[low, high]: [f64; 2]| [low.exp(), high.exp()];
    let point = |(i, size): (usize, &BatchSizeTiming)| {
        let b = size.batch_size as f64;
        let seconds = geometric_mean(&size.visits);
        let half = sizes.iter().position(|other| 2 * other.batch_size == size.batch_size);
        // Both sizes are timed in the same turn, so the ratio of one turn is less disturbed than each of them.
        let gains = half.map(|half| -> Vec<f64> {
            visits[half].iter().zip(&visits[i]).map(|(half, whole)| 2_f64.ln() + half - whole).collect()
        });
        let gains = gains.filter(|gains| !gains.is_empty());
        ThroughputPoint {
            batch_size: size.batch_size,
            state: size.state,
            examples_per_second: seconds.map(|seconds| b / seconds),
            interval: mean_interval(&visits[i]).map(exponentials).map(|[low, high]| [b / high, b / low]),
            seconds_per_step: seconds,
            peak_memory_bytes: size.peak_memory_bytes,
            gain: gains.as_ref().map(|gains| (gains.iter().sum::<f64>() / gains.len() as f64).exp()),
            gain_interval: gains.as_deref().and_then(mean_interval).map(exponentials),
        }
    };
    sizes.iter().enumerate().map(point).collect()
}

/// Returns the geometric mean of the medians of the visits, or None if there are none.
fn geometric_mean(visits: &[Vec<f64>]) -> Option<f64> {
    let medians: Vec<f64> =
        visits.iter().filter(|visit| !visit.is_empty()).map(|visit| median(visit.clone())).collect();
    let first = *medians.first()?;
    Some(first * (medians.iter().map(|median| (median / first).ln()).sum::<f64>() / medians.len() as f64).exp())
}

/// Returns how many visits would make the interval of a gain exclude 1.1, if it stays where it is and the visits go on
/// to vary as they do. None if these are more than can be asked for.
fn visits_needed(point: &ThroughputPoint, visits: usize) -> Option<u64> {
    let (gain, [low, high]) = (point.gain?, point.gain_interval?);
    let distance = (gain / SATURATED_GAIN).ln().abs();
    let deviation = 0.5 * (high / low).ln() / t_quantile(visits.checked_sub(1)?) * (visits as f64).sqrt();
    let needed = (visits + 1..).take_while(|n| *n as f64 <= MOST_VISITS);
    let tells = |n: &usize| t_quantile(n - 1) * deviation / (*n as f64).sqrt() < distance;
    needed.into_iter().find(tells).map(|n| n as u64)
}

/// Returns the first size at which a doubling gains surely less than 10 %, and the next doubling too.
fn saturation(points: &[ThroughputPoint]) -> Option<u64> {
    let pays = |point: &ThroughputPoint| point.gain_interval.is_some_and(|[_, high]| high >= SATURATED_GAIN);
    let doubled: Vec<&ThroughputPoint> = points.iter().filter(|point| point.gain.is_some()).collect();
    let at = (0..doubled.len()).find(|i| !pays(doubled[*i]) && doubled.get(i + 1).is_none_or(|next| !pays(next)))?;
    Some(doubled[at].batch_size / 2)
}

fn recommended(points: &[ThroughputPoint], largest: Option<u64>) -> Option<u64> {
    let allowed = largest.map_or(f64::INFINITY, |largest| SAFETY_MARGIN * largest as f64);
    let rates = points.iter().filter_map(|point| Some((point.batch_size, point.examples_per_second?)));
    let rates: Vec<(u64, f64)> = rates.filter(|(size, _)| *size as f64 <= allowed).collect();
    let best = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    rates.iter().find(|(_, rate)| *rate >= NEARLY_BEST * best).map(|(size, _)| *size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Timings of the sizes 1 to 1024 whose steps take α + βb seconds with a little noise, in five visits each.
    fn measured(alpha: f64, beta: f64, noise: f64) -> Vec<BatchSizeTiming> {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut unit = move || f64::from(generator.next_u32()) / f64::from(u32::MAX) - 0.5;
        let mut size = |b: u64| BatchSizeTiming {
            batch_size: b,
            state: PointState::Ok,
            visits: (0..5)
                .map(|_| (0..20).map(|_| (alpha + beta * b as f64) * (1.0 + noise * unit())).collect())
                .collect(),
            peak_memory_bytes: None,
        };
        (0..11).map(|k| size(1 << k)).collect()
    }

    #[test]
    fn the_time_of_a_step_is_found_and_its_knee_within_one_doubling() {
        for (alpha, beta) in [(1e-3, 1e-5), (1e-4, 4e-6), (1e-2, 1e-3)] {
            let found = throughput(&measured(alpha, beta, 0.06), 0.0, None);
            assert!(found.reliable, "{:?}", found.reasons);
            let step = found.step_time.unwrap();
            assert!((step.alpha / alpha - 1.0).abs() < 0.05 && (step.beta / beta - 1.0).abs() < 0.05, "{step:?}");
            // Doubling from b gains 2(α+βb)/(α+2βb), which is 1.1 at βb = 4.5 α.
            let knee = 4.5 * alpha / beta;
            if knee < 200.0 {
                let saturation = found.saturation.unwrap() as f64;
                assert!((saturation / knee).log2().abs() <= 1.0, "{saturation}, truly {knee}");
            }
            // The recommended size is the smallest within 5 % of the highest throughput.
            let recommended = found.recommended.unwrap() as f64;
            let rate = |b: f64| b / (alpha + beta * b);
            assert!(rate(recommended) >= 0.93 * rate(1024.0) && rate(recommended / 2.0) < 0.97 * rate(1024.0));
        }
    }

    #[test]
    fn while_doubling_pays_there_is_no_saturation() {
        let found = throughput(&measured(1.0, 1e-6, 0.05), 0.0, Some(1024));
        assert_eq!((found.saturation, found.recommended), (None, Some(512)));
        assert!(found.points[3].gain.unwrap() > 1.9);
    }

    #[test]
    fn nothing_is_concluded_from_a_busy_machine() {
        let quiet = measured(1e-3, 1e-5, 0.05);
        assert!(!throughput(&quiet, 0.2, None).reliable, "other processes had the processor for a fifth of the time");
        let mut drifting = quiet.clone();
        drifting[4].visits[2].iter_mut().for_each(|seconds| *seconds *= 2.0);
        let mut stalling = quiet.clone();
        for visit in &mut stalling[6].visits {
            visit.iter_mut().step_by(5).for_each(|seconds| *seconds *= 3.0);
        }
        let mut nonsense = quiet;
        for visit in &mut nonsense[7].visits {
            visit.iter_mut().for_each(|seconds| *seconds *= 6.0);
        }
        for sizes in [drifting, stalling, nonsense] {
            let found = throughput(&sizes, 0.0, None);
            assert!(!found.reliable && found.saturation.is_none() && found.recommended.is_none());
            assert!(!found.reasons.is_empty());
        }
    }

    #[test]
    fn a_disturbed_measurement_shows_the_least_disturbed_visit_and_concludes_nothing() {
        let quiet = measured(1e-3, 1e-5, 0.0);
        let mut disturbed = quiet.clone();
        for size in &mut disturbed {
            for (visit, factor) in size.visits.iter_mut().zip([3.0, 2.0, 1.0, 4.0, 5.0]) {
                visit.iter_mut().for_each(|seconds| *seconds *= factor);
            }
        }
        disturbed.push(BatchSizeTiming {
            batch_size: 2048,
            state: PointState::OutOfMemory,
            visits: vec![],
            peak_memory_bytes: None,
        });
        let found = disturbed_throughput(&disturbed, vec!["the machine was busy".into()]);
        for (point, size) in found.points.iter().zip(&quiet) {
            assert_eq!(point.seconds_per_step, Some(size.visits[0][0]), "{point:?}");
        }
        assert_eq!((found.points[11].state, found.points[11].seconds_per_step), (PointState::OutOfMemory, None));
        assert_eq!((found.reliable, found.saturation, found.recommended, found.step_time), (false, None, None, None));
        assert_eq!(found.reasons, ["the machine was busy"]);
    }

    #[test]
    fn a_recommendation_that_failed_is_halved_down_to_nothing() {
        let mut found = Throughput { recommended: Some(2), saturation: Some(4), ..Throughput::default() };
        assert!(found.is_saturated_at(4) && !found.is_saturated_at(3));
        found.halve_recommended();
        assert_eq!(found.recommended, Some(1));
        found.halve_recommended();
        assert_eq!(found.recommended, None);
    }

    #[test]
    fn the_sizes_to_time_are_the_powers_of_two_that_fit() {
        assert_eq!(sizes_to_time(40), [1, 2, 4, 8, 16, 32]);
        assert_eq!((sizes_to_time(1), sizes_to_time(0)), (vec![1], vec![]));
    }
}
