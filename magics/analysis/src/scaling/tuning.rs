//! How one batch size is tuned (the protocol of Shallue et al. 2018): which trials run next, when the limit of steps is
//! raised, when the range is widened, and whether the result is valid.
//!
//! Every decision is made from the recorded trials alone. So a study can be interrupted at any trial and resumed.

use super::range::{RangeEdge, edge_of, widened, widened_on_both_sides};
use super::steps::{StepsToTarget, step_of_target};
use tunebook_study::{Objective, SearchSpace, StudyDefinition, Trial, TrialState, Value, WorkloadDescription};

/// At least this many configurations must reach the target at a valid size.
const NEEDED: usize = 3;
/// A trial may first take this many times the steps of the next larger size. Half the batch size needs at most twice
/// the steps (perfect scaling); the rest leaves room for configurations that are not the best.
const PATIENCE: f64 = 8.0;
/// At the largest size a trial may first take this part of the budget: one sixteenth.
const FIRST_PART: u64 = 16;
/// The limit of steps is raised by this factor.
const RAISE: u64 = 4;

/// The tuning of one batch size.
#[derive(Clone, Debug)]
pub struct BatchSizeTuning<'a> {
    target: f64,
    budget: u64,
    configurations: u32,
    workload: Option<&'a WorkloadDescription>,
    first_evaluation: u64,
    limit: u64,
}

/// What the tuning of a batch size does next.
#[derive(Clone, Debug, PartialEq)]
pub enum NextAction {
    /// Trials are to be run.
    Run {
        /// The numbers of the trials. The list is not empty.
        numbers: Vec<u32>,
        /// The step after which a trial that has not reached the target gives up.
        max_steps: u64,
    },
    /// All trials have ended.
    Finish {
        /// The search space in which the study goes on, if its range is too narrow and was not widened before.
        wider: Option<SearchSpace>,
        /// Why the size is not valid if the study ends here. None if the size is valid.
        invalid: Option<InvalidSize>,
    },
}

/// Why a batch size cannot be compared with the others.
#[derive(Clone, Debug, PartialEq)]
pub enum InvalidSize {
    /// No configuration reached the target, and at least one trial failed.
    TrialFailed {
        /// The recorded reason of the first failed trial.
        reason: Option<String>,
    },
    /// No configuration reached the target.
    NoneReached {
        /// The steps that each trial could take.
        budget: u64,
    },
    /// Too few configurations reached the target.
    TooFewReached {
        /// The number of configurations that reached it.
        reached: usize,
        /// The number of configurations that are needed.
        needed: usize,
        /// The number of configurations that were tried.
        tried: u32,
    },
    /// The best value lies at the edge of its range, so that a better one may lie beyond.
    AtEdge {
        /// The hyperparameter and the side.
        edge: RangeEdge,
        /// The best value.
        best: Value,
        /// Whether the range was widened before.
        was_widened: bool,
    },
}

impl<'a> BatchSizeTuning<'a> {
    /// Starts the tuning of a batch size.
    ///
    /// `target` is a value of the objective, `budget` the number of steps that a trial may take at most, and
    /// `configurations` the number of configurations to try, twice as many in a widened range. `larger` is the number
    /// of steps that the next larger batch size needed, if it is known. The domains of `workload` limit how far a range
    /// is widened.
    pub fn new(
        target: f64,
        budget: u64,
        configurations: u32,
        larger: Option<f64>,
        workload: Option<&'a WorkloadDescription>,
    ) -> Self {
        // A smaller batch needs no fewer steps than a larger one. Half of them leaves room for noise.
        let first_evaluation = larger.map_or(1, |steps| (0.5 * steps) as u64).max(1);
        let limit = larger.map_or(budget / FIRST_PART, |steps| (PATIENCE * steps).ceil() as u64).clamp(1, budget);
        Self { target, budget, configurations, workload, first_evaluation, limit }
    }

