//! How long a study will take, from the times of trials that have ended.

use crate::resampling::median;
use serde::Serialize;
use std::collections::HashMap;
use tunebook_study::Params;

/// A range of times is shown from this many recorded trials on.
const TRIALS_FOR_A_RANGE: usize = 3;

/// A trial that has ended, and whose time tells how long others take.
#[derive(Clone, Debug)]
pub struct TimedTrial {
    pub params: Params,
    pub time: TrialTime,
}

/// What is known of the time of a trial. All times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrialTime {
    /// It has no number of steps.
    Whole { seconds: f64 },
    /// The time of its start, with what comes after the last step, and the time of each step.
    Steps { start_up: f64, per_step: f64 },
    /// It was measured once only, so the time of its start is not known apart from that of its steps.
    Together { steps: f64, seconds: f64 },
}

impl TrialTime {
    /// The time of a trial that trained for so many steps. `measured` are the steps of its measurements with their
    /// times since its start, in this order: the first and the last one at least. A program may count epochs in its
    /// measurements; `counts_steps` says that they count the same as `steps`.
    pub fn new(steps: Option<f64>, seconds: f64, measured: &[(u64, f64)], counts_steps: bool) -> Self {
        let Some(steps) = steps.map(|steps| steps.max(1.0)) else { return Self::Whole { seconds } };
        // Before the first step, and in it, code and devices warm up.
        let warm = match measured {
            [(0, _), rest @ ..] if rest.len() > 1 => rest,
            all => all,
        };
        let (Some((first, began)), Some((last, ended))) = (warm.first(), warm.last()) else {
            return Self::Together { steps, seconds };
        };
        if last <= first || ended < began {
            return Self::Together { steps, seconds };
        }
        let measured_steps = if counts_steps { 1.0 } else { *last as f64 / steps };
        let slope = (ended - began) / (last - first) as f64;
        let start_up = (seconds - slope * *last as f64).max(0.0);
        Self::Steps { start_up, per_step: slope * measured_steps }
    }

    /// The time of another trial of the same kind. None if only one of them has a number of steps.
    fn of(self, steps: Option<f64>) -> Option<f64> {
        match (self, steps) {
            (Self::Whole { seconds }, None) => Some(seconds),
            (Self::Steps { start_up, per_step }, Some(steps)) => Some(start_up + per_step * steps),
            // The most that it can be: the start counts as if it were steps, but no shorter trial saves any of it.
            (Self::Together { steps: recorded, seconds }, Some(steps)) => Some(seconds * (steps / recorded).max(1.0)),
            _ => None,
        }
    }

    fn is_bound(self) -> bool {
        matches!(self, Self::Together { .. })
    }
}

/// The time that trials will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectedTime {
    /// Seconds of all trials together, as if they ran one after the other.
    pub trial_seconds: f64,
    /// The same if all trials take the time of the fastest and of the slowest twentieth of the recorded trials. None if
    /// these are fewer than three.
    pub range: Option<[f64; 2]>,
    /// The number of recorded trials that this is known from.
    pub recorded: usize,
    /// Whether it is the most that the trials can take, because the time of a start is not known apart from that of
    /// the steps.
    pub at_most: bool,
}

/// Returns the time of trials with these hyperparameters and numbers of steps, from recorded trials.
///
/// The time is the median over the recorded trials which have the same values of the hyperparameters `decisive` (batch
/// size, those of the architecture): the time of their start, and the time of a step for each step. Where there are
/// none, it is that of all recorded trials at the same batch size. None if there are none of these either: the time of
/// a step at another batch size cannot be known.
pub fn expected_time(
    trials: &[(Params, Option<f64>)],
    recorded: &[TimedTrial],
    decisive: &dyn Fn(&Params) -> Vec<Option<String>>,
) -> Option<ExpectedTime> {
    let mut expected = ExpectedTime { trial_seconds: 0.0, range: Some([0.0; 2]), recorded: 0, at_most: false };
    let keys: Vec<Vec<Option<String>>> = recorded.iter().map(|timed| decisive(&timed.params)).collect();
    // Most trials of a study are alike in what decides their time, and a study may have many.
    let mut known: HashMap<(Vec<Option<String>>, Option<u64>), OneTrial> = HashMap::new();
    for (params, steps) in trials {
        let key = (decisive(params), steps.map(f64::to_bits));
        let one = match known.get(&key) {
            Some(one) => *one,
            None => {
                let one = one_trial(&key.0, *steps, recorded, &keys)?;
                known.insert(key, one);
                one
            }
        };
        let with_range = expected.range.zip(one.range);
        expected.range = with_range.map(|([low, high], [fast, slow])| [low + fast, high + slow]);
        expected.recorded = expected.recorded.max(one.recorded);
        expected.at_most |= one.is_bound;
        expected.trial_seconds += one.seconds;
    }
    Some(expected)
}

/// The time of one trial, from recorded trials.
#[derive(Clone, Copy)]
struct OneTrial {
    seconds: f64,
    range: Option<[f64; 2]>,
    recorded: usize,
    is_bound: bool,
}

