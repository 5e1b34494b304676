//! What became of the trials that cannot be used (Playbook E3): why they are infeasible, and which of the others are no
//! better than an untrained model. The flags are advice: they never change the state of a trial.

use crate::ranked_configurations;
use crate::resampling::median;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use tunebook_study::{Direction, Objective, Trial, TrialState, WorkloadDescription};

/// A trial is an outlier from so many robust standard deviations on.
const FAR: f64 = 10.0;
/// A trial that is better than chance by at most this share of it is no better.
const NEAR_CHANCE: f64 = 0.01;

/// Why a trial cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Memory ran out.
    OutOfMemory,
    /// The objective or the training loss became NaN or infinite.
    NonFinite,
    /// The training loss rose far above its least value.
    Diverged,
    /// It is infeasible for another reason.
    Other,
    /// It crashed, took too long, or ended without its objective.
    Failed,
    /// It is complete, and no better than an untrained model.
    WorseThanChance,
}

impl Cause {
    /// The name in evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::OutOfMemory => "out_of_memory",
            Cause::NonFinite => "non_finite",
            Cause::Diverged => "diverged",
            Cause::Other => "other",
            Cause::Failed => "failed",
            Cause::WorseThanChance => "worse_than_chance",
        }
    }

    /// Returns why a trial cannot be used, as its state and its reason tell. None if it is neither infeasible nor
    /// failed.
    pub fn of(trial: &Trial) -> Option<Self> {
        let reason = trial.reason.as_deref().unwrap_or_default();
        match trial.state {
            TrialState::Failed => Some(Cause::Failed),
            TrialState::Infeasible if reason.starts_with("out of memory") => Some(Cause::OutOfMemory),
            TrialState::Infeasible if reason.starts_with("diverged") => Some(Cause::Diverged),
            TrialState::Infeasible => {
                let is_non_finite = reason.contains("became non-finite")
                    || ["NaN", "inf", "-inf"].iter().any(|value| reason.contains(&format!("became {value} at step")));
                Some(if is_non_finite { Cause::NonFinite } else { Cause::Other })
            }
            _ => None,
        }
    }
}

/// The words for a sentence, after a number of trials.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::OutOfMemory => "out of memory",
            Cause::NonFinite => "not finite",
            Cause::Diverged => "diverged",
            Cause::Other => "infeasible for reasons on record",
            Cause::Failed => "failed",
            Cause::WorseThanChance => "worse than chance",
        })
    }
}