    /// The first step at which a trial may reach the target, so that no evaluation is needed before it.
    pub fn first_evaluation(&self) -> u64 {
        self.first_evaluation
    }

    /// Returns the number of trials of the study: its configurations times their repeats.
    pub fn trials(&self, definition: &StudyDefinition, is_widened: bool) -> u32 {
        self.tried(is_widened).saturating_mul(definition.repeats)
    }

    /// Decides what the study does next.
    ///
    /// `definition` is the recorded one, and `is_widened` says whether its range is wider than planned. `found` is what
    /// the recorded trials say ([`super::steps_to_target`]).
    pub fn next(
        &mut self,
        definition: &StudyDefinition,
        is_widened: bool,
        trials: &[Trial],
        found: &StepsToTarget,
    ) -> NextAction {
        let count = self.trials(definition, is_widened);
        loop {
            let numbers = self.pending(trials, count, definition.repeats, &definition.objective);
            if !numbers.is_empty() {
                return NextAction::Run { numbers, max_steps: self.limit };
            }
            if found.reached >= NEEDED || self.limit >= self.budget {
                break;
            }
            self.limit = self.limit.saturating_mul(RAISE).min(self.budget);
        }
        let edge = found.params.as_ref().and_then(|params| edge_of(&definition.space, params, trials));
        let wider = if is_widened { None } else { self.wider(&definition.space, found, edge.as_ref()) };
        NextAction::Finish { wider, invalid: self.invalid(&definition.space, is_widened, trials, found, edge) }
    }

    fn tried(&self, is_widened: bool) -> u32 {
        self.configurations * if is_widened { 2 } else { 1 }
    }

    /// Returns the numbers of the trials to run next: those that never ran, were cut off, or gave up at a lower limit
    /// of steps.
    ///
    /// The first repeat of each configuration runs first. The other repeats follow only if the first one reached the
    /// target by the limit. The limit is several times the steps of the best configuration, so a configuration that
    /// does not reach the target would not become the best.
    fn pending(&self, trials: &[Trial], count: u32, repeats: u32, objective: &Objective) -> Vec<u32> {
        let known = |number: u32| trials.iter().find(|trial| trial.number == number);
        let last_step = |trial: &Trial| trial.summaries.values().map(|summary| summary.last.1).max().unwrap_or(0);
        let gave_up = |trial: &Trial| trial.state == TrialState::Stopped && last_step(trial) < self.limit;
        let is_pending = |number: &u32| known(*number).is_none_or(|trial| trial.state.runs_again() || gave_up(trial));
        let first_of = |number: u32| number - (number - 1) % repeats;
        let firsts: Vec<u32> = (1..=count).filter(|number| first_of(*number) == *number).filter(is_pending).collect();
        if !firsts.is_empty() {
            return firsts;
        }
        let reached = |trial: &Trial| step_of_target(trial, objective, self.target).is_some();
        let is_repeated = |number: &u32| known(first_of(*number)).is_some_and(reached);
        (1..=count).filter(is_repeated).filter(is_pending).collect()
    }

    /// Returns a wider search space if the best value lies at an edge, or if too few configurations reached the target.
    fn wider(&self, space: &SearchSpace, found: &StepsToTarget, edge: Option<&RangeEdge>) -> Option<SearchSpace> {
        match edge {
            Some(edge) => widened(space, space.find(&edge.hyperparameter)?, &[edge.side], self.workload),
            None if found.reached < NEEDED => widened_on_both_sides(space, self.workload),
            None => None,
        }
    }