/// The time of a trial with these values of the decisive hyperparameters. `keys` are those of the recorded trials.
fn one_trial(
    key: &[Option<String>],
    steps: Option<f64>,
    recorded: &[TimedTrial],
    keys: &[Vec<Option<String>>],
) -> Option<OneTrial> {
    let same = |depth: usize, is_bound: bool| -> Vec<f64> {
        let is_alike = |other: &[Option<String>]| other.iter().zip(key).take(depth).all(|(a, b)| a == b);
        let alike =
            recorded.iter().zip(keys).filter(|(timed, other)| timed.time.is_bound() == is_bound && is_alike(other));
        alike.filter_map(|(timed, _)| timed.time.of(steps)).collect()
    };
    // The first decisive hyperparameter is the batch size.
    let kinds = [(key.len(), false), (key.len(), true), (1, false), (1, true)];
    let (mut times, is_bound) = kinds.into_iter().find_map(|(depth, is_bound)| {
        let times = same(depth, is_bound);
        (!times.is_empty()).then_some((times, is_bound))
    })?;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let range = (times.len() >= TRIALS_FOR_A_RANGE).then(|| [at(0.05), at(0.95)]);
    Some(OneTrial { range, recorded: times.len(), is_bound, seconds: median(times) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(batch: i64, layers: i64) -> Params {
        [("batch_size".to_string(), batch.into()), ("layers".to_string(), layers.into())].into()
    }

    fn decisive(params: &Params) -> Vec<Option<String>> {
        ["batch_size", "layers"].map(|name| params.get(name).map(|value| value.to_string())).to_vec()
    }

    #[test]
    fn the_time_is_that_of_trials_of_the_same_size() {
        let timed = |batch, layers, seconds: f64| {
            let time = TrialTime::Steps { start_up: 0.0, per_step: seconds / 100.0 };
            TimedTrial { params: params(batch, layers), time }
        };
        let recorded = [timed(16, 1, 1.0), timed(16, 1, 1.2), timed(16, 1, 1.1), timed(16, 2, 2.0), timed(64, 1, 9.0)];
        let of = |batch, layers, steps| expected_time(&[(params(batch, layers), Some(steps))], &recorded, &decisive);
        let found = of(16, 1, 200.0).unwrap();
        assert!((found.trial_seconds - 2.2).abs() < 1e-12, "{found:?}");
        assert_eq!(
            (found.range.map(|range| range.map(|x| (x * 10.0).round())), found.recorded),
            (Some([20.0, 24.0]), 3)
        );
        assert!((of(16, 2, 100.0).unwrap().trial_seconds - 2.0).abs() < 1e-12);
        let unknown = of(16, 7, 100.0).unwrap();
        assert!((unknown.trial_seconds - 1.15).abs() < 1e-12, "the median of all of this batch size: {unknown:?}");
        assert_eq!(of(32, 1, 100.0), None, "another batch size");
        assert_eq!(expected_time(&[(params(16, 1), None)], &recorded, &decisive), None, "no number of steps");
        assert_eq!(expected_time(&[], &recorded, &decisive).unwrap().trial_seconds, 0.0);
        let both = [(params(16, 1), Some(200.0)), (params(16, 2), Some(100.0)), (params(16, 1), Some(200.0))];
        let both = expected_time(&both, &recorded, &decisive).unwrap();
        assert!((both.trial_seconds - 6.4).abs() < 1e-12 && both.range.is_none(), "{both:?}");
    }

    #[test]
    fn a_large_study_takes_no_time_for_each_pair_of_trials() {
        let time = TrialTime::Steps { start_up: 0.0, per_step: 0.01 };
        let recorded = vec![TimedTrial { params: params(16, 1), time }; 20_000];
        let wanted = vec![(params(16, 1), Some(100.0)); 20_000];
        let started = std::time::Instant::now();
        let found = expected_time(&wanted, &recorded, &decisive).unwrap();
        assert!((found.trial_seconds - 20_000.0).abs() < 1e-6, "{found:?}");
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    #[test]
    fn the_time_of_the_start_is_not_scaled_with_the_steps() {
        // 30 s of start and 10 ms for each of 10 steps.
        let cold = TrialTime::new(Some(10.0), 30.1, &[(0, 29.0), (5, 30.05), (10, 30.1)], true);
        let warm = TrialTime::new(Some(10.0), 2.1, &[(0, 1.9), (5, 2.05), (10, 2.1)], true);
        let timed = |times: &[TrialTime]| -> Vec<TimedTrial> {
            times.iter().map(|time| TimedTrial { params: params(16, 1), time: *time }).collect()
        };
        let of = |times: &[TrialTime], steps| {
            expected_time(&[(params(16, 1), Some(steps))], &timed(times), &decisive).unwrap()
        };
        let one = of(&[cold], 1000.0);
        assert!((one.trial_seconds - 40.0).abs() < 1e-6 && one.range.is_none() && !one.at_most, "{one:?}");
        let many = of(&[cold, warm, warm], 1000.0);
        assert!((many.trial_seconds - 12.0).abs() < 1e-6 && many.range.is_some(), "{many:?}");
        // With one measurement, the start is counted as if it were steps, and a shorter trial saves none of it.
        let once = TrialTime::new(Some(10.0), 30.1, &[(10, 30.1)], true);
        let most = of(&[once], 1000.0);
        assert!((most.trial_seconds - 3010.0).abs() < 1e-6 && most.at_most, "{most:?}");
        assert!((of(&[once], 5.0).trial_seconds - 30.1).abs() < 1e-9);
        assert!((of(&[once, warm], 1000.0).trial_seconds - 12.0).abs() < 1e-6, "one that is known better counts");
        // A program that reports epochs: 20 of 500 steps.
        let epochs = TrialTime::new(Some(500.0), 21.0, &[(1, 2.0), (20, 21.0)], false);
        assert!((of(&[epochs], 1000.0).trial_seconds - 41.0).abs() < 1e-6, "{epochs:?}");
        assert_eq!(TrialTime::new(None, 7.0, &[(1, 2.0)], true), TrialTime::Whole { seconds: 7.0 });
    }
}
