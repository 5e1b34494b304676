//! Compares trials with what the same trials reported when they ran again (Playbook H11).

use indexmap::IndexMap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tunebook_study::{Measurement, Trial, TrialState};

/// A trial, once as a study recorded it and once as it ran again.
pub struct TrialPair<'a> {
    pub recorded: (&'a Trial, &'a [Measurement]),
    pub again: (&'a Trial, &'a [Measurement]),
    /// Whether the recorded trial was ended by a rule that the second run did not have. Then only the steps up to its
    /// last one are compared, and not the state.
    pub cut_short: bool,
}

/// How much trials differ from their replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Replay {
    /// How many trials were compared.
    pub trials: usize,
    /// How many of them have the same state, the same steps, and the same value of each metric to the last bit.
    pub identical: usize,
    /// How many values were compared.
    pub values: usize,
    /// The largest difference of two values of one metric at one step. None (in JSON null) if no value was compared.
    pub largest_difference: Option<f64>,
    /// The metrics that differ.
    pub differences: Vec<MetricDifference>,
    /// The trials that ended in another state.
    pub states: Vec<StateDifference>,
    /// The metrics that are times, which no two runs share. They are not compared.
    pub times: BTreeSet<String>,
}

/// How much the values of a metric differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricDifference {
    pub metric: String,
    /// In how many trials a value differs.
    pub trials: usize,
    /// How many values differ.
    pub values: usize,
    /// How many values only one of the runs has, or has as a finite number.
    pub unmatched: usize,
    /// The largest difference. None if no two finite numbers differ.
    pub largest: Option<f64>,
    /// Where that is: the trial, the step and both values. Without a largest difference, the first unmatched value.
    pub trial: u32,
    pub step: u64,
    pub recorded: Option<f64>,
    pub again: Option<f64>,
}

/// A trial that ended in another state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateDifference {
    pub trial: u32,
    pub recorded: TrialState,
    pub again: TrialState,
    /// Why it is in that state now.
    pub reason: Option<String>,
}

/// Whether a metric is a time, or a number per time, by the words of its name.
pub fn is_time(metric: &str) -> bool {
    const TIMES: [&str; 18] = [
        "time",
        "times",
        "timestamp",
        "date",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "ms",
        "millis",
        "milliseconds",
        "minutes",
        "hours",
        "elapsed",
        "duration",
        "latency",
        "throughput",
    ];
    metric.split(|c: char| !c.is_alphanumeric()).any(|word| TIMES.contains(&word.to_lowercase().as_str()))
}

impl Replay {
    /// Compares one more trial. Returns whether it is identical.
    pub fn add(&mut self, pair: &TrialPair<'_>) -> bool {
        let ((recorded, before), (again, after)) = (pair.recorded, pair.again);
        self.trials += 1;
        let mut identical = true;
        if recorded.state != again.state && !pair.cut_short {
            identical = false;
            let (trial, reason) = (recorded.number, again.reason.clone());
            self.states.push(StateDifference { trial, recorded: recorded.state, again: again.state, reason });
        }
        let last = before.iter().map(|measurement| measurement.step).max();
        let until = if pair.cut_short { last.unwrap_or(0) } else { u64::MAX };
        let (before, after) = (by_step(before, until), by_step(after, until));
        let steps: BTreeSet<u64> = before.keys().chain(after.keys()).copied().collect();
        let nothing = IndexMap::new();
        let mut differing = BTreeSet::new();
        for step in steps {
            let (before, after) = (before.get(&step).copied(), after.get(&step).copied());
            let (before, after) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
            for metric in before.keys().chain(after.keys().filter(|metric| !before.contains_key(*metric))) {
                if is_time(metric) {
                    self.times.insert(metric.clone());
                    continue;
                }
                let place = (recorded.number, step);
                if !self.compare(metric, place, before.get(metric), after.get(metric)) {
                    differing.insert(metric.clone());
                }
            }
        }
        for metric in &differing {
            if let Some(difference) = self.differences.iter_mut().find(|d| d.metric == *metric) {
                difference.trials += 1;
            }
        }
        self.states.sort_by_key(|state| state.trial);
        identical &= differing.is_empty();
        self.identical += usize::from(identical);
        identical
    }

    /// Whether each trial that was compared is identical. False if there is none.
    pub fn is_same(&self) -> bool {
        self.trials > 0 && self.identical == self.trials
    }