    fn invalid(
        &self,
        space: &SearchSpace,
        is_widened: bool,
        trials: &[Trial],
        found: &StepsToTarget,
        edge: Option<RangeEdge>,
    ) -> Option<InvalidSize> {
        match found.reached {
            0 => {
                return Some(match trials.iter().find(|trial| trial.state == TrialState::Failed) {
                    Some(failed) => InvalidSize::TrialFailed { reason: failed.reason.clone() },
                    None => InvalidSize::NoneReached { budget: self.budget },
                });
            }
            reached if reached < NEEDED => {
                return Some(InvalidSize::TooFewReached { reached, needed: NEEDED, tried: self.tried(is_widened) });
            }
            _ => {}
        }
        let edge = edge?;
        let judged = space.find(&edge.hyperparameter)?;
        let best = space.value_of(judged, found.params.as_ref()?)?.clone();
        // A best value at the end of the domain is valid: there is nothing beyond it.
        widened(space, judged, &[edge.side], self.workload)?;
        Some(InvalidSize::AtEdge { edge, best, was_widened: is_widened })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Side, steps_to_target};
    use tunebook_study::{
        Direction, Distribution, Hyperparameter, MetricSummary, ObjectiveValue, Role, TrialState::*, WorkloadReference,
    };

    fn definition(low: f64, high: f64, repeats: u32) -> StudyDefinition {
        let mut space = SearchSpace::new();
        let distribution = Distribution::log_uniform(low, high).unwrap();
        space
            .declare(Hyperparameter { name: "lr".into(), role: Role::Nuisance, distribution, conditions: vec![] })
            .unwrap();
        StudyDefinition {
            repeats,
            ..StudyDefinition::new(
                WorkloadReference::Builtin { name: "w".into() },
                space,
                Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
            )
        }
    }

    /// A trial that took 100 steps. It reached the target of 0.1 if it is complete.
    fn trial(number: u32, repeats: u32, lr: f64, state: TrialState) -> Trial {
        let value = if state == Complete { 0.05 } else { 0.5 };
        let summary = MetricSummary { min: (value, 100), max: (0.9, 0), last: (value, 100) };
        Trial {
            number,
            configuration: (number - 1) / repeats,
            params: [("lr".to_string(), lr.into())].into(),
            seed: 0,
            state,
            reason: (state == Failed).then(|| "no such file".into()),
            summaries: [("e".to_string(), summary)].into(),
            seconds: 0.0,
            started: 0.0,
        }
    }

    fn next(
        tuning: &mut BatchSizeTuning<'_>,
        study: &StudyDefinition,
        is_widened: bool,
        trials: &[Trial],
    ) -> NextAction {
        let found = steps_to_target(trials, &study.objective, 0.1);
        tuning.next(study, is_widened, trials, &found)
    }

    #[test]
    fn repeats_run_once_their_first_reached_the_target_and_a_higher_limit_runs_those_that_gave_up() {
        let study = definition(1e-3, 1.0, 3);
        let pending = |limit, trials: &[Trial]| {
            let tuning = BatchSizeTuning { limit, ..BatchSizeTuning::new(0.1, 1000, 2, None, None) };
            tuning.pending(trials, tuning.trials(&study, false), 3, &study.objective)
        };
        let trial = |number, state| trial(number, 3, 0.1, state);
        assert_eq!(pending(100, &[]), [1, 4]);
        let mut trials = vec![trial(1, Complete), trial(4, Stopped)];
        assert_eq!(pending(100, &trials), [2, 3], "the second configuration did not reach the target");
        trials.extend([trial(2, Stopped), trial(3, Complete)]);
        assert!(pending(100, &trials).is_empty());
        assert_eq!(pending(400, &trials), [4], "first repeats run first");
        trials[1].state = Complete;
        trials[1].summaries["e"].min.0 = 0.05;
        assert_eq!(pending(400, &trials), [2, 5, 6]);
        trials[0].state = Cancelled;
        assert_eq!(pending(100, &trials), [1]);

        let tuning = BatchSizeTuning { limit: 100, ..BatchSizeTuning::new(0.1, 1000, 2, None, None) };
        assert_eq!(tuning.pending(&[trial(1, Stopped)], 2, 1, &study.objective), [2]);
    }

