//! How precisely a finite validation set measures a fraction such as an error (Playbook H8). It is one source of
//! uncertainty; the variance between training runs and that of the search are others (F1, F5).

use crate::metric_bounds::metric_bounds;
use serde::Serialize;
use tunebook_study::{Objective, Trial, VALIDATION_EXAMPLES};

/// The precision of a metric that is a mean over validation examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ValidationPrecision {
    /// The number of validation examples.
    pub examples: u64,
    /// The value of the metric that the standard error is of.
    pub value: f64,
    /// √(p (1 − p) / n), the standard error of a fraction p of n examples. It is also the largest one that the mean of
    /// any quantity between 0 and 1 can have. A fraction of 0 or 1 counts as if one example were the other way.
    pub standard_error: f64,
    /// The difference of the metric that is spoken of, without its sign. None if there is none.
    pub difference: Option<f64>,
    /// Whether that difference is smaller than the standard error.
    pub is_below: bool,
}

/// Returns how precisely the validation examples of these trials measure `value`, and whether a difference is below
/// that.
///
/// None if the trials do not say how many examples they were judged by, or if the metric is no fraction of validation
/// examples: its name must end in `error` or `accuracy`, and its values lie between 0 and 1. If trials have different
/// numbers of examples, the smallest one counts.
pub fn validation_precision<'a>(
    trials: impl IntoIterator<Item = &'a Trial> + Clone,
    objective: &Objective,
    value: f64,
    difference: Option<f64>,
) -> Option<ValidationPrecision> {
    let judged = trials.clone().into_iter().filter(|trial| objective.of(trial).is_some());
    let counts = judged.filter_map(|trial| Some(trial.summaries.get(VALIDATION_EXAMPLES)?.last.0));
    let examples = counts.filter(|count| *count >= 1.0).reduce(f64::min)?;
    let is_fraction = metric_bounds(objective, trials) == [Some(0.0), Some(1.0)];
    if !is_fraction || !(0.0..=1.0).contains(&value) || !uses_validation(objective) {
        return None;
    }
    let p = value.clamp(1.0 / examples, 1.0 - 1.0 / examples).clamp(0.0, 1.0);
    let standard_error = (p * (1.0 - p) / examples).sqrt();
    let difference = difference.map(f64::abs).filter(|difference| difference.is_finite());
    Some(ValidationPrecision {
        examples: examples as u64,
        value,
        standard_error,
        difference,
        is_below: difference.is_some_and(|difference| difference < standard_error),
    })
}

/// How often the validation data of a study were used (Playbook H8): over all studies of a store that are judged by the
/// same examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ValidationUses {
    pub studies: usize,
    pub configurations: usize,
    /// The trials that reported the objective of their study at least once.
    pub trials: usize,
    /// How often they reported it.
    pub evaluations: u64,
}

impl ValidationUses {
    /// Adds a study with its trials, which reported the objective so many times. A study that is judged by the training
    /// data does not count, because nothing was chosen by the validation data.
    pub fn add(&mut self, objective: &Objective, trials: &[Trial], evaluations: u64) {
        let judged: Vec<&Trial> = trials.iter().filter(|trial| objective.of(trial).is_some()).collect();
        if judged.is_empty() || !uses_validation(objective) {
            return;
        }
        let configurations: std::collections::BTreeSet<u32> = judged.iter().map(|trial| trial.configuration).collect();
        self.studies += 1;
        self.configurations += configurations.len();
        self.trials += judged.len();
        self.evaluations += evaluations;
    }
}

/// Whether an objective is measured on validation data.
pub fn uses_validation(objective: &Objective) -> bool {
    !objective.metric.starts_with("train/")
}