    /// Compares the value of a metric at a step. None is a value that a run does not have; `Some(None)` is one that is
    /// not finite.
    fn compare(
        &mut self,
        metric: &str,
        (trial, step): (u32, u64),
        before: Option<&Option<f64>>,
        after: Option<&Option<f64>>,
    ) -> bool {
        if before.is_some() && after.is_some() {
            self.values += 1;
        }
        let bits = |value: Option<&Option<f64>>| value.map(|value| value.map(f64::to_bits));
        let is_same = bits(before) == bits(after);
        let (recorded, again) = (before.copied().flatten(), after.copied().flatten());
        let difference = recorded.zip(again).map(|(recorded, again)| (again - recorded).abs());
        let same_infinity = before.is_some() && after.is_some() && recorded.is_none() && again.is_none();
        if let Some(difference) = difference.or_else(|| same_infinity.then_some(0.0)) {
            self.largest_difference = Some(self.largest_difference.unwrap_or(0.0).max(difference));
        }
        if is_same {
            return true;
        }
        let first = MetricDifference {
            metric: metric.into(),
            trials: 0,
            values: 0,
            unmatched: 0,
            largest: None,
            trial,
            step,
            recorded,
            again,
        };
        let at = self.differences.iter().position(|difference| difference.metric == metric).unwrap_or_else(|| {
            self.differences.push(first);
            self.differences.len() - 1
        });
        let entry = &mut self.differences[at];
        match difference {
            Some(difference) => {
                entry.values += 1;
                if entry.largest.is_none_or(|largest| difference > largest) {
                    (entry.largest, entry.trial, entry.step) = (Some(difference), trial, step);
                    (entry.recorded, entry.again) = (recorded, again);
                }
            }
            None => entry.unmatched += 1,
        }
        false
    }
}

fn by_step(measurements: &[Measurement], until: u64) -> BTreeMap<u64, &IndexMap<String, Option<f64>>> {
    let within = measurements.iter().filter(|measurement| measurement.step <= until);
    within.map(|measurement| (measurement.step, &measurement.metrics)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: u32, state: TrialState) -> Trial {
        Trial {
            number,
            configuration: number - 1,
            params: Default::default(),
            seed: 1,
            state,
            reason: None,
            summaries: Default::default(),
            seconds: 1.0,
            started: 0.0,
        }
    }

    fn measured(values: &[(u64, &str, Option<f64>)]) -> Vec<Measurement> {
        let one = |(step, metric, value): &(u64, &str, Option<f64>)| Measurement {
            step: *step,
            seconds: 0.1,
            metrics: [(metric.to_string(), *value)].into(),
        };
        values.iter().map(one).collect()
    }

    fn added(
        replay: &mut Replay,
        states: [TrialState; 2],
        values: [&[(u64, &str, Option<f64>)]; 2],
        cut: bool,
    ) -> bool {
        let number = replay.trials as u32 + 1;
        let (before, after) = (trial(number, states[0]), trial(number, states[1]));
        let [old, new] = values.map(measured);
        replay.add(&TrialPair { recorded: (&before, &old), again: (&after, &new), cut_short: cut })
    }

    #[test]
    fn only_the_same_bits_are_identical() {
        use TrialState::{Complete, Infeasible, Stopped};
        let both = [Complete, Complete];
        let mut replay = Replay::default();
        let values: &[_] = &[(1, "e", Some(0.1)), (2, "e", None), (3, "wall time", Some(1.0))];
        let other_time: &[_] = &[(1, "e", Some(0.1)), (2, "e", None), (3, "wall time", Some(2.0))];
        assert!(added(&mut replay, both, [values, other_time], false));
        assert!(replay.is_same() && replay.largest_difference == Some(0.0), "{replay:?}");
        assert_eq!((replay.values, replay.times.iter().map(String::as_str).collect()), (2, vec!["wall time"]));
        let next = f64::from_bits(0.1_f64.to_bits() + 1);
        assert!(!added(&mut replay, both, [&[(1, "e", Some(0.1))], &[(1, "e", Some(next))]], false));
        assert!(!added(&mut replay, both, [&[(7, "e", Some(2.0))], &[(7, "e", Some(1.5))]], false));
        assert!(!added(&mut replay, both, [&[(1, "e", Some(0.1)), (2, "e", None)], &[(1, "e", Some(0.1))]], false));
        assert!(!added(&mut replay, both, [&[(1, "e", Some(0.1))], &[(1, "e", None)]], false));
        assert!(!added(&mut replay, [Complete, Infeasible], [&[], &[]], false));
        assert!(!added(&mut replay, both, [&[(1, "e", Some(0.0))], &[(1, "e", Some(-0.0))]], false), "another bit");
        let e = &replay.differences[0];
        assert_eq!((e.trials, e.values, e.unmatched, e.largest), (5, 3, 2, Some(0.5)));
        assert_eq!((e.trial, e.step, e.recorded, e.again), (3, 7, Some(2.0), Some(1.5)));
        assert_eq!((replay.trials, replay.identical, replay.largest_difference), (7, 1, Some(0.5)));
        assert_eq!((replay.states[0].trial, replay.states[0].again), (6, Infeasible));
        // A trial that a rule ended is compared as far as it ran.
        let longer: &[_] = &[(1, "e", Some(0.5)), (2, "e", Some(0.4))];
        assert!(added(&mut replay, [Stopped, Complete], [&longer[..1], longer], true));
        assert!(!added(&mut replay, [Stopped, Complete], [longer, &longer[..1]], true));
        assert!(!Replay::default().is_same());
    }

    #[test]
    fn times_are_known_by_the_words_of_their_names() {
        for metric in ["time", "train/seconds", "examples_per_second", "step-time", "Latency_ms", "elapsed"] {
            assert!(is_time(metric), "{metric}");
        }
        for metric in ["valid/error", "timesteps", "secondary_loss", "lr", "loss", "sometimes"] {
            assert!(!is_time(metric), "{metric}");
        }
    }
}
