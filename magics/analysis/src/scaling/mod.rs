//! Steps to a target against batch size, with what is tuned re-tuned at each size (Playbook B7–B9, B11, B12; the protocol of
//! Shallue et al. 2018; the fit of McCandlish et al. 2018).

mod money;
mod steps;

pub use money::{Costs, Payback};
pub use steps::{EDGE, Side, StepsToTarget, edge, steps_to_target};

use crate::affine;
use crate::resampling::{RESAMPLES, Resampler, middle};
use serde::Serialize;
use std::collections::BTreeMap;
use tunebook_study::Params;

/// Local slopes of log steps on log batch size: at most this is perfect scaling, …
const PERFECT: f64 = -0.8;
/// … and at least this is none any more.
const FLAT: f64 = -0.2;
/// Sizes within this factor of one another say its local slope.
const NEAR: f64 = 4.0;
/// A critical batch size further from the sizes that were tried is not resolved by them.
const REACH: f64 = 4.0;
/// Configurations that must reach the target at a size.
pub const NEEDED: usize = 3;

/// How a batch size stands in the scaling of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// Twice the size, half the steps.
    Perfect,
    /// A larger size saves steps, but costs examples.
    Diminishing,
    /// A larger size saves no steps.
    Flat,
}

/// What was found at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct SizeScaled {
    /// Examples a step.
    pub batch_size: u64,
    /// Steps to the target, with their bootstrap.
    pub steps: StepsToTarget,
    /// Why the size says nothing, where it does not.
    pub problem: Option<String>,
    /// Measured seconds of a step.
    pub seconds_per_step: Option<f64>,
}

/// A size on the curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScalingPoint {
    /// Examples a step.
    pub batch_size: u64,
    /// Steps of the best configuration, the median over its repeats.
    pub steps: Option<f64>,
    /// Steps times batch size.
    pub examples: Option<f64>,
    /// Steps times the measured time of a step.
    pub seconds: Option<f64>,
    /// Of one training to the target.
    pub cost: Option<f64>,
    /// 95 % of the steps, by the bootstrap over configurations and repeats.
    pub interval: Option<[f64; 2]>,
    /// Trials that ended.
    pub trials: usize,
    /// Configurations whose median reached the target.
    pub reached: usize,
    /// Whether it can be compared with the others.
    pub valid: bool,
    /// Why not.
    pub reason: Option<String>,
    /// By its local slope.
    pub regime: Option<Regime>,
    /// Of log steps on log batch size, over the valid sizes within a factor of four.
    pub slope: Option<f64>,
    /// The best configuration.
    pub params: Option<Params>,
}

/// S(b) = S_min (1 + B/b).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScalingFit {
    /// Steps that no batch size saves.
    pub min_steps: f64,
    /// The size at which twice the least steps are needed: B.
    pub critical_batch_size: f64,
    /// 95 % of the critical size.
    pub interval: Option<[f64; 2]>,
}

/// What the curve says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scaling {
    /// By size.
    pub points: Vec<ScalingPoint>,
    /// The fit, where the sizes resolve it.
    pub fit: Option<ScalingFit>,
    /// The size with the least seconds.
    pub fastest: Option<u64>,
    /// The size with the least device time.
    pub cheapest: Option<u64>,
    /// What a change to the fastest size is worth.
    pub payback: Option<Payback>,
}

/// Draws conclusions. `timed`: whether the seconds can be relied upon; without that no size is called the fastest.
pub fn scaling(sizes: &[SizeScaled], timed: bool, costs: Option<&Costs>) -> Scaling {
    let mut points: Vec<ScalingPoint> = sizes.iter().map(|size| point(size, costs)).collect();
    points.sort_by_key(|point| point.batch_size);
    slopes(&mut points);
    let fit = fit(sizes);
    let least = |of: fn(&ScalingPoint) -> Option<f64>| {
        let known = points.iter().filter(|point| timed && point.valid);
        let known = known.filter_map(|point| Some((point.batch_size, of(point)?)));
        known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(size, _)| size)
    };
    // On one device its time is what a training costs.
    let (fastest, cheapest) = (least(|point| point.seconds), least(|point| point.cost.or(point.seconds)));
    let payback = costs.and_then(|costs| costs.payback(&points, fastest));
    Scaling { points, fit, fastest, cheapest, payback }
}

