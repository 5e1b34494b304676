//! Training runs of one configuration that differ in their seeds only: their values, their mean, and how much they vary
//! (the trial variance, Playbook F1), each with its interval.

use crate::configurations::{Configuration, minimized, ranked_configurations};
use crate::metric_bounds::metric_bounds;
use crate::student::{mean, mean_interval, t_quantile, variance};
use serde::Serialize;
use tunebook_study::{Objective, Trial, TrialState};

/// Square roots of d over the 97.5 % and over the 2.5 % quantile of χ² with d degrees of freedom, for d from 1 to 30:
/// the ends of the 95 % interval of a standard deviation of normal values, by its estimate.
const ENDS: [[f64; 2]; 30] = [
    [0.4461, 31.9102],
    [0.5207, 6.2847],
    [0.5665, 3.7285],
    [0.5991, 2.8736],
    [0.6242, 2.4526],
    [0.6444, 2.2021],
    [0.6612, 2.0353],
    [0.6755, 1.9158],
    [0.6878, 1.8256],
    [0.6987, 1.7549],
    [0.7084, 1.6979],
    [0.7171, 1.6507],
    [0.7250, 1.6110],
    [0.7321, 1.5771],
    [0.7387, 1.5477],
    [0.7448, 1.5219],
    [0.7504, 1.4991],
    [0.7556, 1.4788],
    [0.7605, 1.4606],
    [0.7651, 1.4441],
    [0.7694, 1.4291],
    [0.7734, 1.4154],
    [0.7772, 1.4028],
    [0.7808, 1.3912],
    [0.7843, 1.3804],
    [0.7875, 1.3704],
    [0.7906, 1.3611],
    [0.7936, 1.3525],
    [0.7964, 1.3443],
    [0.7991, 1.3367],
];

/// A run that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    /// The number of its trial. Runs of two configurations with the same number share their seed.
    pub number: u32,
    /// Its objective, with the sign changed if larger is better. Infinite if the run is infeasible.
    pub minimized: f64,
}

/// The complete and infeasible trials as runs, by number.
pub(crate) fn runs_of(trials: &[Trial], objective: &Objective) -> Vec<Run> {
    let counts = |trial: &&Trial| matches!(trial.state, TrialState::Complete | TrialState::Infeasible);
    let run = |trial: &Trial| Run { number: trial.number, minimized: minimized(trial, objective) };
    trials.iter().filter(counts).map(run).collect()
}

/// The values of new training runs of one configuration, in the metric's own sign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Runs {
    /// The value of each run, by number. None if the run is infeasible.
    pub values: Vec<Option<f64>>,
    /// The numbers of the infeasible runs. They count as worse than all others, and are not part of the mean and the
    /// standard deviation.
    pub infeasible: Vec<u32>,
    /// The mean of the values. None without values.
    pub mean: Option<f64>,
    /// The 95 % interval of the mean of infinitely many runs. None for fewer than two values.
    pub mean_interval: Option<[f64; 2]>,
    /// The standard deviation of a run. None for fewer than two values.
    pub standard_deviation: Option<f64>,
    /// Its 95 % interval, which holds for values that are normally distributed.
    pub standard_deviation_interval: Option<[f64; 2]>,
    /// The least and the largest value that the metric can have, where they are known. Intervals of values end there.
    #[serde(skip)]
    bounds: [f64; 2],
}

impl Runs {
    /// `bounds` are the least and the largest value that the metric can have.
    pub(crate) fn of(runs: &[Run], objective: &Objective, bounds: [Option<f64>; 2]) -> Self {
        let bounds = [bounds[0].unwrap_or(f64::NEG_INFINITY), bounds[1].unwrap_or(f64::INFINITY)];
        let within = |interval: [f64; 2]| interval.map(|end| end.clamp(bounds[0], bounds[1]));
        let own = |run: &Run| Some(objective.direction.minimized(run.minimized)).filter(|value| value.is_finite());
        let values: Vec<Option<f64>> = runs.iter().map(own).collect();
        let feasible: Vec<f64> = values.iter().copied().flatten().collect();
        let n = feasible.len();
        let sd = variance(&feasible).map(f64::sqrt);
        Self {
            infeasible: runs.iter().filter(|run| !run.minimized.is_finite()).map(|run| run.number).collect(),
            mean: (n > 0).then(|| mean(&feasible)),
            mean_interval: mean_interval(&feasible).map(within),
            standard_deviation: sd,
            standard_deviation_interval: sd.map(|sd| ends(n - 1).map(|end| end * sd)),
            values,
            bounds,
        }
    }

