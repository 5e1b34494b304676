//! What a study knows of its configurations: the results of their trials so far.

use super::bayes::Outcome;
use crate::{Objective, Summaries, TrialState};
use std::collections::HashMap;

/// What became of a trial.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Value(f64),
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
            (TrialState::Complete | TrialState::Stopped, Some(value)) => Some(End::Value(value)),
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
    pub(super) fn outcomes(&self, count: usize) -> impl Iterator<Item = Outcome> {
        (0..count).map(|configuration| {
            let ends = self.ends.get(&configuration).into_iter().flatten().map(|(_, end)| end);
            let mut values: Vec<f64> = ends
                .filter_map(|end| match end {
                    End::Value(value) => Some(*value),
                    End::Infeasible => Some(f64::INFINITY),
                    End::Failed => None,
                })
                .collect();
            values.sort_by(f64::total_cmp);
            let Some(last) = values.len().checked_sub(1) else { return Outcome::Open };
            let median = 0.5 * (values[last / 2] + values[last.div_ceil(2)]);
            if median.is_finite() { Outcome::Value(median) } else { Outcome::Infeasible }
        })
    }

    /// Whether one of the first configurations has no trial that ended.
    pub(super) fn some_run(&self, count: usize) -> bool {
        (0..count).any(|configuration| self.ends.get(&configuration).is_none_or(HashMap::is_empty))
    }
}