fn point(size: &SizeScaled, costs: Option<&Costs>) -> ScalingPoint {
    let SizeScaled { batch_size, steps: found, problem, seconds_per_step } = size;
    let steps = found.steps;
    let seconds = steps.zip(*seconds_per_step).map(|(steps, each)| steps * each);
    ScalingPoint {
        batch_size: *batch_size,
        steps,
        examples: steps.map(|steps| steps * *batch_size as f64),
        seconds,
        cost: seconds.zip(costs).map(|(seconds, costs)| costs.of(seconds)),
        interval: found.interval,
        trials: found.trials,
        reached: found.reached,
        valid: problem.is_none() && steps.is_some(),
        reason: problem.clone(),
        regime: None,
        slope: None,
        params: found.params.clone(),
    }
}

/// Of the least-squares line through the valid sizes within a factor of four, so that one lucky size bends nothing by itself.
fn slopes(points: &mut [ScalingPoint]) {
    let known: Vec<(f64, f64)> = points
        .iter()
        .filter(|point| point.valid)
        .filter_map(|point| Some(((point.batch_size as f64).log2(), point.steps?.log2())))
        .collect();
    for point in points.iter_mut().filter(|point| point.valid) {
        let at = (point.batch_size as f64).log2();
        let near: Vec<&(f64, f64)> = known.iter().filter(|(x, _)| (x - at).abs() <= NEAR.log2() + 1e-9).collect();
        let n = near.len() as f64;
        let (x, y) = near.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let (xy, xx) = near.iter().fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - x) * (p.1 - y), xx + (p.0 - x).powi(2)));
        if xx > 0.0 {
            let slope = xy / xx;
            point.slope = Some(slope);
            point.regime = Some(match slope {
                s if s <= PERFECT => Regime::Perfect,
                s if s < FLAT => Regime::Diminishing,
                _ => Regime::Flat,
            });
        }
    }
}

