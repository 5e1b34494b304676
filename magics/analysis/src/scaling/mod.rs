//! Steps to a target against batch size, tuned anew at each size (Playbook B7–B9, B11, B12).
//!
//! The protocol is that of Shallue et al. (2018): S(b) is the number of steps that the best configuration needs at
//! batch size b. The law S(b) = S_min·(1 + B_noise/b) is that of McCandlish et al. (2018). A training takes T(b) =
//! S(b)·t(b) seconds, with t(b) the time of a step, and uses E(b) = b·S(b) examples.

mod cost;
mod fit;
mod indistinguishable;
mod range;
mod steps;
mod tuning;

pub use cost::{Costs, Payback};
pub use fit::{NoFit, ScalingFit};
pub(crate) use range::widened;
pub use range::{RangeEdge, Side, is_widened};
pub use steps::{StepsToTarget, steps_to_target};
pub use tuning::{BatchSizeTuning, InvalidSize, NextAction};

use serde::Serialize;
use tunebook_study::Params;

/// Scaling is perfect up to this local slope d log S/d log b. Above it, returns diminish.
const DIMINISHING_FROM: f64 = -0.8;
/// From this local slope on, larger batches save no steps.
const FLAT_FROM: f64 = -0.2;
/// The local slope at a size is fitted to the sizes within this factor of it.
const NEIGHBOURHOOD: f64 = 4.0;

/// The regime of data parallelism at a batch size (Shallue et al. 2018).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Regime {
    /// Doubling the batch size halves the steps.
    #[serde(rename = "perfect")]
    PerfectScaling,
    /// Doubling the batch size saves steps, but fewer than half of them.
    #[serde(rename = "diminishing")]
    DiminishingReturns,
    /// A larger batch size saves no steps.
    #[serde(rename = "flat")]
    MaximalDataParallelism,
}

impl Regime {
    fn of_slope(slope: f64) -> Self {
        match slope {
            slope if slope <= DIMINISHING_FROM => Self::PerfectScaling,
            slope if slope < FLAT_FROM => Self::DiminishingReturns,
            _ => Self::MaximalDataParallelism,
        }
    }
}

/// The study of one batch size, from which [`scaling`] concludes.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSizeStudy {
    /// The number b of examples in a step.
    pub batch_size: u64,
    /// What its trials say of the steps to the target.
    pub steps: StepsToTarget,
    /// Why the size is not valid, or None if it is valid once its steps are known.
    pub problem: Option<String>,
    /// t(b), the measured time of a step in seconds.
    pub seconds_per_step: Option<StepSeconds>,
}

/// The measured time of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSeconds {
    /// The time in seconds.
    pub seconds: f64,
    /// Its 95 % interval. None if it is not known.
    pub interval: Option<[f64; 2]>,
}

impl BatchSizeStudy {
    fn is_valid(&self) -> bool {
        self.problem.is_none() && self.steps.steps.is_some()
    }
}

/// One batch size on the curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScalingPoint {
    /// The number b of examples in a step.
    pub batch_size: u64,
    /// S(b), the steps of the best configuration: the median over its repeats.
    pub steps: Option<f64>,
    /// E(b) = b·S(b), the examples that a training uses.
    pub examples: Option<f64>,
    /// T(b) = S(b)·t(b), the seconds that a training takes.
    pub seconds: Option<f64>,
    /// R(b), the cost of one training to the target. None if no price is known.
    pub cost: Option<f64>,
    /// Where the S(b) of an independent, equal study lies in 95 % of cases. An end is None if it is not known.
    pub interval: Option<[Option<f64>; 2]>,
    /// The number of trials that ended.
    pub trials: usize,
    /// The number of configurations whose median reached the target.
    pub reached: usize,
    /// Whether the size can be compared with the others.
    pub valid: bool,
    /// Why it cannot.
    pub reason: Option<String>,
    /// The regime, by the local slope. None if the slope is not known.
    pub regime: Option<Regime>,
    /// The local slope d log S/d log b. None if the size is not valid or has no valid neighbour.
    pub slope: Option<f64>,
    /// The hyperparameters of the best configuration.
    pub params: Option<Params>,
}

/// The curve of steps against batch size, with its conclusions. Only valid sizes take part in these.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// The points, by batch size.
    pub points: Vec<ScalingPoint>,
    /// The fitted law, or why there is none.
    pub fit: Result<ScalingFit, NoFit>,
    /// The size with the least T(b). None if the times of steps cannot be trusted.
    pub fastest: Option<u64>,
    /// The size with the least R(b), or with the least T(b) if no price is known: on one device both are the same. None
    /// if the times of steps cannot be trusted.
    pub cheapest: Option<u64>,
    /// The sizes whose T(b) cannot be told apart from that of the fastest, itself included.
    pub fastest_set: Vec<u64>,
    /// The sizes whose cost cannot be told apart from that of the cheapest, itself included.
    pub cheapest_set: Vec<u64>,
    /// The size with the least E(b).
    pub fewest_examples: Option<u64>,
    /// What a change to the fastest size is worth.
    pub payback: Option<Payback>,
}

