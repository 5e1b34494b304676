//! The initial number of training steps: those of the fastest constant learning rate that fits the training examples
//! without regularization (Playbook G5, G6).

use super::interval::median_interval;
use crate::Side;
use serde::Serialize;
use tunebook_study::protocol::FitRule;
use tunebook_study::{Measurement, Trial, TrialState};

/// Two learning rates are the same if they differ by less than this factor.
const SAME: f64 = 1.0 + 1e-9;

/// What one trial says about the number of steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitTrial {
    pub trial: u32,
    pub learning_rate: f64,
    pub state: TrialState,
    /// The step of the first evaluation of a row that fits. None if the trial does not fit.
    pub steps: Option<u64>,
    /// The least value of the metric, and its step. None if the trial has no finite one.
    pub least: Option<(f64, u64)>,
    /// The metric of the training examples at each evaluation, without values that are not finite. It is not part of
    /// the JSON.
    #[serde(skip)]
    pub curve: Vec<(u64, f64)>,
}

/// Judges a trial by its measurements. None if it has no learning rate.
pub fn fit_trial(trial: &Trial, measurements: &[Measurement], rule: &FitRule) -> Option<FitTrial> {
    let evaluations: Vec<&Measurement> = measurements.iter().filter(|m| m.metrics.contains_key(&rule.metric)).collect();
    let in_row = evaluations
        .windows(FitRule::EVALUATIONS)
        .find(|row| row[0].step > 0 && row.iter().all(|evaluation| rule.is_met(&evaluation.metrics)));
    let value = |m: &&Measurement| Some((m.step, (*m.metrics.get(&rule.metric)?)?));
    let curve: Vec<(u64, f64)> = evaluations.iter().filter_map(value).collect();
    let least = curve.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    Some(FitTrial {
        trial: trial.number,
        learning_rate: trial.params.get("lr")?.as_f64()?,
        state: trial.state,
        steps: in_row.map(|row| row[0].step),
        least: least.map(|(step, value)| (value, step)),
        curve,
    })
}

/// The fastest learning rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FittedRate {
    /// The trial of the grid that fits first, or that comes closest if none fits.
    pub trial: u32,
    pub learning_rate: f64,
    /// The steps of that trial. They are on the low side, because it is the luckiest of all.
    pub steps: Option<u64>,
}

/// Why there is no initial number of steps.
#[derive(Clone, Debug, PartialEq)]
pub enum NoInitialSteps {
    /// No trial has a finite value of the metric.
    NothingMeasured,
    /// No trial fits.
    NoneFits,
    /// The fastest learning rate is the least or the largest one that was tried.
    AtBoundary(Side),
    /// The median over the seeds of the fastest learning rate does not fit.
    HalfOfSeeds { fit: usize, seeds: usize },
    /// The seeds of the fastest learning rate have not been trained.
    NoSeeds,
}

/// The initial number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct InitialSteps {
    /// The median over the seeds of the fastest learning rate, or why there is none.
    pub steps: Result<u64, NoInitialSteps>,
    /// The 95 % interval of the median over seeds.
    pub interval: Option<[Option<f64>; 2]>,
    pub fastest: Option<FittedRate>,
    /// The end of the grid at which the fastest learning rate lies.
    pub edge: Option<Side>,
}