/// Returns by how much the best of so many measurements looks better than it is, if all measured the same true value
/// with this standard error and independent normal errors: its expectation. Measurements that share examples share
/// errors, which makes it smaller, so this is an upper limit.
pub fn luck_of_the_best(measurements: u64, standard_error: f64) -> f64 {
    // E[max of n] = ∫ 1 − Φ(x)ⁿ − Φ(−x)ⁿ dx over x > 0, by the rule of the midpoint.
    const STEP: f64 = 0.01;
    const END: f64 = 9.0;
    let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
    let n = measurements.max(1) as f64;
    let at = |i: usize| {
        let x = (i as f64 + 0.5) * STEP;
        1.0 - below(x).powf(n) - below(-x).powf(n)
    };
    standard_error * STEP * (0..(END / STEP) as usize).map(at).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::{objective, trials};
    use tunebook_study::MetricSummary;

    fn judged(metric: &str, values: &[f64], examples: &[f64]) -> (Objective, Vec<Trial>) {
        let summary = |y: f64| MetricSummary { min: (y, 1), max: (y, 1), last: (y, 1) };
        let mut all = trials(values);
        for (trial, count) in all.iter_mut().zip(examples) {
            let value = trial.summaries["e"].min.0;
            trial.summaries.insert(metric.into(), summary(value));
            trial.summaries.insert(VALIDATION_EXAMPLES.into(), summary(*count));
        }
        (Objective { metric: metric.into(), ..objective() }, all)
    }

    #[test]
    fn the_standard_error_is_that_of_a_fraction_of_the_examples() {
        let (objective, trials) = judged("valid/error", &[0.1, 0.2], &[900.0, 900.0]);
        let found = validation_precision(&trials, &objective, 0.1, Some(-0.009)).unwrap();
        assert!((found.standard_error - 0.01).abs() < 1e-12 && found.examples == 900, "{found:?}");
        assert_eq!((found.difference, found.is_below), (Some(0.009), true));
        assert!(!validation_precision(&trials, &objective, 0.1, Some(0.011)).unwrap().is_below);
        assert!(!validation_precision(&trials, &objective, 0.1, None).unwrap().is_below);
        // No error among 900 examples is no certainty.
        let zero = validation_precision(&trials, &objective, 0.0, None).unwrap();
        assert!((zero.standard_error - 1.0 / 900.0).abs() < 1e-5, "{zero:?}");
        let (objective, trials) = judged("accuracy", &[0.9, 0.8], &[400.0, 100.0]);
        assert_eq!(validation_precision(&trials, &objective, 0.9, None).unwrap().examples, 100);
    }

    #[test]
    fn the_best_of_equal_measurements_is_as_lucky_as_the_tables_of_order_statistics_say() {
        for (n, expected) in [(1, 0.0), (2, 0.56419), (10, 1.53875), (100, 2.50759), (1000, 3.24144)] {
            let found = luck_of_the_best(n, 0.01);
            assert!((found - 0.01 * expected).abs() < 1e-5, "{n}: {found}");
        }
    }

    #[test]
    fn uses_count_configurations_trials_and_evaluations_of_studies_that_are_judged_by_validation() {
        let (objective, mut trials) = judged("valid/error", &[0.1, 0.2, 0.3], &[9.0, 9.0, 9.0]);
        trials[1].configuration = trials[0].configuration;
        trials[2].summaries.clear();
        let mut uses = ValidationUses::default();
        uses.add(&objective, &trials, 7);
        let once = ValidationUses { studies: 1, configurations: 1, trials: 2, evaluations: 7 };
        assert_eq!(uses, once);
        uses.add(&Objective { metric: "train/loss".into(), ..objective.clone() }, &trials, 7);
        uses.add(&objective, &trials[2..], 0);
        assert_eq!(uses, once, "nothing was judged by validation data");
    }

    #[test]
    fn nothing_is_said_of_other_metrics_or_of_an_unknown_number_of_examples() {
        let (objective, trials) = judged("valid/loss", &[0.1], &[900.0]);
        assert_eq!(validation_precision(&trials, &objective, 0.1, None), None);
        let (objective, trials) = judged("valid/error", &[0.1], &[]);
        assert_eq!(validation_precision(&trials, &objective, 0.1, None), None);
        let (objective, trials) = judged("valid/error", &[12.0], &[900.0]);
        assert_eq!(validation_precision(&trials, &objective, 12.0, None), None, "it is in percent");
        let (objective, trials) = judged("train/error", &[0.1], &[900.0]);
        assert_eq!(validation_precision(&trials, &objective, 0.1, None), None);
    }
}