/// Concludes from the studies of some sizes. `are_times_reliable` says whether the times of steps can be trusted.
pub fn scaling(sizes: &[BatchSizeStudy], are_times_reliable: bool, costs: Option<&Costs>) -> Scaling {
    let mut points: Vec<ScalingPoint> = sizes.iter().map(|size| point(size, costs)).collect();
    points.sort_by_key(|point| point.batch_size);
    set_slopes(&mut points);
    let least = |of: fn(&ScalingPoint) -> Option<f64>| {
        let known = points.iter().filter(|point| point.valid).filter_map(|point| Some((point.batch_size, of(point)?)));
        known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(size, _)| size)
    };
    let fastest = least(|point| point.seconds).filter(|_| are_times_reliable);
    let cheapest = least(|point| point.cost.or(point.seconds)).filter(|_| are_times_reliable);
    let fewest_examples = least(|point| point.examples);
    // Costs are proportional to seconds, so both sets compare seconds.
    let [fastest_set, cheapest_set] = [fastest, cheapest].map(|best| indistinguishable::from(best, sizes));
    let payback = costs.and_then(|costs| costs.payback(&points, fastest));
    Scaling {
        fit: ScalingFit::new(sizes),
        points,
        fastest,
        cheapest,
        fastest_set,
        cheapest_set,
        fewest_examples,
        payback,
    }
}

fn point(size: &BatchSizeStudy, costs: Option<&Costs>) -> ScalingPoint {
    let BatchSizeStudy { batch_size, steps: found, problem, seconds_per_step } = size;
    let steps = found.steps;
    let seconds = steps.zip(*seconds_per_step).map(|(steps, step)| steps * step.seconds);
    ScalingPoint {
        batch_size: *batch_size,
        steps,
        examples: steps.map(|steps| steps * *batch_size as f64),
        seconds,
        cost: seconds.zip(costs).map(|(seconds, costs)| costs.of(seconds)),
        interval: found.interval,
        trials: found.trials,
        reached: found.reached,
        valid: size.is_valid(),
        reason: problem.clone(),
        regime: None,
        slope: None,
        params: found.params.clone(),
    }
}