    #[test]
    fn the_limit_begins_near_the_next_larger_size_and_rises_up_to_the_budget() {
        let study = definition(1e-3, 1.0, 1);
        let run = |numbers: &[u32], max_steps| NextAction::Run { numbers: numbers.to_vec(), max_steps };
        let mut first = BatchSizeTuning::new(0.1, 1600, 1, None, None);
        assert_eq!((first.first_evaluation(), next(&mut first, &study, false, &[])), (1, run(&[1], 100)));
        let mut tuning = BatchSizeTuning::new(0.1, 1600, 1, Some(10.0), None);
        assert_eq!((tuning.first_evaluation(), next(&mut tuning, &study, false, &[])), (5, run(&[1], 80)));
        // The trial gave up after 100 steps.
        assert_eq!(next(&mut tuning, &study, false, &[trial(1, 1, 0.1, Stopped)]), run(&[1], 320));
        let mut gave_up = trial(1, 1, 0.1, Stopped);
        gave_up.summaries["e"].last.1 = 1600;
        let NextAction::Finish { invalid, .. } = next(&mut tuning, &study, false, &[gave_up]) else { panic!() };
        assert_eq!(invalid, Some(InvalidSize::NoneReached { budget: 1600 }));
    }

    #[test]
    fn a_range_is_widened_once_and_a_best_at_its_edge_is_not_valid() {
        let study = definition(1e-3, 1.0, 1);
        let trials = |rates: &[f64]| -> Vec<Trial> {
            rates.iter().zip(1..).map(|(lr, number)| trial(number, 1, *lr, Complete)).collect()
        };
        // The first of equals is the best.
        let inside = trials(&[0.03, 0.01, 0.1]);
        let mut tuning = BatchSizeTuning::new(0.1, 1000, 3, None, None);
        assert_eq!(next(&mut tuning, &study, false, &inside), NextAction::Finish { wider: None, invalid: None });

        let at_edge = trials(&[0.9, 0.01, 0.1]);
        let NextAction::Finish { wider, invalid } = next(&mut tuning, &study, false, &at_edge) else { panic!() };
        assert_eq!(wider, Some(definition(1e-3, 10.0, 1).space));
        let edge = RangeEdge { hyperparameter: "lr".into(), side: Side::High };
        let fault = |was_widened| Some(InvalidSize::AtEdge { edge: edge.clone(), best: 0.9.into(), was_widened });
        assert_eq!(invalid, fault(false));

        let wide = definition(1e-4, 1.0, 1);
        assert_eq!(
            next(&mut tuning, &wide, true, &at_edge),
            NextAction::Run { numbers: vec![4, 5, 6], max_steps: 62 },
            "a wider range is tried with twice as many configurations"
        );
        let six = trials(&[0.9, 0.01, 0.1, 0.2, 0.3, 0.4]);
        assert_eq!(next(&mut tuning, &wide, true, &six), NextAction::Finish { wider: None, invalid: fault(true) });
    }

    #[test]
    fn too_few_configurations_widen_both_sides_and_failed_trials_are_named() {
        let study = definition(1e-3, 1.0, 1);
        let mut tuning = BatchSizeTuning::new(0.1, 16, 3, None, None);
        let two = [trial(1, 1, 0.03, Complete), trial(2, 1, 0.01, Stopped), trial(3, 1, 0.1, Complete)];
        let NextAction::Finish { wider, invalid } = next(&mut tuning, &study, false, &two) else { panic!() };
        assert_eq!(wider, Some(definition(1e-4, 10.0, 1).space));
        assert_eq!(invalid, Some(InvalidSize::TooFewReached { reached: 2, needed: 3, tried: 3 }));
        let failed: Vec<Trial> = (1..=3).map(|number| trial(number, 1, 0.1, Failed)).collect();
        let NextAction::Finish { invalid, .. } = next(&mut tuning, &study, false, &failed) else { panic!() };
        assert_eq!(invalid, Some(InvalidSize::TrialFailed { reason: Some("no such file".into()) }));
    }
}
