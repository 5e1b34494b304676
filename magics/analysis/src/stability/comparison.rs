//! Compares the objectives of two settings that were each trained with a few seeds.

use crate::student::{mean, t_quantile};
use serde::Serialize;

/// The objectives of the seeds of one setting, as a value to minimize.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedValues(pub Vec<f64>);

impl SeedValues {
    pub fn mean(&self) -> f64 {
        mean(&self.0)
    }

    fn squares(&self) -> f64 {
        let mean = self.mean();
        self.0.iter().map(|value| (value - mean).powi(2)).sum()
    }
}

/// The difference of two means, and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub difference: f64,
    /// None if the seeds do not tell how large the noise is.
    pub interval: Option<[f64; 2]>,
}

impl Difference {
    /// Returns the mean of `a` less that of `b`, by Student's t. The variance of a seed is pooled over `a`, `b` and
    /// `others`, settings of similar quality.
    pub fn new<'s>(a: &SeedValues, b: &SeedValues, others: impl IntoIterator<Item = &'s SeedValues>) -> Self {
        let of = |seeds: &SeedValues| (seeds.0.len().saturating_sub(1), seeds.squares());
        let all = [of(a), of(b)].into_iter().chain(others.into_iter().map(of));
        let (degrees, squares) = all.fold((0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let difference = a.mean() - b.mean();
        if degrees == 0 || !difference.is_finite() {
            return Self { difference, interval: None };
        }
        let variance = squares / degrees as f64;
        let error = (variance * (1.0 / a.0.len() as f64 + 1.0 / b.0.len() as f64)).sqrt();
        let half = t_quantile(degrees) * error;
        Self { difference, interval: Some([difference - half, difference + half]) }
    }

    /// Whether the first setting is worse by more than the noise of the seeds.
    pub fn is_above_zero(&self) -> bool {
        self.interval.is_some_and(|[low, _]| low > 0.0)
    }

    /// Whether the interval contains zero, or there is none.
    pub fn may_be_zero(&self) -> bool {
        self.interval.is_none_or(|[low, high]| low <= 0.0 && high >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_students_t() {
        let (a, b) = (SeedValues(vec![3.0, 4.0, 5.0]), SeedValues(vec![1.0, 2.0, 3.0]));
        let difference = Difference::new(&a, &b, []);
        // The variance is 1 with 4 degrees of freedom, so half the interval is 2.776 · √(2/3).
        let [low, high] = difference.interval.unwrap();
        assert!((difference.difference - 2.0).abs() < 1e-12 && (high - low - 2.0 * 2.776 * 0.81650).abs() < 1e-3);
        assert!(difference.may_be_zero());
        let quiet = SeedValues(vec![7.0, 7.0, 7.0]);
        assert!(Difference::new(&a, &b, [&quiet, &quiet]).is_above_zero());
        let single = Difference::new(&SeedValues(vec![1.0]), &SeedValues(vec![2.0]), []);
        assert!(single.interval.is_none() && !single.is_above_zero() && single.may_be_zero());
    }
}