/// Sets the local slope and the regime of each valid point.
///
/// The slope is that of the least-squares line of log S on log b through the valid sizes within a factor of four. A
/// line through several sizes is not bent by a single lucky one.
fn set_slopes(points: &mut [ScalingPoint]) {
    let known: Vec<(f64, f64)> = points
        .iter()
        .filter(|point| point.valid)
        .filter_map(|point| Some(((point.batch_size as f64).log2(), point.steps?.log2())))
        .collect();
    for point in points.iter_mut().filter(|point| point.valid) {
        let at = (point.batch_size as f64).log2();
        let is_near = |x: f64| (x - at).abs() <= NEIGHBOURHOOD.log2() + 1e-9;
        let near: Vec<&(f64, f64)> = known.iter().filter(|(x, _)| is_near(*x)).collect();
        let n = near.len() as f64;
        let (x, y) = near.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let (xy, xx) = near.iter().fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - x) * (p.1 - y), xx + (p.0 - x).powi(2)));
        if xx > 0.0 {
            let slope = xy / xx;
            (point.slope, point.regime) = (Some(slope), Some(Regime::of_slope(slope)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{Direction, MetricSummary, Objective, ObjectiveValue, Trial, TrialState};

    fn objective() -> Objective {
        Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
    }

    fn trial(number: u32, configuration: u32, lr: f64, steps: Option<u64>) -> Trial {
        let value = if steps.is_some() { 0.04 } else { 0.2 };
        let summary =
            MetricSummary { min: (value, steps.unwrap_or(7)), max: (0.9, 0), last: (value, steps.unwrap_or(9)) };
        Trial {
            number,
            configuration,
            params: [("lr".to_string(), lr.into())].into(),
            seed: 0,
            state: if steps.is_some() { TrialState::Complete } else { TrialState::Stopped },
            reason: None,
            summaries: [("e".to_string(), summary)].into(),
            seconds: 1.0,
            started: 0.0,
        }
    }

    /// The study of a size with ten configurations of three repeats. The best configuration needs `best` steps, each
    /// following one more, and the last three do not reach the target.
    fn size(batch_size: u64, best: f64, seconds_per_step: f64) -> BatchSizeStudy {
        let trials: Vec<Trial> = (0..30)
            .map(|i| {
                let (configuration, repeat) = (i / 3, i % 3);
                let off = 1.0 + 0.3 * f64::from(configuration) + 0.02 * (f64::from(repeat) - 1.0);
                let steps = (configuration < 7).then(|| (best * off).round() as u64);
                trial(i + 1, configuration, 0.1 * f64::from(configuration + 1), steps)
            })
            .collect();
        let steps = steps_to_target(&trials, &objective(), 0.05);
        BatchSizeStudy {
            batch_size,
            steps,
            problem: None,
            seconds_per_step: Some(StepSeconds { seconds: seconds_per_step, interval: None }),
        }
    }

    /// Studies of the sizes 1 to 1024 that follow the law. A step takes 1 ms and 4 µs for each example.
    fn known(s_min: f64, b_noise: f64) -> Vec<BatchSizeStudy> {
        let size = |k: u32| {
            let b = 2_u64.pow(k);
            size(b, s_min * (1.0 + b_noise / b as f64), 1e-3 + 4e-6 * b as f64)
        };
        (0..11).map(size).collect()
    }

    #[test]
    fn the_law_that_made_the_steps_is_found_again() {
        for (s_min, b_noise) in [(100.0, 30.0), (400.0, 100.0)] {
            let found = scaling(&known(s_min, b_noise), true, None);
            let fit = found.fit.unwrap();
            assert!((fit.b_noise / b_noise - 1.0).abs() < 0.05, "{fit:?}");
            assert!((fit.s_min / s_min - 1.0).abs() < 0.05, "{fit:?}");
            assert!((fit.steps(fit.b_noise) / fit.s_min - 2.0).abs() < 1e-12, "twice the least steps at B_noise");
            assert_eq!(fit.diminishing_between(), [fit.b_noise / 4.0, 4.0 * fit.b_noise]);
            let [low, high] = fit.interval.unwrap();
            assert!(low <= b_noise && b_noise <= high && high < 3.0 * b_noise, "{fit:?}");
            let regimes: Vec<_> = found.points.iter().map(|point| point.regime.unwrap()).collect();
            assert_eq!((regimes[0], regimes[10]), (Regime::PerfectScaling, Regime::MaximalDataParallelism));
            assert!(regimes.contains(&Regime::DiminishingReturns));
            assert!(regimes.is_sorted_by_key(|regime| *regime as u8));
            // T(b) is proportional to (1 + B_noise/b)(α + βb), which is least at b = √(α·B_noise/β).
            let best = (1e-3 * b_noise / 4e-6).sqrt();
            assert!((found.fastest.unwrap() as f64 / best).log2().abs() <= 1.0, "{:?}, truly {best}", found.fastest);
            assert_eq!(found.cheapest, found.fastest, "on one device time is cost");
            assert_eq!(found.fewest_examples, Some(1), "E(b) grows with b");
        }
    }

    #[test]
    fn a_size_that_is_not_valid_is_left_out_of_every_conclusion() {
        let mut sizes = known(100.0, 30.0);
        sizes[8].steps.steps = Some(1.0);
        sizes[8].problem = Some("the best learning rate lies at the edge".into());
        let found = scaling(&sizes, true, None);
        assert!(!found.points[8].valid && found.points[8].regime.is_none() && found.fastest != Some(256));
        assert!((found.fit.unwrap().b_noise / 30.0 - 1.0).abs() < 0.05);
        assert_eq!(scaling(&sizes, false, None).fastest, None, "times that cannot be trusted name no fastest size");
    }

    #[test]
    fn a_critical_batch_size_far_outside_of_the_sizes_is_not_claimed() {
        let sizes: Vec<BatchSizeStudy> = known(100.0, 100_000.0).into_iter().take(5).collect();
        let found = scaling(&sizes, true, None);
        assert_eq!(found.fit, Err(NoFit::OutOfReach));
        assert!(found.points.iter().all(|point| point.regime == Some(Regime::PerfectScaling)));
        let two = scaling(&known(100.0, 30.0)[..2], true, None);
        assert_eq!(two.fit, Err(NoFit::TooFewSizes { valid: 2 }));
    }

    #[test]
    fn cost_is_proportional_to_seconds_and_trainings_pay_back_what_is_upfront() {
        let sizes = known(100.0, 30.0);
        let costs = Costs {
            price_per_hour: Some(3.6),
            upfront: Some(10.0),
            planned_trainings: Some(50),
            own_batch_size: Some(8),
        };
        let found = scaling(&sizes, true, Some(&costs));
        let point = |b: u64| found.points.iter().find(|point| point.batch_size == b).unwrap();
        assert!((point(8).cost.unwrap() - 1e-3 * point(8).seconds.unwrap()).abs() < 1e-9);
        let payback = found.payback.unwrap();
        assert_eq!((payback.from, Some(payback.to)), (8, found.fastest));
        let saved = point(8).cost.unwrap() - point(payback.to).cost.unwrap();
        assert!((payback.saved_per_training - saved).abs() < 1e-12);
        assert_eq!(payback.trainings, Some((10.0 / saved).ceil()));
        assert_eq!(payback.pays, Some(50.0 * saved >= 10.0));
    }

    #[test]
    fn a_size_without_trials_has_no_steps_and_no_fit() {
        let none = steps_to_target(&[], &objective(), 0.05);
        let sizes = [BatchSizeStudy { batch_size: 4, steps: none, problem: None, seconds_per_step: None }];
        let found = scaling(&sizes, true, None);
        assert!(found.points[0].steps.is_none() && !found.points[0].valid && found.fit.is_err());
        assert!(scaling(&[], true, None).points.is_empty());
    }
}
