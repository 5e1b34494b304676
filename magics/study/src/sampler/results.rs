//! What a study knows of its configurations: the results of their trials so far.

use super::bayes::{Outcome, Rules};
use crate::{Objective, Summaries, TrialState};
use std::collections::HashMap;

/// What became of a trial.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Complete(f64),
    /// Ended early, with the value that it had then.
    Stopped(f64),
    Infeasible,
    Failed,
}

/// The results of the trials of each configuration.
pub(super) struct Results {
    objective: Objective,
    /// By the index of the configuration and the number of the trial.
    ends: HashMap<usize, HashMap<u32, End>>,
}

impl Results {
    pub(super) fn new(objective: &Objective) -> Self {
        Self { objective: objective.clone(), ends: HashMap::new() }
    }

    /// Adds what became of a trial. Returns whether that is a result.
    pub(super) fn learn(&mut self, configuration: u32, number: u32, state: TrialState, summaries: &Summaries) -> bool {
        let value = self.objective.of_summaries(summaries).map(|(value, _)| self.objective.direction.minimized(value));
        let end = match (state, value) {
            (TrialState::Complete, Some(value)) => Some(End::Complete(value)),
            (TrialState::Stopped, Some(value)) => Some(End::Stopped(value)),
            (TrialState::Infeasible, _) => Some(End::Infeasible),
            (TrialState::Running | TrialState::Cancelled, _) => None,
            (TrialState::Failed | TrialState::Complete | TrialState::Stopped, _) => Some(End::Failed),
        };
        let ends = self.ends.entry(configuration as usize).or_default();
        match end {
            Some(end) => ends.insert(number, end),
            None => ends.remove(&number),
        };
        end.is_some()
    }

    /// What is known of each of the first configurations: the median of its trials, of which infeasible ones are worst.
    pub(super) fn outcomes(&self, count: usize, rules: &Rules) -> Vec<Outcome> {
        let complete = if rules.distrusts_stopped { self.complete() } else { vec![] };
        // A trial was stopped because it was worse than others, at a step at which they were worse, too. Its value says
        // little about the value that it would have had. That is taken to be in the worse half of those that are known.
        let stopped = |value: f64| match (rules.distrusts_stopped, complete.last()) {
            (false, _) => Some(value),
            (true, Some(worst)) if complete.len() > 1 => Some(value.clamp(median(&complete), *worst)),
            (true, _) => None,
        };
        let outcome = |configuration| {
            let ends: Vec<End> = self.ends.get(&configuration).into_iter().flatten().map(|(_, end)| *end).collect();
            let mut values: Vec<f64> = ends
                .iter()
                .filter_map(|end| match end {
                    End::Complete(value) => Some(*value),
                    End::Stopped(value) => stopped(*value),
                    End::Infeasible => Some(f64::INFINITY),
                    End::Failed => None,
                })
                .collect();
            values.sort_by(f64::total_cmp);
            if values.is_empty() {
                return if ends.is_empty() { Outcome::Open } else { Outcome::Failed };
            }
            let median = median(&values);
            match ends.iter().any(|end| matches!(end, End::Complete(_))) {
                _ if !median.is_finite() => Outcome::Infeasible,
                false if rules.distrusts_stopped => Outcome::Stopped(median),
                _ => Outcome::Value(median),
            }
        };
        (0..count).map(outcome).collect()
    }

    /// The sorted values of the trials that are complete.
    fn complete(&self) -> Vec<f64> {
        let ends = self.ends.values().flat_map(HashMap::values);
        let mut values: Vec<f64> =
            ends.filter_map(|end| if let End::Complete(value) = end { Some(*value) } else { None }).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// Whether one of the first configurations has no trial that ended.
    pub(super) fn some_run(&self, count: usize) -> bool {
        (0..count).any(|configuration| self.ends.get(&configuration).is_none_or(HashMap::is_empty))
    }
}

/// The median of sorted values, of which there is one at least.
fn median(sorted: &[f64]) -> f64 {
    let last = sorted.len() - 1;
    // Halves first: the sum of two large values is no number.
    0.5 * sorted[last / 2] + 0.5 * sorted[last.div_ceil(2)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, MetricSummary, ObjectiveValue};

    fn summaries(value: f64) -> Summaries {
        let mut summary = None;
        MetricSummary::extend(&mut summary, value, 1);
        summary.map(|summary| ("e".to_string(), summary)).into_iter().collect()
    }

    #[test]
    fn a_stopped_trial_is_worse_than_the_median_and_a_failed_one_has_no_value() {
        let objective = Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Final };
        let of = |version: u32, trials: &[(TrialState, f64)]| {
            let mut results = Results::new(&objective);
            for (configuration, (state, value)) in (0..).zip(trials) {
                results.learn(configuration, configuration + 1, *state, &summaries(*value));
            }
            results.outcomes(trials.len(), &Rules::of(version))
        };
        use Outcome::{Failed, Open, Stopped, Value};
        let complete = [0.2, 0.3, 0.7].map(|value| (TrialState::Complete, value));
        let others = [(TrialState::Stopped, 0.1), (TrialState::Stopped, 0.5), (TrialState::Stopped, 2.3)];
        let all = [&complete[..], &others, &[(TrialState::Failed, 0.1), (TrialState::Running, 0.1)]].concat();
        let complete_ones = [Value(0.2), Value(0.3), Value(0.7)];
        let expected = [&complete_ones[..], &[Stopped(0.3), Stopped(0.5), Stopped(0.7), Failed, Open]].concat();
        assert_eq!(of(7, &all), expected);
        assert_eq!(of(6, &all)[3..6], [Value(0.1), Value(0.5), Value(2.3)]);
        assert_eq!(of(7, &all[2..4]), [Value(0.7), Failed], "one complete trial has no better and no worse half");
    }

    #[test]
    fn the_median_of_the_largest_numbers_is_a_number() {
        assert_eq!(median(&[1.0, 2.0, 4.0, 5.0]), 3.0);
        assert_eq!(median(&[f64::MAX]), f64::MAX);
        assert_eq!(median(&[f64::MAX, f64::MAX]), f64::MAX);
    }
}
