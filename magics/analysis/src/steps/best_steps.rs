//! The steps at which trials are best, as shares of all their steps (Playbook G3), and whether the number of steps
//! limits them (G1).

use crate::{Finding, ranked};
use serde::Serialize;
use std::collections::BTreeMap;
use tunebook_study::{Direction, Measurement, Objective, Trial};

/// The bins of the histogram.
const BINS: usize = 10;
/// The number of best configurations that are counted apart.
const TOP: usize = 5;
/// Trials with fewer evaluations have no best step to speak of.
const LEAST_EVALUATIONS: usize = 10;
/// A best step up to this share is early (G3).
const EARLY: f64 = 0.1;
/// A best step from this share on is late (G3).
const LATE: f64 = 0.75;

/// Whether the number of steps limits the trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingRegime {
    /// The best trials still improve at their end.
    ComputeBound,
    /// The best trials have their improvement long before their end.
    NotComputeBound,
    /// The curves show neither.
    Unclear,
}

/// The best steps of the configurations of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestSteps {
    /// How many configurations have their best evaluation in each tenth of their steps.
    pub counts: [usize; BINS],
    /// The same for the best configurations alone.
    pub best_counts: [usize; BINS],
    pub configurations: usize,
    /// How many have it in the first tenth.
    pub early: usize,
    /// How many have it in the last quarter.
    pub late: usize,
    pub regime: TrainingRegime,
}

/// Returns the best steps of the finished configurations with an objective, each by the trial in the middle of its
/// seeds. `measured` holds the measurements of the best ones at least, and `findings` are those of the checklist.
///
/// None if the best ones have too few evaluations, as those of a program that reports its result once.
pub fn best_steps(
    trials: &[Trial],
    measured: &BTreeMap<u32, Vec<Measurement>>,
    findings: &[Finding],
    objective: &Objective,
) -> Option<BestSteps> {
    let ranked = ranked(trials, objective);
    let evaluations = |trial: &Trial| {
        let measurements = measured.get(&trial.number)?;
        Some(measurements.iter().filter(|m| m.metrics.contains_key(&objective.metric)).count())
    };
    if ranked.is_empty()
        || ranked.iter().take(TOP).any(|trial| evaluations(trial).is_none_or(|count| count < LEAST_EVALUATIONS))
    {
        return None;
    }
    let share = |trial: &&Trial| {
        let summary = trial.summaries.get(&objective.metric)?;
        let best = if objective.direction == Direction::Minimize { summary.min } else { summary.max };
        (summary.last.1 > 0).then(|| best.1 as f64 / summary.last.1 as f64)
    };
    let (mut counts, mut best_counts) = ([0; BINS], [0; BINS]);
    let (mut early, mut late) = (0, 0);
    for (rank, share) in ranked.iter().filter_map(share).enumerate() {
        // A share of exactly one tenth belongs to the first tenth.
        let bin = ((share * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        counts[bin] += 1;
        best_counts[bin] += usize::from(rank < TOP);
        early += usize::from(share <= EARLY);
        late += usize::from(share >= LATE);
    }
    let has = |id: &str| findings.iter().any(|finding| finding.id == id);
    // With a learning rate that decays, trials are best at their end however early most of their improvement comes.
    let is_over_early = has("best-step-early") || (has("saturated-early") && !has("best-step-late"));
    let regime = match (has("still-improving"), is_over_early) {
        (true, false) => TrainingRegime::ComputeBound,
        (false, true) => TrainingRegime::NotComputeBound,
        _ => TrainingRegime::Unclear,
    };
    Some(BestSteps { counts, best_counts, configurations: counts.iter().sum(), early, late, regime })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{MetricSummary, ObjectiveValue, TrialState};

    fn trial(number: u32, value: f64, best: u64, last: u64) -> Trial {
        let summary = MetricSummary { min: (value, best), max: (1.0, 0), last: (value + 0.1, last) };
        Trial {
            number,
            configuration: number - 1,
            params: Default::default(),
            seed: 0,
            state: TrialState::Complete,
            reason: None,
            summaries: [("e".to_string(), summary)].into_iter().collect(),
            seconds: 0.0,
            started: 0.0,
        }
    }

    fn measured(trials: &[Trial], evaluations: u64) -> BTreeMap<u32, Vec<Measurement>> {
        let point = |step| Measurement { step, seconds: 0.0, metrics: [("e".to_string(), Some(0.5))].into() };
        trials.iter().map(|trial| (trial.number, (0..evaluations).map(point).collect())).collect()
    }

    #[test]
    fn each_configuration_is_in_the_tenth_of_its_best_step() {
        let objective = Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Final };
        // The best steps of seven trials of 1000 steps; the last two are the worst.
        let steps = [1000, 100, 101, 750, 749, 50, 900];
        let trials: Vec<Trial> =
            (1..).zip(steps).map(|(number, step)| trial(number, 0.1 * f64::from(number), step, 1000)).collect();
        let found = best_steps(&trials, &measured(&trials, 20), &[], &objective).unwrap();
        assert_eq!(found.counts, [2, 1, 0, 0, 0, 0, 0, 2, 1, 1]);
        assert_eq!(found.best_counts, [1, 1, 0, 0, 0, 0, 0, 2, 0, 1]);
        assert_eq!((found.configurations, found.early, found.late), (7, 2, 3));
        assert_eq!(found.regime, TrainingRegime::Unclear);
        assert_eq!(
            best_steps(&trials, &measured(&trials, 1), &[], &objective),
            None,
            "one evaluation has no best step"
        );
        assert_eq!(best_steps(&[], &BTreeMap::new(), &[], &objective), None);
    }
}
