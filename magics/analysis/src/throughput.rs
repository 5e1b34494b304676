//! Throughput against batch size (Playbook B1–B4, B10): what a measurement is worth, where doubling stops to pay, which size
//! to train with.

use crate::affine;
use crate::resampling::{RESAMPLES, Resampler, median, middle};
use serde::{Deserialize, Serialize};
use tunebook_study::probe::StageSeconds;

/// A doubling that gains less than this has stopped to pay.
const SATURATED: f64 = 1.1;
/// The recommended size has at least this share of the highest throughput.
const NEARLY_BEST: f64 = 0.95;
/// Share of the largest feasible size that is recommended at most: memory differs a little from run to run.
pub const SAFETY: f64 = 0.95;
/// A host that is busy for more than this share of a step of its GPU waits for it.
const HELD: f64 = 0.9;
/// What a measurement must stay below to be trusted: the 90th over the 50th percentile of its blocks, the deviation of
/// visits (rms of the logarithm), and the share of time that it waited for a processor.
const SPREAD: f64 = 1.5;
const DISAGREEMENT: f64 = 0.1;
const WAITED: f64 = 0.05;

/// How a size ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointState {
    /// It can be trained.
    Ok,
    /// It does not fit.
    OutOfMemory,
    /// Something else went wrong.
    Failed,
}

/// What was measured of a size.
#[derive(Clone, Debug, PartialEq)]
pub struct SizeMeasured {
    /// Examples a step.
    pub batch_size: u64,
    /// How it ended.
    pub state: PointState,
    /// Seconds a step of each block, by visit.
    pub visits: Vec<Vec<f64>>,
    /// The most memory that it used.
    pub peak_memory_bytes: Option<u64>,
}

/// A size on the curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThroughputPoint {
    /// Examples a step.
    pub batch_size: u64,
    /// How it ended.
    pub state: PointState,
    /// At the median of its steps.
    pub examples_per_second: Option<f64>,
    /// 95 % of it, by the bootstrap over visits and blocks.
    pub interval: Option<[f64; 2]>,
    /// Median.
    pub seconds_per_step: Option<f64>,
    /// Of the device, or of the process on a CPU.
    pub peak_memory_bytes: Option<u64>,
    /// What doubling from half this size gained: 2 is perfect.
    pub gain: Option<f64>,
    /// 95 % of that.
    pub gain_interval: Option<[f64; 2]>,
}

/// t(b) = α + βb, fitted in the logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// Seconds that every step costs.
    pub alpha: f64,
    /// Seconds that every example costs.
    pub beta: f64,
}

/// What a curve says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// By size.
    pub points: Vec<ThroughputPoint>,
    /// The smallest size whose doubling gains less than 10 %.
    pub saturation: Option<u64>,
    /// The smallest size within 5 % of the highest throughput, inside the safety margin of memory.
    pub recommended: Option<u64>,
    /// The model of the time of a step.
    pub step_time: Option<StepTime>,
    /// Whether the measurement can be trusted.
    pub reliable: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

/// Draws conclusions. `waited`: the share of time in which the probe waited for a processor; `largest`: the largest size that
/// fits, where it is known.
pub fn throughput(sizes: &[SizeMeasured], waited: f64, largest: Option<u64>) -> Throughput {
    let mut resampler = Resampler::new(0);
    let resampled: Vec<Option<Vec<f64>>> = sizes.iter().map(|size| resample(&size.visits, &mut resampler)).collect();
    let mut points: Vec<ThroughputPoint> = vec![];
    for (size, draws) in sizes.iter().zip(&resampled) {
        let (b, all) = (size.batch_size as f64, size.visits.concat());
        let seconds = if all.is_empty() { None } else { Some(median(all)) };
        let half = sizes.iter().position(|other| 2 * other.batch_size == size.batch_size);
        let gains = half.and_then(|half| Some((resampled[half].as_ref()?, draws.as_ref()?))).map(|(half, draws)| {
            let mut gains: Vec<f64> = half.iter().zip(draws).map(|(half, whole)| 2.0 * half / whole).collect();
            gains.sort_by(f64::total_cmp);
            gains
        });
        let interval = draws.as_ref().map(|draws| {
            let mut rates: Vec<f64> = draws.iter().map(|seconds| b / seconds).collect();
            rates.sort_by(f64::total_cmp);
            middle(&rates)
        });
        points.push(ThroughputPoint {
            batch_size: size.batch_size,
            state: size.state,
            examples_per_second: seconds.map(|seconds| b / seconds),
            interval,
            seconds_per_step: seconds,
            peak_memory_bytes: size.peak_memory_bytes,
            gain: gains.as_ref().map(|gains| gains[gains.len() / 2]),
            gain_interval: gains.as_deref().map(middle),
        });
    }
    let reasons = doubts(sizes, &points, waited);
    let reliable = reasons.is_empty();
    let (saturation, recommended) =
        if reliable { (saturation(&points), recommended(&points, largest)) } else { (None, None) };
    let step_time = if reliable { fit(&points) } else { None };
    Throughput { points, saturation, recommended, step_time, reliable, reasons }
}

