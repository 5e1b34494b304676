//! How long a study will take, from the times of trials that have ended.

use serde::Serialize;
use tunebook_study::Params;

/// A trial that has ended, and whose time tells how long others take.
#[derive(Clone, Debug)]
pub struct TimedTrial {
    pub params: Params,
    /// The steps that it trained for; None if a trial has no number of steps.
    pub steps: Option<f64>,
    pub seconds: f64,
}

/// The time that trials will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectedTime {
    /// Seconds of all trials together, as if they ran one after the other.
    pub trial_seconds: f64,
    /// The same if all trials take the time of the fastest and of the slowest twentieth of the recorded trials.
    pub range: [f64; 2],
    /// The number of recorded trials that this is known from.
    pub recorded: usize,
}

/// Returns the time of trials with these hyperparameters and numbers of steps, from recorded trials.
///
/// The time of a step is that of the recorded trials which have the same values of the hyperparameters `decisive`
/// (batch size, those of the architecture). Where there are none, it is that of all recorded trials at the same batch
/// size. None if there are none of these either: the time of a step at another batch size cannot be known.
pub fn expected_time(
    trials: &[(Params, Option<f64>)],
    recorded: &[TimedTrial],
    decisive: &dyn Fn(&Params) -> Vec<Option<String>>,
) -> Option<ExpectedTime> {
    let mut expected = ExpectedTime { trial_seconds: 0.0, range: [0.0; 2], recorded: 0 };
    for (params, steps) in trials {
        let key = decisive(params);
        let same = |depth: usize| -> Vec<f64> {
            let alike = recorded.iter().filter(|timed| {
                let other = decisive(&timed.params);
                other.iter().zip(&key).take(depth).all(|(a, b)| a == b) && timed.steps.is_some() == steps.is_some()
            });
            alike.map(|timed| timed.seconds / timed.steps.unwrap_or(1.0).max(1.0)).collect()
        };
        // The first decisive hyperparameter is the batch size.
        let mut times = same(key.len());
        if times.is_empty() {
            times = same(1);
        }
        if times.is_empty() {
            return None;
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * steps.unwrap_or(1.0);
        expected.trial_seconds += at(0.5);
        expected.range[0] += at(0.05);
        expected.range[1] += at(0.95);
        expected.recorded = expected.recorded.max(times.len());
    }
    Some(expected)
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
        let timed = |batch, layers, seconds| TimedTrial { params: params(batch, layers), steps: Some(100.0), seconds };
        let recorded = [timed(16, 1, 1.0), timed(16, 1, 1.2), timed(16, 1, 1.1), timed(16, 2, 2.0), timed(64, 1, 9.0)];
        let of = |batch, layers, steps| expected_time(&[(params(batch, layers), Some(steps))], &recorded, &decisive);
        let found = of(16, 1, 200.0).unwrap();
        assert!((found.trial_seconds - 2.2).abs() < 1e-12, "{found:?}");
        assert_eq!((found.range.map(|x| (x * 10.0).round()), found.recorded), ([20.0, 24.0], 3));
        assert!((of(16, 2, 100.0).unwrap().trial_seconds - 2.0).abs() < 1e-12);
        let unknown = of(16, 7, 100.0).unwrap();
        assert!((unknown.trial_seconds - 1.2).abs() < 1e-12, "the median of all of this batch size: {unknown:?}");
        assert_eq!(of(32, 1, 100.0), None, "another batch size");
        assert_eq!(expected_time(&[(params(16, 1), None)], &recorded, &decisive), None, "no number of steps");
        assert_eq!(expected_time(&[], &recorded, &decisive).unwrap().trial_seconds, 0.0);
    }
}