/// Least squares in log S over the valid sizes, with the bootstrap over their configurations and repeats.
fn fit(sizes: &[SizeScaled]) -> Option<ScalingFit> {
    let valid: Vec<&SizeScaled> =
        sizes.iter().filter(|size| size.problem.is_none() && size.steps.steps.is_some()).collect();
    let of = |steps: &dyn Fn(&SizeScaled) -> Option<f64>| {
        // The reciprocal of the size is what steps are affine in.
        let points: Option<BTreeMap<u64, f64>> =
            valid.iter().map(|size| Some((size.batch_size, steps(size)?))).collect();
        let points: Vec<(f64, f64)> = points?.into_iter().rev().map(|(b, steps)| (1.0 / b as f64, steps)).collect();
        affine::fit(&points).map(|fit| (fit.alpha, fit.beta / fit.alpha))
    };
    let (min_steps, critical_batch_size) = of(&|size| size.steps.steps)?;
    let (least, most) = (valid.iter().map(|s| s.batch_size).min()?, valid.iter().map(|s| s.batch_size).max()?);
    if critical_batch_size < least as f64 / REACH || critical_batch_size > most as f64 * REACH {
        return None;
    }
    let mut resampler = Resampler::new(1);
    let mut draws: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let chosen: BTreeMap<u64, Option<f64>> =
                valid.iter().map(|size| (size.batch_size, size.steps.drawn(&mut resampler))).collect();
            of(&|size| chosen.get(&size.batch_size).copied().flatten()).map(|(_, critical)| critical)
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let interval = (draws.len() > RESAMPLES / 2).then(|| middle(&draws));
    Some(ScalingFit { min_steps, critical_batch_size, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{Direction, Judged, MetricSummary, Objective, Trial, TrialState};

    fn objective() -> Objective {
        Objective { metric: "e".into(), direction: Direction::Minimize, judged: Judged::Best }
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

    /// Ten configurations with three repeats whose best needs S steps; what is off the best rate needs more.
    fn size(batch_size: u64, best: f64, seconds_per_step: f64) -> SizeScaled {
        let trials: Vec<Trial> = (0..30)
            .map(|i| {
                let (configuration, repeat) = (i / 3, i % 3);
                let off = 1.0 + 0.3 * f64::from(configuration) + 0.02 * (f64::from(repeat) - 1.0);
                let steps = (configuration < 7).then(|| (best * off).round() as u64);
                trial(i + 1, configuration, 0.1 * f64::from(configuration + 1), steps)
            })
            .collect();
        let steps = steps_to_target(&trials, &objective(), 0.05);
        SizeScaled { batch_size, steps, problem: None, seconds_per_step: Some(seconds_per_step) }
    }

    fn known(min: f64, critical: f64) -> Vec<SizeScaled> {
        // A step takes 1 ms and 4 µs an example.
        let size = |k: u32| {
            let b = 2_u64.pow(k);
            size(b, min * (1.0 + critical / b as f64), 1e-3 + 4e-6 * b as f64)
        };
        (0..11).map(size).collect()
    }

    #[test]
    fn the_law_that_made_the_steps_is_found_again() {
        for (min, critical) in [(100.0, 30.0), (400.0, 100.0)] {
            let found = scaling(&known(min, critical), true, None);
            let fit = found.fit.unwrap();
            assert!((fit.critical_batch_size / critical - 1.0).abs() < 0.05, "{fit:?}");
            assert!((fit.min_steps / min - 1.0).abs() < 0.05, "{fit:?}");
            let [low, high] = fit.interval.unwrap();
            assert!(low <= critical && critical <= high && high < 3.0 * critical, "{fit:?}");
            let regimes: Vec<_> = found.points.iter().map(|point| point.regime.unwrap()).collect();
            assert_eq!((regimes[0], regimes[10]), (Regime::Perfect, Regime::Flat));
            assert!(regimes.contains(&Regime::Diminishing) && regimes.is_sorted_by_key(|regime| *regime as u8));
            // The fastest minimizes (1 + B/b)(α + βb), at b = √(αB/β).
            let best = (1e-3 * critical / 4e-6).sqrt();
            assert!((found.fastest.unwrap() as f64 / best).log2().abs() <= 1.0, "{:?}, truly {best}", found.fastest);
            assert_eq!(found.cheapest, found.fastest, "on one device time is cost");
        }
    }

    #[test]
    fn a_size_that_says_nothing_is_left_out_of_every_conclusion() {
        let mut sizes = known(100.0, 30.0);
        sizes[8].steps.steps = Some(1.0);
        sizes[8].problem = Some("the best learning rate lies at the edge".into());
        let found = scaling(&sizes, true, None);
        assert!(!found.points[8].valid && found.points[8].regime.is_none() && found.fastest != Some(256));
        assert!((found.fit.unwrap().critical_batch_size / 30.0 - 1.0).abs() < 0.05);
        assert_eq!(scaling(&sizes, false, None).fastest, None, "times that cannot be relied upon name no fastest");
    }

    #[test]
    fn a_critical_size_beyond_what_was_tried_is_not_claimed() {
        let sizes: Vec<SizeScaled> = known(100.0, 100_000.0).into_iter().take(5).collect();
        let found = scaling(&sizes, true, None);
        assert_eq!(found.fit, None);
        assert!(found.points.iter().all(|point| point.regime == Some(Regime::Perfect)));
        assert_eq!(scaling(&known(100.0, 30.0)[..2], true, None).fit, None, "two sizes fit any curve");
    }

    #[test]
    fn money_follows_the_seconds_and_upfront_costs_are_paid_back_by_trials() {
        let sizes = known(100.0, 30.0);
        let costs = Costs { price: Some(3.6), upfront: Some(10.0), planned: Some(50), own: Some(8) };
        let found = scaling(&sizes, true, Some(&costs));
        let point = |b: u64| found.points.iter().find(|point| point.batch_size == b).unwrap();
        assert!((point(8).cost.unwrap() - 1e-3 * point(8).seconds.unwrap()).abs() < 1e-9);
        let payback = found.payback.unwrap();
        assert_eq!((payback.from, Some(payback.to)), (8, found.fastest));
        let saved = point(8).cost.unwrap() - point(payback.to).cost.unwrap();
        assert!((payback.saved_per_trial - saved).abs() < 1e-12);
        assert_eq!(payback.trials, Some((10.0 / saved).ceil()));
        assert_eq!(payback.pays, Some(50.0 * saved >= 10.0));
    }

    #[test]
    fn nothing_that_was_tried_gives_no_curve_and_no_panic() {
        let none = steps_to_target(&[], &objective(), 0.05);
        let sizes = [SizeScaled { batch_size: 4, steps: none, problem: None, seconds_per_step: None }];
        let found = scaling(&sizes, true, None);
        assert!(found.points[0].steps.is_none() && !found.points[0].valid && found.fit.is_none());
        assert!(scaling(&[], true, None).points.is_empty());
    }
}