/// Counts the trials that cannot be used by cause, the most frequent first.
pub fn causes(trials: &[Trial], flags: &Flags) -> Vec<(Cause, usize)> {
    let mut counts: BTreeMap<Cause, usize> = BTreeMap::new();
    let worse: HashSet<u32> = flags.worse_than_chance.iter().copied().collect();
    let flagged = |trial: &Trial| worse.contains(&trial.number).then_some(Cause::WorseThanChance);
    for cause in trials.iter().filter_map(|trial| Cause::of(trial).or(flagged(trial))) {
        *counts.entry(cause).or_default() += 1;
    }
    let mut counts: Vec<(Cause, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// The trials that are suspicious although they are complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Flags {
    /// Trials whose objective is not better than that of the untrained model.
    pub worse_than_chance: Vec<u32>,
    /// Trials whose objective lies far from that of all others, and nearer to chance than to the best.
    pub outlier: Vec<u32>,
    /// The objective of a model that has learned nothing: as the workload declares it, otherwise the median over the
    /// trials before their first step. None if neither is known.
    pub chance: Option<f64>,
    /// What complete trials had to be better than, where that is known: the better one of the declared level of chance
    /// and the trial's own objective before its first step. It is not part of the JSON.
    #[serde(skip)]
    pub levels: BTreeMap<u32, f64>,
}

/// Flags the complete trials of a study, by the value that judges them: the best one, or the last one.
///
/// `untrained` holds the objective before the first step of trials that reported it. `workload` may declare the level
/// of chance.
pub fn flags(
    trials: &[Trial],
    objective: &Objective,
    untrained: &BTreeMap<u32, f64>,
    workload: Option<&WorkloadDescription>,
) -> Flags {
    let minimized = |y: f64| objective.direction.minimized(y);
    let is_judged = |workload: &&WorkloadDescription| {
        (&workload.objective.metric, workload.objective.direction) == (&objective.metric, objective.direction)
    };
    let declared = workload.filter(is_judged).and_then(|workload| workload.chance);
    let at_start = (!untrained.is_empty()).then(|| median(untrained.values().copied().collect()));
    let chance = declared.or(at_start);
    let complete: Vec<&Trial> = trials.iter().filter(|trial| trial.state == TrialState::Complete).collect();
    let is_no_better = |trial: &&&Trial| -> Option<bool> {
        // If the best value is that before the first step, it is no better than that.
        let (value, _) = objective.of(trial)?;
        let (_, last_step) = trial.summaries.get(&objective.metric)?.last;
        let than_start = untrained.get(&trial.number).is_some_and(|start| minimized(value) >= minimized(*start));
        let than_chance =
            declared.is_some_and(|chance| minimized(value) >= minimized(chance) - NEAR_CHANCE * chance.abs());
        Some(last_step > 0 && (than_start || than_chance))
    };
    let better = |a: f64, b: f64| if minimized(a) <= minimized(b) { a } else { b };
    let level = |trial: &&Trial| {
        let levels = declared.into_iter().chain(untrained.get(&trial.number).copied());
        Some((trial.number, levels.reduce(better)?))
    };
    let worse_than_chance = complete.iter().filter(|trial| is_no_better(trial) == Some(true)).map(|t| t.number);
    Flags {
        worse_than_chance: worse_than_chance.collect(),
        outlier: outliers(trials, &complete, objective, chance),
        chance,
        levels: complete.iter().filter_map(level).collect(),
    }
}

fn outliers(trials: &[Trial], complete: &[&Trial], objective: &Objective, chance: Option<f64>) -> Vec<u32> {
    let direction: Direction = objective.direction;
    let values: Vec<(u32, f64)> =
        complete.iter().filter_map(|trial| Some((trial.number, direction.minimized(objective.of(trial)?.0)))).collect();
    let best = ranked_configurations(trials, objective).first().and_then(|best| best.objective);
    let (Some(chance), Some(best)) = (chance, best) else { return vec![] };
    let midpoint = 0.5 * (direction.minimized(chance) + direction.minimized(best));
    let centre = median(values.iter().map(|(_, y)| *y).collect());
    let deviation = 1.4826 * median(values.iter().map(|(_, y)| (y - centre).abs()).collect());
    let is_far = |y: f64| deviation > 0.0 && (y - centre) / deviation > FAR && y > midpoint;
    values.into_iter().filter(|(_, y)| is_far(*y)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{MetricSummary, ObjectiveValue};

    fn objective(direction: Direction) -> Objective {
        Objective { metric: "e".into(), direction, judged: ObjectiveValue::Best }
    }

    fn trial(number: u32, best: f64, last: f64) -> Trial {
        let summary = MetricSummary { min: (best, 5), max: (last, 9), last: (last, 9) };
        Trial {
            number,
            configuration: number - 1,
            params: Default::default(),
            seed: 0,
            state: TrialState::Complete,
            reason: None,
            summaries: [("e".to_string(), summary)].into(),
            seconds: 1.0,
            started: 0.0,
        }
    }

    fn infeasible(reason: &str) -> Trial {
        Trial { state: TrialState::Infeasible, reason: Some(reason.into()), ..trial(1, 1.0, 1.0) }
    }

    #[test]
    fn the_reason_of_a_trial_tells_the_cause() {
        for (reason, cause) in [
            ("out of memory: the system killed the worker", Cause::OutOfMemory),
            ("`valid/error` became non-finite at step 40. Lower `lr`", Cause::NonFinite),
            ("the training loss became NaN at step 3", Cause::NonFinite),
            ("the training loss became inf at step 3", Cause::NonFinite),
            ("diverged: the training loss rose from 2.300 to 9.1e5 by step 60", Cause::Diverged),
            ("its latency is above 5 ms", Cause::Other),
        ] {
            assert_eq!(Cause::of(&infeasible(reason)), Some(cause), "{reason}");
        }
        assert_eq!(Cause::of(&Trial { state: TrialState::Failed, ..trial(1, 0.1, 0.1) }), Some(Cause::Failed));
        assert_eq!(Cause::of(&trial(1, 0.1, 0.1)), None);
    }

    #[test]
    fn the_value_that_judges_a_trial_says_whether_it_is_worse_than_chance() {
        // The first one overfits: at its end it is worse than before its first step.
        let trials = [trial(1, 0.1, 0.95), trial(2, 0.9, 0.95), trial(3, 0.895, 0.895)];
        let untrained: BTreeMap<u32, f64> = [(1, 0.9), (2, 0.9), (3, 0.91)].into();
        let best = objective(Direction::Minimize);
        let found = flags(&trials, &best, &untrained, None);
        assert_eq!((found.worse_than_chance, found.chance), (vec![2], Some(0.9)));
        assert_eq!(found.levels, untrained);
        let last = Objective { judged: ObjectiveValue::Final, ..best };
        assert_eq!(flags(&trials, &last, &untrained, None).worse_than_chance, [1, 2]);
        let higher = [trial(1, 0.1, 0.9), trial(2, 0.1, 0.1)];
        let untrained = [(1, 0.2), (2, 0.2)].into();
        assert_eq!(flags(&higher, &objective(Direction::Maximize), &untrained, None).worse_than_chance, [2]);
        assert_eq!(flags(&trials, &objective(Direction::Minimize), &BTreeMap::new(), None), Flags::default());
    }

    #[test]
    fn an_outlier_is_far_from_all_others_and_nearer_to_chance() {
        let mut trials: Vec<Trial> = (1..=20).map(|i| trial(i, 0.1 + 0.001 * f64::from(i), 0.2)).collect();
        trials.push(trial(21, 0.7, 0.7));
        trials.push(trial(22, 0.3, 0.3));
        let untrained = (1..=22).map(|i| (i, 0.9)).collect();
        assert_eq!(flags(&trials, &objective(Direction::Minimize), &untrained, None).outlier, [21]);
        // Without a level of chance, nothing is nearer to it.
        assert_eq!(flags(&trials, &objective(Direction::Minimize), &BTreeMap::new(), None).outlier, [0; 0]);
    }
}