/// Why a measurement cannot be trusted.
fn doubts(sizes: &[SizeMeasured], points: &[ThroughputPoint], waited: f64) -> Vec<String> {
    let mut reasons = vec![];
    if waited > WAITED {
        reasons.push(format!("other processes had the processor for {:.0} % of the time", 100.0 * waited));
    }
    for size in sizes.iter().filter(|size| !size.visits.is_empty()) {
        let mut all = size.visits.concat();
        all.sort_by(f64::total_cmp);
        let spread = all[all.len() * 9 / 10] / all[all.len() / 2];
        if spread > SPREAD {
            reasons.push(format!(
                "at {} the slowest tenth of the steps takes {spread:.1} times the median",
                size.batch_size
            ));
        }
        let visits: Vec<f64> = size.visits.iter().map(|visit| median(visit.clone()).ln()).collect();
        let mean = visits.iter().sum::<f64>() / visits.len() as f64;
        let rms = (visits.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / visits.len() as f64).sqrt();
        if rms > DISAGREEMENT {
            reasons.push(format!("at {} repeated measurements differ by {:.0} %", size.batch_size, 100.0 * rms));
        }
    }
    let timed: Vec<&ThroughputPoint> = points.iter().filter(|point| point.interval.is_some()).collect();
    for pair in timed.windows(2) {
        // Seconds a step at the near ends of the two intervals.
        let (Some(small), Some(large)) = (pair[0].interval, pair[1].interval) else { continue };
        let (least_small, most_large) = (pair[0].batch_size as f64 / small[1], pair[1].batch_size as f64 / large[0]);
        if most_large < 0.9 * least_small {
            reasons.push(format!("a step of {} was faster than one of {}", pair[1].batch_size, pair[0].batch_size));
        }
    }
    reasons
}

fn saturation(points: &[ThroughputPoint]) -> Option<u64> {
    let pays = |point: &ThroughputPoint| point.gain_interval.is_some_and(|[_, high]| high >= SATURATED);
    let doubled: Vec<&ThroughputPoint> = points.iter().filter(|point| point.gain.is_some()).collect();
    let at = (0..doubled.len()).find(|i| !pays(doubled[*i]) && doubled.get(i + 1).is_none_or(|next| !pays(next)))?;
    Some(doubled[at].batch_size / 2)
}

fn recommended(points: &[ThroughputPoint], largest: Option<u64>) -> Option<u64> {
    let allowed = largest.map_or(f64::INFINITY, |largest| SAFETY * largest as f64);
    let rates = points.iter().filter_map(|point| Some((point.batch_size, point.examples_per_second?)));
    let rates: Vec<(u64, f64)> = rates.filter(|(size, _)| *size as f64 <= allowed).collect();
    let best = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    rates.iter().find(|(_, rate)| *rate >= NEARLY_BEST * best).map(|(size, _)| *size)
}

fn fit(points: &[ThroughputPoint]) -> Option<StepTime> {
    let known = points.iter().filter_map(|point| Some((point.batch_size as f64, point.seconds_per_step?)));
    let fit = affine::fit(&known.collect::<Vec<_>>())?;
    Some(StepTime { alpha: fit.alpha, beta: fit.beta })
}

/// What keeps a larger throughput away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BottleneckKind {
    /// Nothing but the size: doubling still pays.
    None,
    /// Loading and augmenting.
    Input,
    /// Copies to the device.
    Transfer,
    /// The model itself.
    Compute,
    /// The step waits for the device, or for values that are read back.
    HostSync,
}

/// The bottleneck, and what it would gain to mend it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// Which.
    pub kind: BottleneckKind,
    /// Examples a second that the input alone could bring.
    pub input_examples_per_second: Option<f64>,
    /// Examples a second that the model alone could take.
    pub compute_examples_per_second: Option<f64>,
    /// Throughput without it over throughput with it.
    pub expected_gain: Option<f64>,
}