    /// The number of runs that have a value.
    pub fn feasible(&self) -> usize {
        self.values.iter().flatten().count()
    }

    /// Two single runs of the same configuration differ by less than this in 95 % of cases, for values that are
    /// normally distributed. None for fewer than two values.
    pub fn chance_difference(&self) -> Option<f64> {
        Some(t_quantile(self.feasible().checked_sub(1)?) * 2.0_f64.sqrt() * self.standard_deviation?)
    }

    /// Where the value of one further run lies with a probability of 95 %, for values that are normally distributed.
    pub fn next_run(&self) -> Option<[f64; 2]> {
        let (mean, n) = (self.mean?, self.feasible());
        let half = t_quantile(n.checked_sub(1)?) * self.standard_deviation? * (1.0 + 1.0 / n as f64).sqrt();
        Some([mean - half, mean + half].map(|end| end.clamp(self.bounds[0], self.bounds[1])))
    }
}

/// The runs of one configuration, from their trials.
pub fn runs(trials: &[Trial], objective: &Objective) -> Runs {
    Runs::of(&runs_of(trials, objective), objective, metric_bounds(objective, trials))
}

/// The ends of the 95 % interval of a standard deviation as multiples of its estimate.
fn ends(degrees: usize) -> [f64; 2] {
    if let Some(ends) = degrees.checked_sub(1).and_then(|at| ENDS.get(at)) {
        return *ends;
    }
    // The approximation by Wilson and Hilferty.
    let d = degrees as f64;
    [1.959_964, -1.959_964].map(|z: f64| (1.0 - 2.0 / (9.0 * d) + z * (2.0 / (9.0 * d)).sqrt()).powf(-1.5))
}

/// What new runs of one configuration say about the study that it is from (Playbook F3).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seeds {
    pub metric: String,
    #[serde(flatten)]
    pub runs: Runs,
    /// Two configurations of the study that do not differ have values that differ by less than this in 95 % of cases,
    /// if the values of both vary as these runs do.
    pub chance_difference: Option<f64>,
    /// The distance between the values of the best and of the second best configuration of the study.
    pub gap: Option<f64>,
    /// The number of the study's other configurations that lie within `chance_difference` of the best one.
    pub within: usize,
    /// The number of configurations of the study that have an objective, without the best one.
    pub others: usize,
}

/// Compares new runs of one configuration with the study that it is from.
pub fn seeds(runs: &[Trial], study: &[Trial], objective: &Objective) -> Seeds {
    let runs = self::runs(runs, objective);
    let ranked: Vec<Configuration<'_>> = ranked_configurations(study, objective);
    let repeats = ranked.iter().map(|configuration| configuration.trials.len()).max().unwrap_or(1);
    let chance_difference = runs.chance_difference().map(|difference| difference * of_median(repeats));
    let values: Vec<f64> = ranked.iter().filter_map(|configuration| configuration.objective).collect();
    let from_best = |value: &f64| (value - values[0]).abs();
    let others = values.get(1..).unwrap_or(&[]);
    Seeds {
        metric: objective.metric.clone(),
        chance_difference,
        gap: others.first().map(from_best),
        within: others.iter().filter(|value| chance_difference.is_some_and(|chance| from_best(value) < chance)).count(),
        others: others.len(),
        runs,
    }
}

