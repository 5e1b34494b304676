//! Early stopping: rules that end a trial whose objective is worse than that of others at the same step.
//!
//! A rule compares a trial with what has been measured so far. Where several trials run at once, what it decides
//! therefore depends on the order in which their measurements arrive. Configurations are compared, each once: one with
//! several seeds by the median over its seeds, and never with another seed of its own.

mod asha;
mod median;
#[cfg(test)]
mod tests;

use crate::{Objective, ObjectiveValue, TrialState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// By which rule trials are stopped early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopEarly {
    /// Every trial runs to its end.
    #[default]
    None,
    /// A trial is stopped if its best value so far is worse than the median of the complete trials at the same step.
    Median,
    /// Asynchronous successive halving: a trial goes on from a rung only if it is among the best quarter there.
    Asha,
}

impl StopEarly {
    /// All rules, the default first.
    pub const ALL: [Self; 3] = [Self::None, Self::Median, Self::Asha];

    /// The rule of a name: the reverse of its text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.to_string() == text)
    }

    /// Whether every trial runs to its end.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl fmt::Display for StopEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopEarly::None => "none",
            StopEarly::Median => "median",
            StopEarly::Asha => "asha",
        })
    }
}

/// What is known of a trial. All values are minimized.
struct Curve {
    configuration: u32,
    is_complete: bool,
    /// The step at which the trial ends by itself, if it is known.
    end: Option<u64>,
    /// The objective by step.
    values: BTreeMap<u64, f64>,
}

/// A rule of early stopping with what it knows of the trials of a study.
pub struct EarlyStopping {
    rule: StopEarly,
    objective: Objective,
    trials: BTreeMap<u32, Curve>,
    /// The last step of the longest complete trial.
    longest: Option<u64>,
    rungs: asha::Rungs,
}

impl EarlyStopping {
    /// A rule that knows no trial yet.
    pub fn new(rule: StopEarly, objective: &Objective) -> Self {
        let rungs = asha::Rungs::default();
        Self { rule, objective: objective.clone(), trials: BTreeMap::new(), longest: None, rungs }
    }

    /// A trial starts, or starts again: what was known of it does not count any more.
    pub fn started(&mut self, number: u32, configuration: u32) {
        self.rungs.forget(number);
        let curve = Curve { configuration, is_complete: false, end: None, values: BTreeMap::new() };
        self.trials.insert(number, curve);
    }

    /// A trial that has started ends by itself at this step. There it is not stopped.
    pub fn ends_at(&mut self, number: u32, step: u64) {
        if let Some(curve) = self.trials.get_mut(&number) {
            curve.end = Some(step);
        }
    }

    /// A trial measured its objective. Returns why it should be stopped, if it should.
    ///
    /// A value that is not finite is left to the worker: it makes the trial infeasible.
    pub fn measured(&mut self, number: u32, step: u64, value: f64) -> Option<String> {
        if self.rule.is_none() || !value.is_finite() {
            return None;
        }
        let direction = self.objective.direction;
        let curve = self.trials.get_mut(&number)?;
        curve.values.insert(step, direction.minimized(value));
        let end = curve.end;
        let verdict = match self.rule {
            StopEarly::None => None,
            StopEarly::Median => median::verdict(self, number, step),
            StopEarly::Asha => asha::verdict(self, number, step),
        };
        // At the last step there is nothing left to save. At step 0, nothing was trained yet.
        let is_last = [self.longest, end].into_iter().flatten().any(|last| step >= last);
        let verdict = verdict.filter(|_| step > 0 && !is_last)?;
        let [mine, other] = [verdict.mine, verdict.other].map(|minimized| direction.minimized(minimized));
        let (metric, than) = (&self.objective.metric, verdict.than);
        let judged = match mine == value {
            true => format!("`{metric}` {}", short(value)),
            // The rules look at the best value up to this step.
            false => format!("`{metric}` is {}, and its best so far, {},", short(value), short(mine)),
        };
        Some(format!("--stop-early {} at step {step}: {judged} is worse than {}, {than}", self.rule, short(other)))
    }

    /// A trial ended in this state.
    pub fn ended(&mut self, number: u32, state: TrialState) {
        let Some(curve) = self.trials.get_mut(&number) else { return };
        if state.runs_again() {
            self.trials.remove(&number);
            self.rungs.forget(number);
            return;
        }
        if state == TrialState::Complete {
            curve.is_complete = true;
            let last = curve.values.last_key_value().map(|(step, _)| *step);
            self.longest = self.longest.max(last);
            if self.rule == StopEarly::Asha {
                asha::completed(self);
            }
        }
    }

    /// The objective of a trial after this step, as the study judges it: the best so far or the last value.
    fn judged(&self, curve: &Curve, step: u64) -> Option<f64> {
        let mut so_far = curve.values.range(..=step).map(|(_, value)| *value);
        match self.objective.judged {
            ObjectiveValue::Best => so_far.min_by(f64::total_cmp),
            ObjectiveValue::Final => so_far.next_back(),
        }
    }

    /// Of values with the numbers of their trials, one for each configuration but that of `number`: the median of its
    /// trials.
    fn others(&self, number: u32, values: impl Iterator<Item = (u32, f64)>) -> Vec<f64> {
        let Some(own) = self.trials.get(&number).map(|curve| curve.configuration) else { return vec![] };
        let mut by_configuration: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (trial, value) in values {
            if let Some(curve) = self.trials.get(&trial).filter(|curve| curve.configuration != own) {
                by_configuration.entry(curve.configuration).or_default().push(value);
            }
        }
        by_configuration.into_values().filter_map(median_of).collect()
    }
}

/// Why a trial should be stopped: its value, and that which it is worse than. Both are minimized.
struct Verdict {
    mine: f64,
    other: f64,
    /// What the other value is.
    than: String,
}

fn median_of(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(0.5 * (values[last / 2] + values[last.div_ceil(2)]))
}

/// A number with at most four digits.
fn short(x: f64) -> String {
    format!("{x:.3e}").parse().unwrap_or(x).to_string()
}