/// Attributes the time of a step of a size (Playbook B4). `saturated`: doubling has stopped to pay.
pub fn bottleneck(seconds: &StageSeconds, batch_size: u64, saturated: bool) -> Bottleneck {
    let StageSeconds { input, transfer, compute, full, overlapped, issue } = *seconds;
    let alone = if overlapped { input.max(transfer + compute) } else { input + transfer + compute };
    // A step whose launches alone take its whole time is held back by them only while doubling still pays.
    let held = saturated && issue.is_some_and(|issue| issue > HELD * compute);
    let (kind, without) = if input > 1.1 * compute {
        (BottleneckKind::Input, transfer + compute)
    } else if transfer > 0.3 * compute {
        (BottleneckKind::Transfer, input.max(compute))
    } else if held || full > 1.15 * alone {
        (BottleneckKind::HostSync, alone)
    } else if saturated {
        (BottleneckKind::Compute, full)
    } else {
        (BottleneckKind::None, full)
    };
    let rate = |seconds: f64| Some(batch_size as f64 / seconds).filter(|rate| rate.is_finite());
    let expected_gain = Some(full / without).filter(|gain| gain.is_finite() && without < full);
    Bottleneck {
        kind,
        input_examples_per_second: rate(input),
        compute_examples_per_second: rate(compute),
        expected_gain,
    }
}

/// Medians of resampled visits, each with its blocks resampled.
fn resample(visits: &[Vec<f64>], resampler: &mut Resampler) -> Option<Vec<f64>> {
    let visits: Vec<&Vec<f64>> = visits.iter().filter(|visit| !visit.is_empty()).collect();
    if visits.is_empty() {
        return None;
    }
    let draws = (0..RESAMPLES).map(|_| {
        let mut all = vec![];
        for _ in 0..visits.len() {
            let visit = visits[resampler.below(visits.len())];
            // A visit of a fast size has many blocks, and its median needs no more than these.
            all.extend((0..visit.len().min(50)).map(|_| visit[resampler.below(visit.len())]));
        }
        median(all)
    });
    Some(draws.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Sizes whose steps take α + βb with a little noise, measured in five visits.
    fn measured(alpha: f64, beta: f64, noise: f64) -> Vec<SizeMeasured> {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut unit = move || f64::from(generator.next_u32()) / f64::from(u32::MAX) - 0.5;
        let mut size = |b: u64| SizeMeasured {
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
            // Within 5 % of the highest measured: never the largest where a smaller one is as good.
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
    fn a_busy_machine_is_called_unreliable_and_gives_no_knee() {
        let quiet = measured(1e-3, 1e-5, 0.05);
        assert!(!throughput(&quiet, 0.2, None).reliable, "another process had the processor");
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
    fn the_bottleneck_is_the_stage_that_is_slow() {
        let seconds =
            |input, transfer, compute, full| StageSeconds { input, transfer, compute, full, ..Default::default() };
        let ahead = |seconds| StageSeconds { overlapped: true, ..seconds };
        let issued = |issue, seconds| StageSeconds { issue: Some(issue), ..seconds };
        let cases = [
            (seconds(0.011, 0.0, 0.001, 0.012), false, BottleneckKind::Input),
            (seconds(0.001, 0.01, 0.002, 0.012), false, BottleneckKind::Transfer),
            (seconds(0.001, 0.0, 0.002, 0.013), false, BottleneckKind::HostSync),
            (seconds(0.0001, 0.0, 0.01, 0.0101), true, BottleneckKind::Compute),
            (seconds(0.0001, 0.0, 0.01, 0.0101), false, BottleneckKind::None),
            // What is made ahead costs nothing while the model computes.
            (ahead(seconds(0.009, 0.001, 0.01, 0.0112)), true, BottleneckKind::Compute),
            (ahead(seconds(0.009, 0.001, 0.01, 0.0201)), true, BottleneckKind::HostSync),
            (ahead(seconds(0.02, 0.001, 0.01, 0.0201)), true, BottleneckKind::Input),
            // A GPU whose host runs ahead of it, one whose host does not, and one that waits for launches.
            (issued(0.001, seconds(0.0001, 0.0, 0.01, 0.0101)), true, BottleneckKind::Compute),
            (issued(0.01, seconds(0.0001, 0.0, 0.01, 0.0101)), true, BottleneckKind::HostSync),
            (issued(0.01, seconds(0.0001, 0.0, 0.01, 0.0101)), false, BottleneckKind::None),
        ];
        for (seconds, saturated, kind) in cases {
            assert_eq!(bottleneck(&seconds, 64, saturated).kind, kind, "{seconds:?}");
        }
        let mended = bottleneck(&cases[0].0, 64, false);
        assert!((mended.expected_gain.unwrap() - 12.0).abs() < 1e-9);
        assert!((mended.compute_examples_per_second.unwrap() - 64_000.0).abs() < 1e-6);
    }
}