/// The standard deviation of the median of so many normal values, by that of one: at most √(π/2n).
fn of_median(n: usize) -> f64 {
    match n {
        0 | 1 => 1.0,
        2 => 0.5_f64.sqrt(),
        n => (std::f64::consts::FRAC_PI_2 / n as f64).sqrt(),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use tunebook_study::{Direction, MetricSummary, Objective, ObjectiveValue, Trial, TrialState};

    pub fn objective() -> Objective {
        Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
    }

    /// Trials with these objectives. A trial without a number is infeasible.
    pub fn trials(values: &[f64]) -> Vec<Trial> {
        let trial = |(value, number): (&f64, u32)| {
            let summary = MetricSummary { min: (*value, 1), max: (*value, 1), last: (*value, 1) };
            let is_feasible = value.is_finite();
            Trial {
                number,
                configuration: number - 1,
                params: Default::default(),
                seed: u64::from(number),
                state: if is_feasible { TrialState::Complete } else { TrialState::Infeasible },
                reason: None,
                summaries: is_feasible.then(|| ("e".to_string(), summary)).into_iter().collect(),
                seconds: 1.0,
                started: 0.0,
            }
        };
        values.iter().zip(1..).map(trial).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{objective, trials};
    use super::*;

    #[test]
    fn mean_and_spread_leave_infeasible_runs_out_and_name_them() {
        let runs = Runs::of(&runs_of(&trials(&[1.0, f64::NAN, 3.0, 2.0]), &objective()), &objective(), [None, None]);
        assert_eq!((runs.mean, runs.standard_deviation), (Some(2.0), Some(1.0)));
        assert_eq!((&runs.values[1], &runs.infeasible[..]), (&None, &[2][..]));
        let [low, high] = runs.standard_deviation_interval.unwrap();
        assert!((low - 0.5207).abs() < 1e-4 && (high - 6.2847).abs() < 1e-4);
        let one = Runs::of(&runs_of(&trials(&[1.0]), &objective()), &objective(), [None, None]);
        assert_eq!((one.mean, one.standard_deviation, one.next_run()), (Some(1.0), None, None));
        assert_eq!(Runs::of(&[], &objective(), [None, None]).mean, None);
        let equal = super::runs(&trials(&[0.1; 3]), &objective());
        assert_eq!((equal.mean, equal.standard_deviation, equal.next_run()), (Some(0.1), Some(0.0), Some([0.1, 0.1])));
    }

    #[test]
    fn an_interval_of_values_ends_where_the_metric_does() {
        let values = runs_of(&trials(&[0.01, 0.02, 0.3]), &objective());
        let free = Runs::of(&values, &objective(), [None, None]);
        let error = Runs::of(&values, &objective(), [Some(0.0), Some(1.0)]);
        assert!(free.next_run().unwrap()[0] < 0.0 && free.mean_interval.unwrap()[0] < 0.0);
        assert_eq!((error.next_run().unwrap()[0], error.mean_interval.unwrap()[0]), (0.0, 0.0));
        assert_eq!(error.mean_interval.unwrap()[1], free.mean_interval.unwrap()[1]);
    }

    #[test]
    fn the_interval_of_the_standard_deviation_goes_on_where_the_table_ends() {
        let [low, high] = ends(31);
        assert!((low - 0.8017).abs() < 1e-3 && (high - 1.3295).abs() < 1e-3, "{low} {high}");
    }

    #[test]
    fn gaps_of_the_study_are_compared_with_what_chance_gives() {
        let runs = trials(&[1.0, 1.1, 0.9, 1.05, 0.95]);
        let found = seeds(&runs, &trials(&[1.0, 1.1, 1.2, 3.0, f64::NAN]), &objective());
        // 2.776 √2 · 0.0791
        assert!((found.chance_difference.unwrap() - 0.3104).abs() < 1e-3, "{found:?}");
        assert!((found.gap.unwrap() - 0.1).abs() < 1e-12);
        assert_eq!((found.within, found.others), (2, 3));
        let mut repeated = trials(&[1.0, 1.0, 1.2, 1.2]);
        repeated.iter_mut().for_each(|trial| trial.configuration /= 2);
        let found = seeds(&runs, &repeated, &objective());
        assert!((found.chance_difference.unwrap() - 0.3104 / 2.0_f64.sqrt()).abs() < 1e-3, "{found:?}");
        assert_eq!((found.within, found.others), (1, 1));
    }
}