/// Returns the initial number of steps from a grid of learning rates with one trial each, and from further seeds of the
/// fastest one.
///
/// The number is the median over the further seeds alone: the trial of the grid was chosen because it is the fastest.
/// Of equally fast learning rates, the one in the middle of the grid is taken, since a tie is no sign that better ones
/// lie beyond an edge.
pub fn initial_steps(grid: &[FitTrial], seeds: &[FitTrial]) -> InitialSteps {
    let rates: Vec<f64> = grid.iter().map(|trial| trial.learning_rate).collect();
    let (low, high) = rates.iter().fold((f64::INFINITY, 0.0), |(a, b): (f64, f64), r| (a.min(*r), b.max(*r)));
    let from_middle = |trial: &FitTrial| (trial.learning_rate.ln() - 0.5 * (low.ln() + high.ln())).abs();
    let judged = grid.iter().filter(|trial| trial.state == TrialState::Complete);
    let key = |trial: &FitTrial| {
        let steps = trial.steps.map_or(f64::INFINITY, |steps| steps as f64);
        let least = if trial.steps.is_some() { 0.0 } else { trial.least.map_or(f64::INFINITY, |(value, _)| value) };
        (steps, least, from_middle(trial))
    };
    let order = |a: (f64, f64, f64), b: (f64, f64, f64)| {
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2))
    };
    let best = judged.filter(|trial| trial.least.is_some()).min_by(|a, b| order(key(a), key(b)));
    let Some(best) = best else {
        return InitialSteps { steps: Err(NoInitialSteps::NothingMeasured), interval: None, fastest: None, edge: None };
    };
    let edge = match best.learning_rate {
        rate if rate <= low * SAME => Some(Side::Low),
        rate if rate >= high / SAME => Some(Side::High),
        _ => None,
    };
    let fastest = FittedRate { trial: best.trial, learning_rate: best.learning_rate, steps: best.steps };
    // The fastest rate may have changed since the seeds were trained, when the grid was widened.
    let same = |trial: &&FitTrial| {
        let ratio = trial.learning_rate / best.learning_rate;
        ratio < SAME && ratio > 1.0 / SAME && !trial.state.runs_again()
    };
    let mut steps: Vec<f64> =
        seeds.iter().filter(same).map(|trial| trial.steps.map_or(f64::INFINITY, |steps| steps as f64)).collect();
    steps.sort_by(f64::total_cmp);
    let (interval, middle) = (median_interval(&steps), steps.len() / 2);
    let found = match (best.steps, edge) {
        (None, _) => Err(NoInitialSteps::NoneFits),
        (_, Some(side)) => Err(NoInitialSteps::AtBoundary(side)),
        _ if steps.is_empty() => Err(NoInitialSteps::NoSeeds),
        _ => {
            let fit = steps.iter().filter(|steps| steps.is_finite()).count();
            let median = if steps.len() % 2 == 1 { steps[middle] } else { 0.5 * (steps[middle - 1] + steps[middle]) };
            if median.is_finite() {
                Ok(median.ceil() as u64)
            } else {
                Err(NoInitialSteps::HalfOfSeeds { fit, seeds: steps.len() })
            }
        }
    };
    let interval = interval.filter(|_| found.is_ok());
    InitialSteps { steps: found, interval, fastest: Some(fastest), edge }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::Value;

    fn rule(at_most: f64) -> FitRule {
        FitRule { metric: "train/error".into(), at_most, growth: None }
    }

    fn trial(number: u32, rate: f64) -> Trial {
        Trial {
            number,
            configuration: number - 1,
            params: [("lr".to_string(), Value::Float(rate))].into_iter().collect(),
            seed: 0,
            state: TrialState::Complete,
            reason: None,
            summaries: Default::default(),
            seconds: 0.0,
            started: 0.0,
        }
    }

    fn judged(number: u32, rate: f64, errors: &[f64], at_most: f64) -> FitTrial {
        let at = |(i, error): (usize, &f64)| Measurement {
            step: 10 * i as u64,
            seconds: 0.0,
            metrics: [("train/error".to_string(), Some(*error).filter(|e| e.is_finite()))].into_iter().collect(),
        };
        let measurements: Vec<Measurement> = errors.iter().enumerate().map(at).collect();
        fit_trial(&trial(number, rate), &measurements, &rule(at_most)).unwrap()
    }

    #[test]
    fn a_trial_fits_at_the_first_of_two_evaluations_in_a_row() {
        let cases: [(&[f64], f64, Option<u64>); 8] = [
            (&[0.9, 0.1, 0.0, 0.0], 0.0, Some(20)),
            (&[0.9, 0.0, 0.1, 0.0, 0.0], 0.0, Some(30)),
            (&[0.9, 0.1, 0.0], 0.0, None),
            (&[0.9, 0.1, 0.02, 0.01], 0.02, Some(20)),
            (&[0.9, 0.1, 0.1], 0.0, None),
            (&[0.9, 0.0, f64::NAN, 0.0], 0.0, None),
            // The model that has not been trained does not count.
            (&[0.0, 0.0, 0.0], 0.0, Some(10)),
            (&[], 0.0, None),
        ];
        for (errors, at_most, expected) in cases {
            assert_eq!(judged(1, 0.1, errors, at_most).steps, expected, "{errors:?}");
        }
        assert_eq!(judged(1, 0.1, &[0.9, 0.1, 0.3], 0.0).least, Some((0.1, 10)));
    }

    /// Trials of which each fits after so many steps (a multiple of 10), or not at all.
    fn grid(steps: &[(f64, Option<usize>)]) -> Vec<FitTrial> {
        let errors = |steps: &Option<usize>| match steps {
            Some(steps) => [vec![0.5; steps / 10], vec![0.0; 2]].concat(),
            None => vec![0.9, 0.5, 0.2],
        };
        let of = |(i, (rate, steps)): (usize, &(f64, Option<usize>))| judged(i as u32 + 1, *rate, &errors(steps), 0.0);
        steps.iter().enumerate().map(of).collect()
    }

    #[test]
    fn the_number_is_the_median_over_seeds_of_the_fastest_rate() {
        let rates = grid(&[(0.01, None), (0.1, Some(200)), (1.0, Some(90)), (10.0, None)]);
        let before = initial_steps(&rates, &[]);
        assert_eq!((before.steps, before.edge), (Err(NoInitialSteps::NoSeeds), None));
        let fastest = before.fastest.unwrap();
        assert_eq!((fastest.trial, fastest.learning_rate, fastest.steps), (3, 1.0, Some(90)));
        let seeds = grid(&[100, 130, 110, 120, 140, 150].map(|steps| (1.0, Some(steps))));
        let found = initial_steps(&rates, &seeds);
        assert_eq!((found.steps, found.interval), (Ok(125), Some([Some(100.0), Some(150.0)])));
        // Seeds of another rate do not count, and a seed that does not fit opens the interval.
        let mixed = grid(&[(1.0, Some(100)), (1.0, Some(120)), (1.0, None), (0.1, Some(10))]);
        let found = initial_steps(&rates, &mixed);
        assert_eq!((found.steps, found.interval), (Ok(120), None));
        let few = grid(&[(1.0, None), (1.0, Some(120))]);
        assert_eq!(initial_steps(&rates, &few).steps, Err(NoInitialSteps::HalfOfSeeds { fit: 1, seeds: 2 }));
    }

    #[test]
    fn a_rate_at_the_edge_of_the_grid_gives_no_number() {
        let low = grid(&[(0.01, Some(50)), (0.1, Some(90)), (1.0, Some(100))]);
        assert_eq!(initial_steps(&low, &low).steps, Err(NoInitialSteps::AtBoundary(Side::Low)));
        let high = grid(&[(0.01, None), (0.1, Some(90)), (1.0, Some(50))]);
        assert_eq!(initial_steps(&high, &high).edge, Some(Side::High));
        // Equally fast rates: a tie is no sign of something beyond the edge.
        let tie = grid(&[(0.01, Some(50)), (0.1, Some(50)), (1.0, Some(50))]);
        let found = initial_steps(&tie, &grid(&[(0.1, Some(50))]));
        assert_eq!((found.steps, found.edge), (Ok(50), None));
        // An infeasible trial beyond the best one shows that there is nothing to look for.
        let mut diverged = grid(&[(0.1, Some(90)), (1.0, Some(50)), (10.0, Some(20))]);
        diverged[2].state = TrialState::Infeasible;
        assert_eq!(initial_steps(&diverged, &[]).fastest.unwrap().learning_rate, 1.0);
        assert_eq!(initial_steps(&diverged, &[]).edge, None);
        let none = grid(&[(0.1, None), (1.0, None), (10.0, None)]);
        let found = initial_steps(&none, &[]);
        assert_eq!((found.steps, found.fastest.unwrap().learning_rate), (Err(NoInitialSteps::NoneFits), 1.0));
        assert_eq!(initial_steps(&[], &[]).steps, Err(NoInitialSteps::NothingMeasured));
    }
}
