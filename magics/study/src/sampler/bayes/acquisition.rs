//! What is maximized to choose the next configuration.

use super::gaussian::Process;
use super::math::{ln_improvement, ln_probability};

/// How many standard deviations the upper bound is above the mean.
pub const UPPER: f64 = 1.8;
/// Pure exploration stays where the mean plus so many standard deviations is above the threshold.
const PROMISING: f64 = 0.5;
/// What each unit below that threshold costs.
const PENALTY: f64 = 10.0;

/// The power of the probability of feasibility. With 1, a hundredth of a chance of a large improvement is taken too
/// often, and a fifth of the trials was infeasible; with 3 it was a tenth.
const FEASIBLE: f64 = 3.0;

/// What the next configuration is for.
pub enum Goal {
    /// The logarithm of the expected improvement over this value.
    Improvement { over: f64 },
    /// The upper bound of the objective.
    UpperBound,
    /// The standard deviation, where the objective may be above this threshold.
    Exploration { threshold: f64 },
}

pub struct Acquisition {
    pub goal: Goal,
    pub objective: Process,
    /// The process of 1 for a feasible and 0 for an infeasible trial, and the mean that was subtracted. None if no
    /// trial was infeasible.
    pub feasibility: Option<(Process, f64)>,
}

impl Acquisition {
    /// The value at a point.
    pub fn value(&self, point: &[f64]) -> f64 {
        let (mean, deviation) = self.objective.predict(point);
        let feasible = self.feasibility.as_ref().map_or(0.0, |(process, shift)| {
            let (mean, deviation) = process.predict(point);
            ln_probability((mean + shift - 0.5) / deviation).0
        });
        self.combined(mean, deviation).0 + self.weight() * feasible
    }

    /// The value at a point, and its derivatives by the columns of the point.
    pub fn value_with_slope(&self, point: &[f64], slope: &mut [f64]) -> f64 {
        let predicted = self.objective.predict_with_slopes(point);
        let (mut value, by_mean, by_deviation) = self.combined(predicted.mean, predicted.deviation);
        for (slope, (mean, deviation)) in slope.iter_mut().zip(predicted.slopes()) {
            *slope = by_mean * mean + by_deviation * deviation;
        }
        if let Some((process, shift)) = &self.feasibility {
            let predicted = process.predict_with_slopes(point);
            let z = (predicted.mean + shift - 0.5) / predicted.deviation;
            let (ln, by_z) = ln_probability(z);
            value += self.weight() * ln;
            let factor = self.weight() * by_z / predicted.deviation;
            for (slope, (mean, deviation)) in slope.iter_mut().zip(predicted.slopes()) {
                *slope += factor * (mean - z * deviation);
            }
        }
        value
    }

    /// The value without feasibility, and its derivatives by mean and standard deviation.
    fn combined(&self, mean: f64, deviation: f64) -> (f64, f64, f64) {
        match self.goal {
            Goal::Improvement { over } => {
                let z = (mean - over) / deviation;
                let (ln, by_z) = ln_improvement(z);
                (ln + libm::log(deviation), by_z / deviation, (1.0 - z * by_z) / deviation)
            }
            Goal::UpperBound => (mean + UPPER * deviation, 1.0, UPPER),
            Goal::Exploration { threshold } => {
                let missing = mean + PROMISING * deviation - threshold;
                match missing < 0.0 {
                    true => (deviation + PENALTY * missing, PENALTY, 1.0 + PENALTY * PROMISING),
                    false => (deviation, 0.0, 1.0),
                }
            }
        }
    }

    /// How much the logarithm of the probability of feasibility counts. The expected improvement is multiplied by a
    /// power of that probability; the other goals are in the units of the objective.
    fn weight(&self) -> f64 {
        match self.goal {
            Goal::Improvement { .. } => FEASIBLE,
            _ => FEASIBLE * self.objective.kernel.signal.sqrt(),
        }
    }
}
